package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/pipeline/scaffold"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/internal/strictyaml"
)

// tryConcurrency bounds the stages that are rendered at the same time.
const tryConcurrency = 4

// try renders every stage, as the files would say it, and comments out those that do not render.
func (i *initializer) try(ctx context.Context, locks []scaffoldFile) (err error) {
	dir, err := os.MkdirTemp("", "lockage-init-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	pipelines := i.files()
	for _, f := range append(pipelines, locks...) {
		if err := writeBelow(dir, f); err != nil {
			return err
		}
	}
	files, err := i.workspace.Beside(os.DirFS(dir))
	if err != nil {
		return err
	}
	var names []string
	for _, f := range pipelines {
		if f.path != defaultsFile {
			names = append(names, filepath.Join(i.workspace.Root(), f.path))
		}
	}
	loaded, err := i.workspace.Pipelines(files, names)
	var problems strictyaml.Problems
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	for _, p := range problems {
		i.breaks(p)
	}
	releases, err := i.app.plan(ctx, i.workspace, plan.Request{Files: files, Pipelines: loaded})
	if err != nil {
		return err
	}
	var group errgroup.Group
	var done atomic.Int32
	group.SetLimit(tryConcurrency)
	for _, r := range releases {
		d := i.draft(r.Pipeline.Name)
		for n := range d.Stages {
			if s := &d.Stages[n]; s.Off == "" {
				group.Go(func() error {
					if err := renders(ctx, r, s.Name); err != nil {
						s.Off = err.Error()
					}
					i.app.step(fmt.Sprintf("%d %s/%s rendered", done.Add(1), d.Name, s.Name))
					return ctx.Err()
				})
			}
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for n := range i.drafts {
		i.drafts[n].Order()
	}
	return nil
}

// breaks comments out the stages of the pipeline that has a problem.
func (i *initializer) breaks(p strictyaml.Problem) {
	for n := range i.drafts {
		d := &i.drafts[n]
		for m := range d.Stages {
			if len(i.drafts) == 1 || pipelineFile(*d) == p.File {
				d.Stages[m].Off = cmp.Or(d.Stages[m].Off, p.Msg)
			}
		}
	}
}

func (i *initializer) draft(name string) *scaffold.Draft {
	for n := range i.drafts {
		if i.drafts[n].Name == name {
			return &i.drafts[n]
		}
	}
	return &scaffold.Draft{}
}

// renders returns why a stage does not render.
func renders(ctx context.Context, r plan.Release, stage string) error {
	if r.Err != nil {
		return r.Err
	}
	for _, s := range r.Stages {
		if s.Name != stage {
			continue
		}
		if s.Err != nil {
			return s.Err
		}
		_, err := s.Render(ctx)
		return err
	}
	return nil
}

// writeBelow writes a file that must not exist, and the folders above it.
func writeBelow(root string, f scaffoldFile) error {
	name := filepath.Join(root, filepath.FromSlash(f.path))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // to be committed
		return err
	}
	return writeNew(name, f.data, 0o644)
}

// absent returns an error if one of the files exists.
func absent(root string, files []scaffoldFile) error {
	for _, f := range files {
		switch _, err := os.Lstat(filepath.Join(root, filepath.FromSlash(f.path))); {
		case err == nil:
			return usagef("%s exists, and init overwrites nothing: remove it, or add a pipeline by hand (docs/pipeline.md)", f.path)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

// write writes keys and files; if it fails, it removes what it wrote.
func (i *initializer) write(files []scaffoldFile) (err error) {
	root := i.workspace.Root()
	if err := absent(root, files); err != nil {
		return err
	}
	var written []string
	defer func() {
		if err != nil {
			for _, name := range written {
				_ = os.Remove(name)
			}
		}
	}()
	if i.keys != noKeys && !i.haveKeys() {
		public, err := i.makeKeys(&written)
		if err != nil {
			return err
		}
		files = append(files, public...)
	}
	for _, f := range files {
		if err := writeBelow(root, f); err != nil {
			return err
		}
		written = append(written, filepath.Join(root, filepath.FromSlash(f.path)))
		i.result.Files = append(i.result.Files, f.path)
	}
	return nil
}

// makeKeys makes the keys of both roles, and returns the public ones.
func (i *initializer) makeKeys(written *[]string) (public []scaffoldFile, err error) {
	if err := os.MkdirAll(i.keys, 0o700); err != nil {
		return nil, err
	}
	for _, prefix := range i.privateKeys() {
		key, err := generateKey(prefix, i.password)
		if err != nil {
			return nil, err
		}
		*written = append(*written, key.PrivateKey, key.PublicKey)
		i.result.PrivateKeys = append(i.result.PrivateKeys, key.PrivateKey)
		data, err := os.ReadFile(key.PublicKey)
		if err != nil {
			return nil, err
		}
		public = append(public, scaffoldFile{path.Join(keysFolder, filepath.Base(key.PublicKey)), data})
	}
	return public, nil
}
