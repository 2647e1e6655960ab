package helm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/ignore"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/bounded"
)

// Bounds on a chart's folder; those on one file and on archives in charts/ are Helm's own.
const (
	maxFiles      = 20_000
	maxChartBytes = 256 << 20
	maxPathDepth  = 64 // also what ends a symbolic link that leads back up
)

var utf8BOM = []byte{0xEF, 0xBB, 0xBF}

// readFiles reads a chart's folder as Helm's directory loader does: .helmignore applied, symbolic links followed as far as source
// follows them, byte order marks removed. .helmignore, which decides the rest, is among the inputs.
//
// From a packaged chart, nothing is left out: .helmignore was applied when it was packed, and names nothing in subcharts.
func readFiles(ctx context.Context, source fs.FS, packaged bool) ([]*loader.BufferedFile, []hydrate.Input, error) {
	r := reader{source: source, rules: ignore.Empty()}
	if !packaged {
		if err := r.readRules(); err != nil {
			return nil, nil, err
		}
	}
	if err := r.dir(ctx, ".", 0); err != nil {
		return nil, nil, fmt.Errorf("read chart: %w", err)
	}
	return r.files, r.inputs, nil
}

// readRules reads .helmignore.
func (r *reader) readRules() error {
	switch data, err := r.read(ignore.HelmIgnore); {
	case err == nil:
		if r.rules, err = ignore.Parse(bytes.NewReader(data)); err != nil {
			return fmt.Errorf("%s: %w", ignore.HelmIgnore, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read chart: %w", err)
	}
	r.rules.AddDefaults()
	return nil
}

type reader struct {
	source fs.FS
	rules  *ignore.Rules
	files  []*loader.BufferedFile
	inputs []hydrate.Input
	size   int64
}

func (r *reader) dir(ctx context.Context, dir string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > maxPathDepth {
		return fmt.Errorf("%s: folders nested more than %d deep (a symbolic link that leads back up?)", dir, maxPathDepth)
	}
	entries, err := fs.ReadDir(r.source, dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		info, err := fs.Stat(r.source, name) // follows links, as Helm does
		if err != nil {
			return err
		}
		switch {
		case r.rules.Ignore(name, info):
		case info.IsDir():
			if err := r.dir(ctx, name, depth+1); err != nil {
				return err
			}
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is neither file nor folder; list it in .helmignore", name)
		default:
			if err := r.file(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) file(name string) error {
	data, err := r.read(name)
	if err != nil {
		return err
	}
	if r.size += int64(len(data)); r.size > maxChartBytes || len(r.files) == maxFiles {
		return fmt.Errorf("the chart has more than %d files or %d bytes; list what it does not need in .helmignore", maxFiles, maxChartBytes)
	}
	r.files = append(r.files, &loader.BufferedFile{Name: name, Data: bytes.TrimPrefix(data, utf8BOM)})
	return nil
}

// read reads a file and records it as an input.
func (r *reader) read(name string) ([]byte, error) {
	data, err := bounded.ReadFile(r.source, name, loader.MaxDecompressedFileSize)
	if errors.Is(err, bounded.ErrTooLarge) {
		return nil, fmt.Errorf("%w for a file of a chart; list it in .helmignore", err)
	}
	if err != nil {
		return nil, err
	}
	r.inputs = append(r.inputs, hydrate.Input{Path: name, SHA256: sha256.Sum256(data)})
	return data, nil
}
