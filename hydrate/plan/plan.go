// Package plan decides which stages are rendered and from which bytes: the pipelines of a GitOps commit, the release of
// each one's lock, and the package at the locked source commit.
//
// A plan has everything that rendering needs, dependencies of charts included. Rendering fetches nothing.
package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/schema"
	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/memo"
)

const (
	concurrency    = 8        // source repositories that are read at a time
	maxValuesBytes = 16 << 20 // of one values file
)

// Sources opens source repositories by URL; *git.Repository is one.
type Sources interface {
	Remote(ctx context.Context, nameOrURL string) (*git.Remote, error)
}

// Charts opens packaged charts.
type Charts interface {
	// Open returns the files of the archive of a locked chart.
	Open(ctx context.Context, locked lock.Chart) (fs.FS, error)
}

// Request selects what is planned.
type Request struct {
	Files     fs.FS // of the GitOps repository
	Pipelines []*pipeline.Pipeline
	Stages    []string   // by name; none means all
	Release   string     // git-<40 hex>; "" means the one of each current.yaml
	Commit    string     // to read the source at instead of the locked one; "" for that. Nothing of such a plan is ever published
	Lock      *lock.File // in place of the current one; nil for that. Nothing of such a plan is ever published either
	Sources   Sources
	Charts    Charts                         // nil to refuse locks of packaged charts
	Renderers map[lock.Kind]hydrate.Renderer // by the lock's packaging.kind
	Beside    []Release                      // planned at another commit: overlays that find the same here are not opened again
}

// Release is one pipeline's release.
type Release struct {
	Pipeline  *pipeline.Pipeline
	Lock      lock.File
	SourceURL string    // as lock or pipeline write it, [lock.Lock.SourceURL]
	Committed time.Time // the committer's time of the locked commit; 1970-01-01 for a packaged chart
	Stages    []Stage
	Err       error // why there are no stages; of this pipeline only
}

// Unreleased reports whether the pipeline never had a release.
func (r Release) Unreleased() bool { return errors.Is(r.Err, lock.ErrNoRelease) }

// Files returns the files of the GitOps repository that a release names: pipeline file, lock and values files.
func (r Release) Files() []string {
	names := []string{r.Pipeline.File, lock.CurrentFile(r.Pipeline.Lock)}
	for _, s := range r.Stages {
		for _, file := range s.Declared.Values {
			if file.From != pipeline.FromSource {
				names = append(names, file.File)
			}
		}
	}
	return names
}

// Stage is one stage, ready to be rendered.
type Stage struct {
	hydrate.Stage
	Declared pipeline.Expanded // zero if Err says that it cannot be expanded
	Values   []git.Hash        // Git's id of each declared values file; "" for one that does not exist
	Reads    *git.Reads        // what the package looked for in the GitOps repository, if that is a commit's
	Err      error             // why it cannot be rendered; it has pipeline, name and lock then
}

// Make plans every pipeline, in their order. The error concerns all of them; that of one pipeline is in its Release.
func Make(ctx context.Context, r Request) ([]Release, error) {
	if err := pipeline.CheckStages(r.Pipelines, r.Stages); err != nil {
		return nil, err
	}
	m := maker{Request: r, beside: map[Key]Stage{}}
	for _, other := range r.Beside {
		for _, s := range other.Stages {
			if s.Err == nil && s.Reads != nil {
				m.beside[KeyOf(s.Stage)] = s
			}
		}
	}
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

// maker makes one plan.
type maker struct {
	Request
	beside map[Key]Stage // overlays of the plan at another commit

	sources  memo.Map[sourceKey, *source]
	packages memo.Map[packageKey, hydrate.Package] // those that stages share
	checkers memo.Map[schemaKey, *schema.Schemas]
}

type sourceKey struct {
	repo, commit string
	chart        lock.Chart // in place of a commit
}

type schemaKey struct{ dir, kubeVersion string }

// source is a commit of a source repository, or a packaged chart.
type source struct {
	sourceKey
	url       string
	committed time.Time
	snapshot  *git.Snapshot   // nil for a packaged chart
	unpacked  fs.FS           // the packaged chart's files
	decoder   hydrate.Decoder // of what its stages have in common
}

// files returns all files of the source.
func (s *source) files(ctx context.Context) fs.FS {
	if s.snapshot == nil {
		return s.unpacked
	}
	return s.snapshot.FS(ctx).Whole()
}

// at names a folder of the source for people.
func (s *source) at(dir string) string {
	if s.snapshot == nil {
		return s.chart.String()
	}
	return fmt.Sprintf("%s at %.12s of %s", dir, s.commit, s.url)
}

type packageKey struct {
	source *source
	path   string
	kind   lock.Kind
}

func (m *maker) release(ctx context.Context, out *Release) error {
	p := out.Pipeline
	var err error
	if release := m.Release; m.Lock != nil {
		out.Lock = *m.Lock
		out.Lock.Lock = m.Lock.From(p.SourceRepo)
	} else if release == "" {
		out.Lock, err = p.CurrentLock(m.Files)
	} else if release, err = p.FindRelease(m.Files, release); err == nil {
		out.Lock, err = p.LockOf(m.Files, release)
	}
	if err != nil {
		return err
	}
	switch {
	case m.Commit != "" && out.Lock.Packaging.Kind == lock.Packaged:
		return fmt.Errorf("release %s of pipeline %s is a packaged chart: there is no other commit to read it at", out.Lock.ReleaseID, p.Name)
	case m.Commit != "":
		out.Lock.GitCommit, out.Lock.ReleaseID = m.Commit, "git-"+m.Commit
	}
	for _, name := range p.Order() {
		if len(m.Stages) > 0 && !p.Names(name, m.Stages...) {
			continue
		}
		declared, err := p.Expand(name, out.Lock.Lock, m.Files)
		if err := cmp.Or(err, declared.Unrendered); err != nil {
			out.Stages = append(out.Stages, Stage{Stage: hydrate.Stage{Pipeline: p.Name, Name: name, Lock: out.Lock}, Err: err})
			continue
		}
		stage, err := m.stage(ctx, out, declared)
		if err != nil {
			return err
		}
		out.Stages = append(out.Stages, stage)
	}
	return nil
}

// stage plans a stage. Its own error is in it; the one returned concerns all stages of the release.
func (m *maker) stage(ctx context.Context, out *Release, declared pipeline.Expanded) (Stage, error) {
	l := out.Lock.Lock
	renderer, ok := m.Renderers[l.Packaging.Kind]
	if !ok {
		return Stage{}, fmt.Errorf("%s: packaging.kind %s is not supported yet", out.Lock.Path, l.Packaging.Kind)
	}
	key := sourceKey{declared.SourceRepo, l.GitCommit, l.Chart}
	src, err := m.sources.Get(key, func() (*source, error) { return m.read(ctx, key) })
	if err != nil {
		return Stage{}, err
	}
	out.SourceURL, out.Committed = declared.SourceRepo, src.committed
	stage := Stage{Declared: declared, Stage: hydrate.Stage{
		Pipeline:  declared.Pipeline,
		Name:      declared.Stage,
		Lock:      out.Lock,
		Committed: out.Committed,
		Renderer:  renderer.Version(declared.Render),
		Options:   declared.Render,
		Decoder:   &src.decoder,
	}}
	if !renderer.Overlays() {
		key := packageKey{src, path.Join(".", l.Packaging.SourcePath), l.Packaging.Kind}
		stage.Package, err = m.packages.Get(key, func() (hydrate.Package, error) { return src.open(ctx, renderer, key.path) })
		if err != nil {
			return Stage{}, err
		}
	}
	stage.Err = m.complete(ctx, src, renderer, &stage)
	return stage, ctx.Err()
}

// complete reads what is the stage's alone.
func (m *maker) complete(ctx context.Context, src *source, renderer hydrate.Renderer, stage *Stage) (err error) {
	declared := stage.Declared
	if declared.Render.Validate {
		if stage.Schemas, err = m.schemas(declared); err != nil {
			return err
		}
	}
	if !renderer.Overlays() {
		return m.values(ctx, src, stage)
	}
	source := src.source(ctx, stage.Lock.Packaging.SourcePath)
	gitOps := m.Files
	if files, ok := gitOps.(*git.FS); ok {
		if other, ok := m.beside[KeyOf(stage.Stage)]; ok && other.opensAlike(*stage, files) {
			stage.Package, stage.Reads, stage.Options.Request = other.Package, other.Reads, hydrate.Request{}
			return nil
		}
		stage.Reads = &git.Reads{}
		gitOps = files.Recording(stage.Reads)
	}
	source.Overlay = &hydrate.Overlay{GitOps: gitOps, Images: stage.Lock.Images(), Options: declared.Render}
	stage.Package, err = renderer.Open(ctx, source)
	stage.Options.Request = hydrate.Request{} // the package has used of it what it needs
	return err
}

// opensAlike reports whether another stage's overlay would open to the same at the commit of files: it has the same options, lock and
// source, and what was looked for leads there to what it led to.
func (s Stage) opensAlike(other Stage, files *git.FS) bool {
	if s.Renderer != other.Renderer || !reflect.DeepEqual(s.Lock.Lock, other.Lock.Lock) || s.Declared.SourceRepo != other.Declared.SourceRepo ||
		!reflect.DeepEqual(s.Declared.Render, other.Declared.Render) {
		return false
	}
	return !slices.ContainsFunc(s.Reads.List(), func(r git.Read) bool {
		found, err := files.Find(r.Name, r.ID != "")
		return err != nil || found != r
	})
}

// schemas returns the schemas of a stage, which stages of one folder and version share.
func (m *maker) schemas(declared pipeline.Expanded) (*schema.Schemas, error) {
	dir := declared.Render.Schemas
	if info, err := fs.Stat(m.Files, dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("render.schemas of stage %s of pipeline %s: %s is not a folder of the GitOps repository; commit the schemas of Kubernetes %s there",
			declared.Stage, declared.Pipeline, dir, declared.Render.KubeVersion)
	}
	return m.checkers.Get(schemaKey{dir, declared.Render.KubeVersion}, func() (*schema.Schemas, error) {
		files, err := fs.Sub(m.Files, dir)
		if err != nil {
			return nil, fmt.Errorf("render.schemas: %w", err)
		}
		return schema.New(files, declared.Render.KubeVersion), nil
	})
}

// values reads the values files of a stage. The error lists all that are missing.
func (m *maker) values(ctx context.Context, src *source, stage *Stage) error {
	var problems []error
	for _, file := range stage.Declared.Values {
		files, name, where := m.Files, file.File, "in the GitOps repository"
		remedy, from := "create and commit it", ""
		if file.From == pipeline.FromSource {
			dir := stage.Lock.Packaging.SourcePath
			files, name = src.files(ctx), path.Join(dir, file.File)
			where, remedy, from = fmt.Sprintf("below %s in the source at %.12s", dir, src.commit), "commit it there and lock that commit", "from: source, "
			if src.snapshot == nil {
				where, remedy = "in "+src.at(dir), "lock a version that has it"
			}
		}
		data, err := bounded.ReadFile(files, name, maxValuesBytes)
		switch {
		case err == nil:
			stage.Options.Values = append(stage.Options.Values, hydrate.File{Path: name, Data: data})
			stage.Values = append(stage.Values, fileID(files, name, data))
		case errors.Is(err, fs.ErrNotExist) && file.Optional:
			stage.Values = append(stage.Values, "")
			stage.Absent = append(stage.Absent, cmp.Or(string(file.From), string(pipeline.FromGitOps))+"/"+file.File)
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, fmt.Errorf("%s: values file %s does not exist %s: %w; %s, take it out of render.values, or write {file: %q, %soptional: true}",
				file.Pos, file.File, where, fs.ErrNotExist, remedy, file.File, from))
		default:
			problems = append(problems, fmt.Errorf("%s: values file %w", file.Pos, err))
		}
	}
	return errors.Join(problems...)
}

// fileID returns Git's id of a file that was read: of the pointer to it, if the file is in Git LFS.
func fileID(files fs.FS, name string, data []byte) git.Hash {
	if commit, ok := files.(*git.FS); ok {
		if read, err := commit.Find(name, false); err == nil && read.ID != "" {
			return read.ID
		}
	}
	return git.BlobID(data)
}

// read finds a commit of a source repository, or fetches a packaged chart.
func (m *maker) read(ctx context.Context, key sourceKey) (*source, error) {
	if key.chart != (lock.Chart{}) {
		return m.readChart(ctx, key)
	}
	fail := func(err error) (*source, error) { return nil, fmt.Errorf("source repository: %w", err) }
	remote, err := m.Sources.Remote(ctx, key.repo)
	if err != nil {
		return fail(err)
	}
	hash, err := git.ParseHash(key.commit)
	if err != nil {
		return fail(err)
	}
	snapshot, err := remote.Snapshot(ctx, hash)
	if err != nil {
		return fail(err)
	}
	return &source{sourceKey: key, url: remote.URL(), snapshot: snapshot, committed: snapshot.Commit().Committed}, nil
}

func (m *maker) readChart(ctx context.Context, key sourceKey) (*source, error) {
	if m.Charts == nil {
		return nil, fmt.Errorf("%s is a packaged chart, and none is fetched here", key.chart)
	}
	files, err := m.Charts.Open(ctx, key.chart)
	return &source{sourceKey: key, unpacked: files, committed: time.Unix(0, 0).UTC()}, err
}

// open fetches and opens a package that stages share.
func (s *source) open(ctx context.Context, renderer hydrate.Renderer, dir string) (hydrate.Package, error) {
	if err := s.prefetch(ctx, dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("no folder %s at %.12s of %s: is the lock's packaging.sourcePath right? %w", dir, s.commit, s.url, fs.ErrNotExist)
		}
		return nil, fmt.Errorf("source repository: %w", err)
	}
	pkg, err := renderer.Open(ctx, s.source(ctx, dir))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.at(dir), err)
	}
	return pkg, nil
}

// source returns the commit as renderers see it.
func (s *source) source(ctx context.Context, dir string) hydrate.Source {
	return hydrate.Source{Files: s.files(ctx), Packaged: s.snapshot == nil, Path: dir, Repository: s.repo, Commit: s.commit, Prefetch: s.prefetch}
}

// prefetch fetches files before they are read, in one go; those of a packaged chart are there.
func (s *source) prefetch(ctx context.Context, paths ...string) error {
	if s.snapshot == nil {
		return nil
	}
	return s.snapshot.Prefetch(ctx, paths...)
}

// Key names a stage of a release.
type Key struct{ Pipeline, Stage, Release string }

// KeyOf returns the key of a stage.
func KeyOf(s hydrate.Stage) Key { return Key{s.Pipeline, s.Name, s.Lock.ReleaseID} }

// InputDigests returns the input digests of all stages that could be planned.
func InputDigests(releases []Release) map[Key]digest.Digest {
	digests := map[Key]digest.Digest{}
	for _, r := range releases {
		for _, s := range r.Stages {
			if s.Err == nil {
				digests[KeyOf(s.Stage)] = s.InputDigest()
			}
		}
	}
	return digests
}
