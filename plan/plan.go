// Package plan says which stages there are to render, and from which bytes: the pipelines of a GitOps commit, the
// release that each one's lock names, and the package at the locked source commit.
//
// A plan has everything that rendering needs. Nothing is fetched after it was made.
package plan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
)

const (
	// concurrency bounds the source repositories that are read at a time.
	concurrency = 8

	maxValuesBytes = 16 << 20
)

// Renderer renders packages of one kind, and says what it is.
type Renderer interface {
	hydrate.Renderer
	// Version is name and version, such as "helm v3.22.0".
	Version() string
}

// Sources opens source repositories by URL; *git.Repository is one.
type Sources interface {
	Remote(ctx context.Context, nameOrURL string) (*git.Remote, error)
}

// Request says what to plan.
type Request struct {
	Files     fs.FS // of the GitOps repository
	Pipelines []*pipeline.Pipeline
	Stages    []string // by name; none means all
	Release   string   // git-<40 hex>; "" means the one of each current.yaml
	Sources   Sources
	Renderers map[string]Renderer // by the lock's packaging.kind
}

// Release is one pipeline's release.
type Release struct {
	Pipeline  *pipeline.Pipeline
	Lock      lock.File
	SourceURL string    // as lock or pipeline write it
	Committed time.Time // the committer's time of the locked commit
	Stages    []Stage
	Err       error // why there are no stages; of this pipeline only
}

// Stage is one stage, ready to be rendered.
type Stage struct {
	hydrate.Stage
	Declared pipeline.Expanded
}

// Make plans every pipeline. The error is for what concerns all of them; what concerns one stands in its Release. The
// result has the order of the pipelines.
func Make(ctx context.Context, r Request) ([]Release, error) {
	if err := r.checkStages(); err != nil {
		return nil, err
	}
	m := maker{Request: r, packages: map[packageKey]*opened{}}
	releases := make([]Release, len(r.Pipelines))
	var group errgroup.Group
	group.SetLimit(concurrency)
	for i, p := range r.Pipelines {
		group.Go(func() error {
			releases[i] = Release{Pipeline: p}
			releases[i].Err = m.release(ctx, &releases[i])
			return ctx.Err()
		})
	}
	return releases, group.Wait()
}

// ErrNoStage says that a stage was asked for that no pipeline has.
var ErrNoStage = errors.New("no such stage")

func (r Request) checkStages() error {
	for _, name := range r.Stages {
		var known []string
		for _, p := range r.Pipelines {
			known = append(known, p.Order()...)
		}
		if !slices.Contains(known, name) {
			slices.Sort(known)
			return fmt.Errorf("%w: %q; there are %s", ErrNoStage, name, strings.Join(slices.Compact(known), ", "))
		}
	}
	return nil
}

// maker makes one plan.
type maker struct {
	Request

	mu       sync.Mutex
	packages map[packageKey]*opened
}

type packageKey struct{ repo, commit, path, kind string }

// opened is a package that is opened once, by whoever needs it first.
type opened struct {
	once    sync.Once
	pkg     hydrate.Package
	decoder hydrate.Decoder
	time    time.Time
	err     error
}

func (m *maker) release(ctx context.Context, out *Release) error {
	p := out.Pipeline
	var err error
	if m.Release == "" {
		out.Lock, err = lock.Current(m.Files, p.Lock)
	} else {
		out.Lock, err = lock.Release(m.Files, p.Lock, m.Release)
	}
	if err != nil {
		return err
	}
	for _, name := range p.Order() {
		if len(m.Stages) > 0 && !slices.Contains(m.Stages, name) {
			continue
		}
		declared, err := p.Expand(name, out.Lock.Lock, m.Files)
		if err != nil {
			return err
		}
		stage, err := m.stage(ctx, out, declared)
		if err != nil {
			return err
		}
		out.Stages = append(out.Stages, Stage{stage, declared})
	}
	return nil
}

func (m *maker) stage(ctx context.Context, out *Release, declared pipeline.Expanded) (hydrate.Stage, error) {
	l := out.Lock.Lock
	kind := l.Packaging.Kind
	renderer, ok := m.Renderers[kind]
	if !ok {
		return hydrate.Stage{}, fmt.Errorf("%s: packaging.kind %s is not supported yet", out.Lock.Path, kind)
	}
	pkg := m.open(ctx, renderer, packageKey{declared.SourceRepo, l.GitCommit, l.Packaging.SourcePath, kind})
	if pkg.err != nil {
		return hydrate.Stage{}, pkg.err
	}
	out.SourceURL, out.Committed = declared.SourceRepo, pkg.time
	values, err := m.values(declared)
	if err != nil {
		return hydrate.Stage{}, err
	}
	o := declared.Render
	var set []hydrate.SetValue
	for _, s := range o.Set {
		set = append(set, hydrate.SetValue(s))
	}
	return hydrate.Stage{
		Pipeline: declared.Pipeline,
		Name:     declared.Stage,
		Lock:     l,
		Renderer: renderer.Version(),
		Package:  pkg.pkg,
		Decoder:  &pkg.decoder,
		Request: hydrate.Request{
			ReleaseName: o.ReleaseName,
			Namespace:   o.Namespace,
			KubeVersion: o.KubeVersion,
			APIVersions: o.APIVersions,
			Values:      values,
			Set:         set,
			IncludeCRDs: o.IncludeCRDs,
			Hooks:       hydrate.Hooks(o.Hooks),
		},
		Layout:      hydrate.Mode(o.Layout),
		AssertImage: o.AssertImage,
	}, nil
}

func (m *maker) values(declared pipeline.Expanded) ([]hydrate.File, error) {
	var values []hydrate.File
	for _, name := range declared.Render.Values {
		info, err := fs.Stat(m.Files, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("values file %s, for stage %s of pipeline %s, does not exist in the GitOps repository: %w; create and commit it, or take it out of render.values",
				name, declared.Stage, declared.Pipeline, fs.ErrNotExist)
		}
		if err != nil {
			return nil, fmt.Errorf("values file %s: %w", name, err)
		}
		if info.Size() > maxValuesBytes {
			return nil, fmt.Errorf("values file %s has %d bytes, at most %d are read", name, info.Size(), maxValuesBytes)
		}
		data, err := fs.ReadFile(m.Files, name)
		if err != nil {
			return nil, fmt.Errorf("values file %s: %w", name, err)
		}
		values = append(values, hydrate.File{Path: name, Data: data})
	}
	return values, nil
}

// open fetches and opens a package, once a plan.
func (m *maker) open(ctx context.Context, renderer Renderer, key packageKey) *opened {
	m.mu.Lock()
	o := m.packages[key]
	if o == nil {
		o = &opened{}
		m.packages[key] = o
	}
	m.mu.Unlock()
	o.once.Do(func() { o.err = o.read(ctx, m.Sources, renderer, key) })
	return o
}

func (o *opened) read(ctx context.Context, sources Sources, renderer Renderer, key packageKey) error {
	remote, err := sources.Remote(ctx, key.repo)
	if err != nil {
		return fmt.Errorf("source repository: %w", err)
	}
	hash, err := git.ParseHash(key.commit)
	if err != nil {
		return err
	}
	commit, err := remote.Commit(ctx, hash)
	if err != nil {
		return fmt.Errorf("source repository: %w", err)
	}
	snapshot, err := remote.Snapshot(ctx, hash)
	if err != nil {
		return fmt.Errorf("source repository: %w", err)
	}
	if err := snapshot.Prefetch(ctx, key.path); err != nil {
		return fmt.Errorf("source repository: %w", err)
	}
	files, err := fs.Sub(snapshot.FS(ctx), key.path)
	if err != nil {
		return fmt.Errorf("source repository: %w", err)
	}
	if o.pkg, err = renderer.Open(ctx, files); err != nil {
		return fmt.Errorf("%s at %.12s of %s: %w", key.path, key.commit, remote.URL(), err)
	}
	o.time = commit.Committed
	return nil
}

// Key names a stage of a release.
type Key struct{ Pipeline, Stage, Release string }

// KeyOf is the key of a stage.
func KeyOf(s hydrate.Stage) Key { return Key{s.Pipeline, s.Name, s.Lock.ReleaseID} }

// InputDigests are the input digests of all stages that could be planned.
func InputDigests(releases []Release) map[Key]digest.Digest {
	digests := map[Key]digest.Digest{}
	for _, r := range releases {
		for _, s := range r.Stages {
			digests[KeyOf(s.Stage)] = s.InputDigest()
		}
	}
	return digests
}
