package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/stagediff"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
)

// livePrefix marks an argument of diff as what is live in a stage.
const livePrefix = "live:"

// nameKind is what an argument of diff names.
type nameKind string

const (
	namesStage     nameKind = "a stage's candidate"
	namesLive      nameKind = "what is live in a stage"
	namesRelease   nameKind = "a release"
	namesBranch    nameKind = "a branch"
	namesReference nameKind = "an artifact"
)

// diffName is one argument of diff.
type diffName struct {
	kind nameKind
	text string // as the user wrote it
	name string // without what marks its kind
}

var (
	stageName     = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
	releasePrefix = regexp.MustCompile(`^git-[0-9a-f]{4,40}$`)
)

// parseDiffName tells what an argument names by how it is written.
func parseDiffName(text string) (diffName, error) {
	if name, ok := strings.CutPrefix(text, branchPrefix); ok && name != "" {
		return diffName{namesBranch, text, name}, nil
	}
	if name, ok := strings.CutPrefix(text, livePrefix); ok && stageName.MatchString(name) {
		return diffName{namesLive, text, name}, nil
	}
	switch {
	case strings.ContainsAny(text, ":/@"):
		name, tagOrDigest, err := oci.SplitReference(text)
		if err == nil && tagOrDigest == "" {
			err = fmt.Errorf("%s names a repository; add :TAG or @DIGEST", name)
		}
		if err != nil {
			return diffName{}, usageError{err}
		}
		return diffName{namesReference, text, text}, nil
	case releasePrefix.MatchString(text):
		return diffName{namesRelease, text, text}, nil
	case stageName.MatchString(text):
		return diffName{namesStage, text, text}, nil
	}
	return diffName{}, usagef("%q is no STAGE, live:STAGE, RELEASE (git-<4 to 40 hex digits>), branch:NAME or REFERENCE", text)
}

// parseNames checks what was named, before anything is read.
func (d *differ) parseNames() ([]diffName, error) {
	var names []diffName
	for _, arg := range d.args {
		name, err := parseDiffName(arg)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if len(names) == 1 && names[0].kind != namesStage && names[0].kind != namesRelease {
		return nil, usagef("%s is %s; name a second side, or a STAGE or RELEASE alone to compare it with what is live", names[0].text, names[0].kind)
	}
	if d.release != "" && !slices.ContainsFunc(names, func(n diffName) bool { return n.kind == namesStage }) {
		return nil, usagef("--release goes with a STAGE, whose candidate of that release is meant")
	}
	return names, checkRelease("--release", d.release)
}

// named compares what the arguments name: two sides, or one with what is live.
func (d *differ) named(ctx context.Context) ([]stagediff.Stage, error) {
	names, err := d.parseNames()
	if err != nil {
		return nil, err
	}
	l, err := d.look(ctx, names)
	if err != nil {
		return nil, err
	}
	var sides []stagediff.Side
	for _, n := range names {
		side, err := l.side(ctx, n)
		if err != nil {
			return nil, err
		}
		sides = append(sides, side)
	}
	if len(sides) == 1 {
		before, err := l.liveOf(ctx, sides[0])
		if err != nil {
			return nil, err
		}
		sides = []stagediff.Side{before, sides[0]}
	}
	couples, err := stagediff.Pair(sides[0], sides[1])
	if errors.Is(err, stagediff.ErrNoPair) {
		return nil, usageError{err}
	}
	if err != nil {
		return nil, err
	}
	return stagediff.Couples(ctx, couples, d.options)
}

// lookup finds what is named, by what the policy ref says.
type lookup struct {
	app       *app
	release   string // of stages' candidates; "" for the current one
	client    *oci.Client
	workspace *workspace.Workspace // nil where only references were named; then there are no pipelines
	files     fs.FS
	pipelines []*pipeline.Pipeline
}

// look prepares to find names. References need no checkout.
func (d *differ) look(ctx context.Context, names []diffName) (*lookup, error) {
	l := &lookup{app: d.app, release: d.release}
	if !slices.ContainsFunc(names, func(n diffName) bool { return n.kind != namesReference }) {
		l.client = d.app.registries(d.app.dir)
		return l, nil
	}
	var err error
	if l.workspace, err = d.app.workspace(ctx); err != nil {
		return nil, err
	}
	trunk, err := l.workspace.Policy(ctx, d.policy, func(message string) { d.app.warn("%s", message) })
	if err != nil {
		return nil, err
	}
	if l.files, err = trunk.Files(ctx); err != nil {
		return nil, err
	}
	l.client = d.app.registries(l.workspace.Root())
	l.pipelines, err = d.app.pipelines(l.workspace, l.files)
	return l, err
}

func (l *lookup) side(ctx context.Context, n diffName) (stagediff.Side, error) {
	side := stagediff.Side{Name: n.text}
	var err error
	switch n.kind {
	case namesReference:
		side.Subjects, err = l.reference(n.name)
	case namesStage:
		side.Subjects, err = l.candidates(ctx, n.name, l.release)
	case namesLive:
		side.Subjects, err = l.everyLive(ctx, n.name)
	case namesBranch:
		side.Whole = true
		side.Subjects, err = l.branch(ctx, n.name)
	case namesRelease:
		if _, err := l.find(n.name); err == nil { // a stage may be called like that
			return l.side(ctx, diffName{namesStage, n.text, n.name})
		}
		side.Whole = true
		side.Subjects, err = l.ofRelease(ctx, n.name)
	}
	if errors.Is(err, verify.ErrUnknown) {
		err = usageError{err}
	}
	return side, err
}

// find returns the pipelines that have a stage.
func (l *lookup) find(stage string) ([]*pipeline.Pipeline, error) {
	var found []*pipeline.Pipeline
	var names []string
	for _, p := range l.pipelines {
		names = append(names, p.Order()...)
		if _, ok := p.Stage(stage); ok {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		slices.Sort(names)
		return nil, fmt.Errorf("%w: no pipeline has a stage %q; there are %s", verify.ErrUnknown, stage, strings.Join(slices.Compact(names), ", "))
	}
	return found, nil
}

// reference is an artifact by itself.
func (l *lookup) reference(text string) ([]stagediff.Subject, error) {
	name, tagOrDigest, err := oci.SplitReference(text)
	if err != nil {
		return nil, err
	}
	repository, err := l.client.Repository(name)
	if err != nil {
		return nil, err
	}
	return []stagediff.Subject{{Label: repository.Reference(tagOrDigest), Files: pulled(repository, tagOrDigest)}}, nil
}

// pulled reads an artifact when it is asked for.
func pulled(repository *oci.Repository, tagOrDigest string) func(context.Context) (fs.FS, error) {
	return func(ctx context.Context) (fs.FS, error) {
		manifest, err := repository.ReadArtifact(ctx, tagOrDigest)
		if err != nil {
			return nil, err
		}
		return repository.Pull(ctx, manifest)
	}
}

// candidates are those of one release for a stage, of all pipelines that have it.
func (l *lookup) candidates(ctx context.Context, stage, release string) ([]stagediff.Subject, error) {
	requests, err := verify.Find(ctx, verify.Query{Artifact: stage, Release: release}, l.pipelines, l.files, l.client)
	if err != nil {
		return nil, err
	}
	var subjects []stagediff.Subject
	for _, r := range requests {
		s, err := l.candidate(r.Pipeline, r.Stage, r.Release, r.Reference)
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, s)
	}
	return subjects, nil
}

func (l *lookup) candidate(p *pipeline.Pipeline, stage, release, tag string) (stagediff.Subject, error) {
	repository, err := l.client.Repository(p.Repository(stage))
	if err != nil {
		return stagediff.Subject{}, err
	}
	read := pulled(repository, tag)
	return stagediff.Subject{Pipeline: p.Name, Stage: stage, Label: release, Files: func(ctx context.Context) (fs.FS, error) {
		tree, err := read(ctx)
		if errors.Is(err, oci.ErrNotFound) {
			err = fmt.Errorf("%w; make it with: lockage hydrate --release %s %s", err, release, stage)
		}
		return tree, err
	}}, nil
}

// declared is a stage as the policy ref declares it for the current release.
func (l *lookup) declared(p *pipeline.Pipeline, stage string) (pipeline.Expanded, error) {
	current, err := lock.Current(l.files, p.Lock)
	if err != nil {
		return pipeline.Expanded{}, fmt.Errorf("pipeline %s: %w", p.Name, err)
	}
	return p.Expand(stage, current.Lock, l.files)
}

// everyLive is what is live in a stage, of all pipelines that have it.
func (l *lookup) everyLive(ctx context.Context, stage string) ([]stagediff.Subject, error) {
	found, err := l.find(stage)
	if err != nil {
		return nil, err
	}
	var subjects []stagediff.Subject
	for _, p := range found {
		s, err := l.live(ctx, p, stage)
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, s)
	}
	return subjects, nil
}

// liveOf is what is live in the stages of another side.
func (l *lookup) liveOf(ctx context.Context, other stagediff.Side) (stagediff.Side, error) {
	side := stagediff.Side{Name: "what is live", Whole: other.Whole}
	for _, s := range other.Subjects {
		i := slices.IndexFunc(l.pipelines, func(p *pipeline.Pipeline) bool { return p.Name == s.Pipeline })
		subject, err := l.live(ctx, l.pipelines[i], s.Stage)
		if err != nil {
			return side, err
		}
		side.Subjects = append(side.Subjects, subject)
	}
	return side, nil
}

func (l *lookup) live(ctx context.Context, p *pipeline.Pipeline, stage string) (stagediff.Subject, error) {
	subject := stagediff.Subject{Pipeline: p.Name, Stage: stage}
	fail := func(err error) (stagediff.Subject, error) {
		return subject, fmt.Errorf("what is live in %s/%s: %w", p.Name, stage, err)
	}
	declared, err := l.declared(p, stage)
	if err != nil {
		return fail(err)
	}
	kept, err := live.Open(ctx, l.files, declared, l.client, l.workspace.Repository)
	if err != nil {
		return fail(err)
	}
	state, err := live.Read(ctx, kept)
	if err != nil {
		return fail(err)
	}
	if state.Live == nil {
		l.app.warn("%s/%s: nothing is live yet", p.Name, stage)
		return subject, nil
	}
	repository, err := l.client.Repository(declared.Repository)
	if err != nil {
		return fail(err)
	}
	subject.Label = "live " + state.Live.To.Release
	subject.Files = pulled(repository, state.Live.To.Digest.String())
	return subject, nil
}

// ofRelease is the candidates of a release for all stages of the pipelines that have it. The id may be abbreviated.
func (l *lookup) ofRelease(ctx context.Context, prefix string) ([]stagediff.Subject, error) {
	var ids []string
	has := map[*pipeline.Pipeline]bool{}
	for _, p := range l.pipelines {
		releases, err := lock.Releases(l.files, p.Lock)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("pipeline %s: %w", p.Name, err)
		}
		for _, id := range releases {
			if strings.HasPrefix(id, prefix) {
				ids = append(ids, id)
				has[p] = true
			}
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	const named = 5
	switch {
	case len(ids) == 0:
		return nil, fmt.Errorf("%w: no lock of any pipeline is of a release %s", verify.ErrUnknown, prefix)
	case len(ids) > named:
		return nil, fmt.Errorf("%w: %s could be any of %d releases, %s …; write more of it", verify.ErrUnknown, prefix, len(ids), strings.Join(ids[:named], ", "))
	case len(ids) > 1:
		return nil, fmt.Errorf("%w: %s could be %s; write more of it", verify.ErrUnknown, prefix, strings.Join(ids, " or "))
	}
	var subjects []stagediff.Subject
	for _, p := range l.pipelines {
		if !has[p] {
			continue
		}
		for _, stage := range p.Order() {
			found, err := l.candidates(ctx, stage, ids[0])
			if err != nil {
				return nil, err
			}
			for _, s := range found {
				if s.Pipeline == p.Name {
					subjects = append(subjects, s)
				}
			}
		}
	}
	return subjects, nil
}

// branch is what a branch shows of the stages that are mirrored to it, or that it was made for: a live ref, a review branch.
func (l *lookup) branch(ctx context.Context, name string) ([]stagediff.Subject, error) {
	var subjects []stagediff.Subject
	remotes := map[string]*git.Remote{}
	heads := map[*git.Remote]git.Hash{}
	for _, p := range l.pipelines {
		for _, stage := range p.Order() {
			declared, err := l.declared(p, stage)
			if err != nil {
				return nil, err
			}
			if declared.Mirror == nil {
				continue
			}
			remote := remotes[declared.Mirror.Remote]
			if remote == nil {
				if remote, err = verify.MirrorRemote(ctx, declared, l.workspace.Repository); err != nil {
					return nil, err
				}
				tips, err := remote.Tips(ctx, name)
				if err != nil {
					return nil, err
				}
				remotes[declared.Mirror.Remote], heads[remote] = remote, tips[name]
			}
			if heads[remote] == "" {
				continue
			}
			shows, err := showsStage(ctx, remote, name, declared)
			if err != nil {
				return nil, err
			}
			if shows {
				subjects = append(subjects, onBranch(remote, heads[remote], name, declared))
			}
		}
	}
	if len(subjects) == 0 {
		return nil, fmt.Errorf("%w: no branch %q shows a stage of these pipelines", verify.ErrUnknown, name)
	}
	return subjects, nil
}

// showsStage tells whether a branch is for a stage: by its declaration, or by what the branch says of itself.
func showsStage(ctx context.Context, remote *git.Remote, branch string, declared pipeline.Expanded) (bool, error) {
	if branch == declared.Mirror.Branch || branch == live.PlaceOf(declared).Branch {
		return true, nil
	}
	shown, ok, err := mirror.Shown(ctx, remote, mirror.Place{Branch: branch, Path: declared.Mirror.Path})
	return ok && shown.Lockage.Pipeline == declared.Pipeline && shown.Lockage.Stage == declared.Stage, err
}

// onBranch is the files that a branch's head has for a stage.
func onBranch(remote *git.Remote, head git.Hash, branch string, declared pipeline.Expanded) stagediff.Subject {
	const digits = 12
	return stagediff.Subject{
		Pipeline: declared.Pipeline, Stage: declared.Stage, Label: fmt.Sprintf("branch %s at %s", branch, head[:digits]),
		Files: func(ctx context.Context) (fs.FS, error) {
			snapshot, err := remote.Snapshot(ctx, head)
			if err != nil {
				return nil, err
			}
			if err := snapshot.Prefetch(ctx, declared.Mirror.Path); err != nil {
				return nil, err
			}
			return fs.Sub(snapshot.FS(ctx), declared.Mirror.Path)
		},
	}
}
