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

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/strictyaml"
)

// Shard is one of several equal parts of the pipelines, for runs on several machines. The zero value is all pipelines.
type Shard struct {
	Number, Of int // from 1 to Of
}

// ParseShard reads K/N.
func ParseShard(s string) (Shard, error) {
	k, n, _ := strings.Cut(s, "/")
	number, err := strconv.Atoi(k)
	of, err2 := strconv.Atoi(n)
	if err != nil || err2 != nil || number < 1 || number > of {
		return Shard{}, fmt.Errorf("invalid shard %q: write K/N, with K from 1 to N", s)
	}
	return Shard{number, of}, nil
}

// of returns the shard's pipelines: every Of-th in the order of their names. The shards of one commit together have each
// pipeline once.
func (s Shard) of(pipelines []*pipeline.Pipeline) []*pipeline.Pipeline {
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

// Plan returns the releases and stages that Run would publish. It reads neither the registry nor the policy ref, and needs
// no key.
func Plan(ctx context.Context, o Options) ([]plan.Release, error) {
	r := newRun(o)
	files, err := o.Workspace.Files(ctx)
	if err != nil {
		return nil, err
	}
	return r.selected(ctx, files)
}

// selected plans the stages that the options select.
func (r *run) selected(ctx context.Context, files fs.FS) ([]plan.Release, error) {
	planned, err := r.plan(ctx, files, r.Stages)
	if err != nil || r.Since == "" {
		return planned, err
	}
	before, err := r.before(ctx)
	if err != nil {
		return nil, err
	}
	var changed []plan.Release
	for _, p := range planned {
		p.Stages = slices.DeleteFunc(p.Stages, func(s plan.Stage) bool {
			return before[plan.KeyOf(s.Stage)] == s.InputDigest()
		})
		if p.Err != nil || len(p.Stages) > 0 {
			changed = append(changed, p)
		}
	}
	return changed, nil
}

// before returns the input digests of all stages at the commit Since. If it has no pipelines, or none that can be read,
// every stage counts as changed.
func (r *run) before(ctx context.Context) (map[plan.Key]digest.Digest, error) {
	files, err := r.Workspace.At(ctx, r.Since)
	if err != nil {
		return nil, err
	}
	planned, err := r.plan(ctx, files, nil)
	var selected *workspace.SelectionError
	var problems strictyaml.Problems
	if errors.As(err, &selected) || errors.As(err, &problems) {
		r.Warn(fmt.Sprintf("all stages count as changed, since at %s: %v", r.Since, err))
		return nil, nil
	}
	return plan.InputDigests(planned), err
}
