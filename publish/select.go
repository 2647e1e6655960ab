package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/strictyaml"
)

// Shard is one of several equal parts of the pipelines, for runs on several machines. The zero value is all pipelines.
type Shard struct {
	Number, Of int // from 1 to Of
}

func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Number, s.Of) }

// counters are the variables in which runners tell a job its number among equal jobs, and how many those are. An indexed Job of Kubernetes
// does not tell that.
var counters = []struct {
	number, of string
	first      int
}{
	{"CI_NODE_INDEX", "CI_NODE_TOTAL", 1}, // GitLab
	{"BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT", 0},
	{"CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", 0},
	{"CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT", 0},
	{"SYSTEM_JOBPOSITIONINPHASE", "SYSTEM_TOTALJOBSINPHASE", 1}, // Azure Pipelines
	{"JOB_COMPLETION_INDEX", "", 0},                             // Kubernetes
}

// ParseShard reads K/N, /N with K from the runner's variables, or «auto» with both from them.
func ParseShard(s string, getenv func(string) string) (Shard, error) {
	k, n, _ := strings.Cut(s, "/")
	shift := 0
	if automatic := s == "auto"; automatic || k == "" && n != "" {
		var names []string
		for _, c := range counters {
			names = append(names, c.number)
			if k = getenv(c.number); k == "" {
				continue
			}
			if shift = 1 - c.first; automatic {
				n = getenv(c.of)
			}
			if n == "" {
				return Shard{}, fmt.Errorf("%q: %s does not come with the number of jobs: write /N", s, c.number)
			}
			break
		}
		if k == "" {
			return Shard{}, fmt.Errorf("%q: none of %s is set: write K/N", s, strings.Join(names, ", "))
		}
		s = k + "/" + n
	}
	number, err := strconv.Atoi(k)
	of, err2 := strconv.Atoi(n)
	if number += shift; err != nil || err2 != nil || number < 1 || number > of {
		return Shard{}, fmt.Errorf("%q is not a part: write K/N, with K from 1 to N", s)
	}
	return Shard{number, of}, nil
}

// Select returns the shard's pipelines: every Of-th in the order of their names. The shards of one commit together have each
// pipeline once.
func (s Shard) Select(pipelines []*pipeline.Pipeline) []*pipeline.Pipeline {
	if s.Of == 0 {
		return pipelines
	}
	byName := slices.SortedFunc(slices.Values(pipelines), func(a, b *pipeline.Pipeline) int { return cmp.Compare(a.Name, b.Name) })
	var own []*pipeline.Pipeline
	for i, p := range byName {
		if i%s.Of == s.Number-1 {
			own = append(own, p)
		}
	}
	return own
}

// Plan returns the releases and stages that Run would publish. It does not read the registry, and
// needs no key.
func Plan(ctx context.Context, o Options) ([]plan.Release, error) {
	_, _, planned, err := begin(ctx, o)
	return planned, err
}

// selected plans the stages that the options select.
func (r *run) selected(ctx context.Context, files fs.FS) ([]plan.Release, error) {
	pipelines, err := r.Usable(r.Workspace.Pipelines(files, r.Files))
	if err != nil {
		return nil, err
	}
	planned, err := r.planOf(ctx, files, pipelines, r.Stages)
	if err != nil || r.Since == "" {
		return planned, err
	}
	before, err := r.before(ctx, planned)
	if err != nil {
		return nil, err
	}
	var changed []plan.Release
	for _, p := range planned {
		p.Stages = slices.DeleteFunc(p.Stages, func(s plan.Stage) bool {
			return s.Err == nil && before[plan.KeyOf(s.Stage)] == s.InputDigest()
		})
		if p.Err != nil || len(p.Stages) > 0 {
			changed = append(changed, p)
		}
	}
	return changed, nil
}

// before returns the input digests of all stages at the commit Since. If it has no pipelines, or none that can be read,
// every stage counts as changed. Beside is the plan of what is published.
func (r *run) before(ctx context.Context, beside []plan.Release) (map[plan.Key]digest.Digest, error) {
	files, err := r.Workspace.At(ctx, r.Since)
	if err != nil {
		return nil, err
	}
	planned, err := r.plan(ctx, files, beside...)
	var selected *workspace.SelectionError
	var problems strictyaml.Problems
	if errors.As(err, &selected) || errors.As(err, &problems) {
		r.Warn(fmt.Sprintf("all stages count as changed, since at %s: %v", r.Since, err))
		return nil, nil
	}
	return plan.InputDigests(planned), err
}

// plan plans all stages that a commit's files declare.
func (r *run) plan(ctx context.Context, files fs.FS, beside ...plan.Release) ([]plan.Release, error) {
	pipelines, err := r.Workspace.Pipelines(files, r.Files)
	if err != nil {
		return nil, err
	}
	return r.planOf(ctx, files, pipelines, nil, beside...)
}

// planOf plans stages of the shard's pipelines; no names mean all. A stage of another shard is left out.
func (r *run) planOf(ctx context.Context, files fs.FS, pipelines []*pipeline.Pipeline, stages []string, beside ...plan.Release) ([]plan.Release, error) {
	if err := pipeline.CheckStages(pipelines, stages); err != nil {
		return nil, err
	}
	pipelines = r.Shard.Select(pipelines)
	own := slices.DeleteFunc(slices.Clone(stages), func(name string) bool { return pipeline.CheckStages(pipelines, []string{name}) != nil })
	if len(own) == 0 && len(stages) > 0 {
		return nil, nil
	}
	return plan.Make(ctx, plan.Request{
		Files:     files,
		Pipelines: pipelines,
		Stages:    own,
		Release:   r.Release,
		Sources:   r.Workspace.Repository.Sources(),
		Renderers: r.Renderers,
		Charts:    r.Charts,
		Beside:    beside,
	})
}

// prepare begins the results of all releases, and returns the stages of those without an error.
func (r *run) prepare(ctx context.Context, planned []plan.Release, files fs.FS) ([]Release, []*stage) {
	tip := r.tipInputs(ctx)
	trusted, trustedErr := r.ref().Files(ctx)
	releases := make([]Release, len(planned))
	var stages []*stage
	for i := range planned {
		p, into := &planned[i], &releases[i]
		into.Pipeline, into.GitOpsCommit = p.Pipeline.Name, r.head
		if into.Err = p.Err; into.Err == nil {
			into.Err = lock.CheckRecorded(files, p.Pipeline.Lock, p.Pipeline.SourceRepo, p.Lock)
		}
		var own []*stage
		for _, planned := range p.Stages {
			s := &stage{Stage: planned, run: r, release: p, into: into, tipInput: tip[plan.KeyOf(planned.Stage)]}
			if into.Err == nil && s.declared() { // all that the stage needs, before the first write
				into.Err = errors.Join(trustedErr, s.openRegistry(trusted), s.openGit(ctx))
			}
			own = append(own, s)
		}
		if into.Err == nil {
			into.Lock = p.Lock.Lock
			stages = append(stages, own...)
		}
	}
	return releases, stages
}

// tipInputs returns the input digest of each stage at the policy ref's tip, if another commit is published: a candidate
// with these inputs is never replaced.
func (r *run) tipInputs(ctx context.Context) map[plan.Key]digest.Digest {
	if r.ref().Tip() == r.head {
		return nil
	}
	files, err := r.ref().Files(ctx)
	if err == nil {
		var releases []plan.Release
		if releases, err = r.plan(ctx, files); err == nil {
			return plan.InputDigests(releases)
		}
	}
	r.Warn(fmt.Sprintf("%s has moved on, and its declarations cannot be read: %v", r.ref().Name(), err))
	return nil
}
