package chartrepo

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/Masterminds/semver/v3"
	"sigs.k8s.io/yaml"
)

const maxMetadataBytes = 1 << 20

// inspect reads a whole archive: it returns an error unless it is a chart of this name and version within the bounds.
func inspect(data []byte, name, version string) error {
	budget := budget{files: MaxFiles, bytes: MaxUnpackedBytes}
	metadata, err := budget.walk(data, 0)
	if err != nil {
		return fmt.Errorf("the archive: %w", err)
	}
	var chart struct{ Name, Version string }
	switch err := yaml.Unmarshal(metadata, &chart); {
	case metadata == nil:
		return errors.New("the archive has no Chart.yaml in a folder of its own: it is not a packaged chart")
	case err != nil:
		return fmt.Errorf("the archive's Chart.yaml: %w", err)
	case chart.Name != name || !sameVersion(chart.Version, version):
		return fmt.Errorf("the archive holds chart %.200q of version %.200q: the repository has changed since that was locked", chart.Name, chart.Version)
	}
	return nil
}

// sameVersion reports whether semantic versions are equal, build metadata included, a leading v not.
func sameVersion(a, b string) bool {
	if a == b {
		return true
	}
	va, errA := semver.NewVersion(a)
	vb, errB := semver.NewVersion(b)
	return errA == nil && errB == nil && va.Equal(vb) && va.Metadata() == vb.Metadata()
}

// budget bounds what remains to be unpacked.
type budget struct {
	files int
	bytes int64
}

// walk reads an archive and the archives below its charts/, as Helm does, and returns its Chart.yaml.
func (b *budget) walk(data []byte, depth int) (metadata []byte, err error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("archives are nested more than %d deep", maxNesting)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: unzipped, N: b.bytes + 1}
	defer func() {
		if limited.N <= 0 {
			err = fmt.Errorf("more than %d bytes unpacked", MaxUnpackedBytes)
		}
		b.bytes = limited.N - 1
	}()
	archive := tar.NewReader(limited)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return metadata, nil
		}
		if err != nil {
			return nil, err
		}
		if b.files--; b.files < 0 {
			return nil, fmt.Errorf("more than %d files", MaxFiles)
		}
		_, name, _ := strings.Cut(path.Clean(strings.ReplaceAll(header.Name, `\`, "/")), "/")
		switch {
		case name == "Chart.yaml":
			if metadata, err = io.ReadAll(io.LimitReader(archive, maxMetadataBytes)); err != nil {
				return nil, err
			}
		case path.Ext(name) == ".tgz" && path.Base(path.Dir(name)) == "charts":
			nested, err := io.ReadAll(archive)
			if err != nil {
				return nil, err
			}
			inner := budget{b.files, limited.N - 1}
			if _, err := inner.walk(nested, depth+1); err != nil {
				return nil, fmt.Errorf("%.200s: %w", name, err)
			}
			b.files, limited.N = inner.files, inner.bytes+1
		}
	}
}
