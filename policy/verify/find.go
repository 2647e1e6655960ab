package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
)

// ErrUnknown says that no pipeline has what was asked for.
var ErrUnknown = errors.New("unknown artifact")

// CandidatePrefix comes before a STAGE where somebody wants to say that its candidate is meant, as it is without.
const CandidatePrefix = "candidate:"

// Query is an artifact as a user names it.
type Query struct {
	Artifact string // STAGE, PIPELINE/STAGE, candidate:STAGE, repository:tag or repository@digest
	Stage    string // of a repository's artifact; "" for what its tag or annotation says
	Release  string // "" for the current one of a stage, or what a tag or annotation says
}

// Find makes requests of a query: one for a reference, one for each pipeline that has the stage. For those of candidates it reads
// the ledger. Files and PolicyRef of the requests are left to the caller.
func Find(ctx context.Context, q Query, pipelines []*pipeline.Pipeline, files fs.FS, client *oci.Client, remotes Remotes) ([]Request, error) {
	requests, err := find(ctx, q, pipelines, files, client)
	if err != nil {
		return nil, err
	}
	return requests, ReadCandidates(ctx, requests, files, remotes)
}

func find(ctx context.Context, q Query, pipelines []*pipeline.Pipeline, files fs.FS, client *oci.Client) ([]Request, error) {
	q.Artifact = strings.TrimPrefix(q.Artifact, CandidatePrefix)
	if strings.HasPrefix(q.Artifact, "live:") {
		return nil, fmt.Errorf("%w: %s is what is live, and this is about candidates: write STAGE, or REPOSITORY@DIGEST", ErrUnknown, q.Artifact)
	}
	if strings.ContainsAny(q.Artifact, ":@") {
		r, err := findReference(ctx, q, pipelines, client)
		if err == nil && q.Release != "" {
			q.Release, r.Input = lock.SplitName(q.Release)
			r.Release, err = r.Pipeline.FindRelease(files, q.Release)
		}
		return []Request{r}, err
	}
	found, stage, err := Having(pipelines, q.Artifact)
	if err != nil {
		return nil, err
	}
	named, input := lock.SplitName(q.Release)
	var requests []Request
	var unreleased error // of the last pipeline that never had a release, which counts if none had
	for _, p := range found {
		release := named
		if release != "" {
			if release, err = p.FindRelease(files, release); err != nil {
				return nil, err
			}
		} else {
			current, err := p.CurrentLock(files)
			if errors.Is(err, lock.ErrNoRelease) {
				unreleased = fmt.Errorf("pipeline %s: %w", p.Name, err)
				continue
			}
			if err != nil {
				return nil, err
			}
			release = current.ReleaseID
		}
		r, err := CandidateOf(p, stage, release, client)
		if err != nil {
			return nil, err
		}
		r.Input = input
		requests = append(requests, r)
	}
	if len(requests) > 0 {
		unreleased = nil
	}
	return requests, unreleased
}

// Having returns the pipelines that have a stage, STAGE or PIPELINE/STAGE, and its name without the pipeline's. The error is
// [pipeline.ErrNoStage] if none has it.
func Having(pipelines []*pipeline.Pipeline, name string) (found []*pipeline.Pipeline, stage string, err error) {
	if err := pipeline.CheckStages(pipelines, []string{name}); err != nil {
		return nil, "", err
	}
	stage = path.Base(name)
	for _, p := range pipelines {
		if _, ok := p.Stage(stage); ok && p.Names(stage, name) {
			found = append(found, p)
		}
	}
	return found, stage, nil
}

// Only returns the one request of a query that names an artifact to act on, and else names what the user can choose from.
func Only(requests []Request, q Query) (Request, error) {
	if len(requests) == 1 {
		return requests[0], nil
	}
	names := make([]string, len(requests))
	for i, r := range requests {
		names[i] = r.Pipeline.Name + "/" + r.Stage
	}
	return Request{}, fmt.Errorf("%w: %d pipelines have a stage %s; name one as PIPELINE/STAGE: %s",
		ErrUnknown, len(requests), q.Artifact, strings.Join(names, ", "))
}

// releaseOf returns the release that the tag of a candidate or of its hydration names; "" for none.
func releaseOf(tag string) string {
	_, release, _ := strings.Cut(tag, ".")
	if lock.CheckID(release) != nil {
		release = release[:max(0, strings.LastIndexByte(release, '.'))]
	}
	if lock.CheckID(release) != nil {
		return ""
	}
	return release
}

// SplitReference splits REPOSITORY:TAG or REPOSITORY@DIGEST. Of a stage with digits behind it, the error says what these may belong to.
func SplitReference(text string) (name, tagOrDigest string, err error) {
	stage, digits, cut := strings.Cut(text, "@")
	if cut && !strings.ContainsAny(stage, ".:") && !strings.HasPrefix(stage, "localhost/") {
		return "", "", fmt.Errorf("%s: the digits of a hydration follow a release, as --release git-<commit>@%s; an artifact by its digest is REPOSITORY@sha256:<64 hex digits>, which -o wide shows",
			text, cmp.Or(strings.TrimPrefix(digits, "sha256:"), "<4 hex digits>"))
	}
	return oci.SplitArtifact(text)
}

func findReference(ctx context.Context, q Query, pipelines []*pipeline.Pipeline, client *oci.Client) (Request, error) {
	name, tagOrDigest, err := SplitReference(q.Artifact)
	if err != nil {
		return Request{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	repository, err := client.Repository(name)
	if err != nil {
		return Request{}, err
	}
	r := Request{Repository: repository, Reference: tagOrDigest, Release: q.Release, Stage: q.Stage}
	var stages []string
	for _, p := range pipelines {
		for _, stage := range p.Order() {
			if p.Repository(stage) == name || slices.Contains(p.CopiesOf(stage), name) {
				r.Pipeline, stages = p, append(stages, stage)
			}
		}
	}
	if r.Pipeline == nil {
		return Request{}, fmt.Errorf("%w: no pipeline keeps its artifacts in %s; name other pipeline files with -f", ErrUnknown, name)
	}
	tag := tagOrDigest
	if strings.Contains(tagOrDigest, ":") {
		tag = ""
	}
	r.Stage = cmp.Or(r.Stage, oci.StageOfTag(tag))
	if r.Stage == "" && len(stages) == 1 {
		r.Stage = stages[0]
	}
	if r.Stage == "" {
		// What the manifest claims is what has to be proven then.
		manifest, err := repository.ReadArtifact(ctx, tagOrDigest)
		if err != nil {
			return Request{}, err
		}
		r.Stage = manifest.Annotations[oci.AnnotationStage]
	}
	if _, ok := r.Pipeline.Stage(r.Stage); !ok {
		return Request{}, fmt.Errorf("%w: pipeline %s has no stage %q; say which with --stage: %s",
			ErrUnknown, r.Pipeline.Name, r.Stage, strings.Join(r.Pipeline.Order(), ", "))
	}
	r.Release = cmp.Or(r.Release, releaseOf(tag))
	return r, nil
}
