package helm

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"

	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/memfs"
)

// PinnedArchives fetches packaged charts by digest.
type PinnedArchives interface {
	// Pinned returns the gzipped tar of a chart of this name and exact version whose SHA-256 is sum, in hexadecimal.
	Pinned(ctx context.Context, repository, name, version, sum string) ([]byte, error)
}

// Charts opens packaged charts that are released as they are.
type Charts struct{ Archives PinnedArchives }

// Open fetches the archive of a locked chart and returns its files, without the folder that they are in.
func (c Charts) Open(ctx context.Context, locked lock.Chart) (fs.FS, error) {
	archive, err := c.Archives.Pinned(ctx, locked.Repo, locked.Name, locked.Version, locked.Digest.Encoded())
	if err != nil {
		return nil, err
	}
	files, err := unpack(archive)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", locked, err)
	}
	return files, nil
}

// unpack returns the files of a packaged chart. Helm refuses paths that lead out of it.
func unpack(archive []byte) (fs.FS, error) {
	read, err := loader.LoadArchiveFiles(bytes.NewReader(archive))
	if err != nil {
		return nil, fmt.Errorf("unpack chart: %w", err)
	}
	files := make(map[string][]byte, len(read))
	for _, f := range read {
		if _, twice := files[f.Name]; twice {
			return nil, fmt.Errorf("unpack chart: it has two files %s", f.Name)
		}
		files[f.Name] = f.Data
	}
	tree, err := memfs.NewTree(files)
	if err != nil {
		return nil, fmt.Errorf("unpack chart: %w", err)
	}
	return tree, nil
}
