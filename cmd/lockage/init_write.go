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

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
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
	if i.broken() {
		return nil
	}
	files, loaded, err := i.load(dir, locks)
	if err != nil {
		return err
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
		if d := &i.drafts[n]; !d.Broken() {
			d.Order()
		}
	}
	return nil
}

// load writes the pipeline files and locks into a folder, and reads them beside the repository's. What is wrong with a pipeline comments out
// its stages.
func (i *initializer) load(dir string, locks []scaffoldFile) (fs.FS, []*pipeline.Pipeline, error) {
	pipelines := i.files()
	for _, f := range append(pipelines, locks...) {
		if err := writeBelow(dir, f); err != nil {
			return nil, nil, err
		}
	}
	files, err := i.workspace.Beside(os.DirFS(dir))
	if err != nil {
		return nil, nil, err
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
		return nil, nil, err
	}
	for _, p := range problems {
		i.breaks(p)
	}
	return files, loaded, nil
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

// planKeys decides where keys are: those that are in the repository are used, and else new ones are made in i.write.
func (i *initializer) planKeys(ctx context.Context) (err error) {
	if i.keys == noKeys {
		return nil
	}
	s := &i.shared
	s.Hydrator, s.Promoter = "env://HYDRATOR_KEY", "env://PROMOTER_KEY"
	s.HydratorPub, s.PromoterPub = path.Join(keysFolder, "hydrator.pub"), path.Join(keysFolder, "promoter.pub")
	if i.haveKeys() {
		return nil
	}
	if i.keys == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return usagef("--keys is missing, and there is no home folder: %w", err)
		}
		i.keys = filepath.Join(home, ".lockage", filepath.Base(i.workspace.Root()))
	}
	for _, name := range i.privateKeys() {
		if err := checkKeyPlace(name); err != nil {
			return fmt.Errorf("%w; with init: --keys DIR", err)
		}
	}
	if i.dryRun {
		return nil
	}
	if i.password, err = i.app.keyPassword(ctx); err != nil {
		return fmt.Errorf("%w; or leave keys out with --keys none", err)
	}
	return nil
}

// haveKeys reports whether the repository has public keys.
func (i *initializer) haveKeys() bool {
	for _, name := range []string{i.shared.HydratorPub, i.shared.PromoterPub} {
		if _, err := os.Lstat(filepath.Join(i.workspace.Root(), filepath.FromSlash(name))); errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

func (i *initializer) privateKeys() []string {
	return []string{filepath.Join(i.keys, "hydrator"), filepath.Join(i.keys, "promoter")}
}

// lock makes the locks of the first releases.
func (i *initializer) lock(ctx context.Context) (files []scaffoldFile, err error) {
	worktree, err := i.workspace.WorkTree()
	if err != nil {
		return nil, err
	}
	for n := range i.drafts {
		d := &i.drafts[n]
		if d.Lock != nil {
			continue
		}
		l := lockDiscoverer{lockWriter: lockWriter{app: i.app, dir: d.Locks, files: worktree, workspace: i.workspace, pipeline: &pipeline.Pipeline{Name: d.Name}}}
		plan, err := i.release(ctx, *d, &l)
		if err != nil && d.Chart != "" && len(i.drafts) > 1 {
			for m := range d.Stages {
				d.Stages[m].Off = err.Error()
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		d.Lock = &plan.Lock
		for _, name := range plan.Paths {
			files = append(files, scaffoldFile{name, plan.Data})
		}
	}
	return files, nil
}

// release plans the first release of a draft: the source's tip with the image, or the highest version of a chart.
func (i *initializer) release(ctx context.Context, d scaffold.Draft, l *lockDiscoverer) (lock.Plan, error) {
	if d.Chart != "" {
		l.chart = chartFlags{place: d.Chart, versions: d.Versions}
	} else {
		l.lock.GitCommit, l.lock.Packaging = string(i.commit), lock.Packaging{Kind: d.Kind, SourceRepo: i.source, SourcePath: d.SourcePath}
		if l.lock.Image.Digest = digest.Digest(i.digest); i.image != "" {
			l.images = []string{i.image}
		}
	}
	if err := errors.Join(l.lockWriter.parse(), l.readCurrent()); err != nil {
		return lock.Plan{}, err
	}
	if d.Chart != "" {
		if err := l.findChart(ctx); err != nil {
			return lock.Plan{}, err
		}
	}
	return l.prepare(ctx)
}
