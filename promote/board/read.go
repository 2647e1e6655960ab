package board

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/stagediff"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
)

const (
	// concurrency bounds the stages that are read at the same time: most of that is waiting for servers.
	concurrency = 32
	// maxPromotions bounds the promotions of a stage that are shown, the newest ones.
	maxPromotions = 10
	// maxChanges bounds the stages whose live objects are compared with those of the candidate.
	maxChanges = 200
)

// Reader reads what explains the status of stages.
type Reader struct {
	publish.Environment                      // of a dry run
	Policy              *workspace.Policy    // the policy ref
	Declared            fs.FS                // at its tip
	Pipelines           []*pipeline.Pipeline // that are declared there
}

// Read completes a board. What cannot be read of a stage is shown there, and does not fail the run.
func (r Reader) Read(ctx context.Context, b *Board) error {
	var all []*declared
	for _, p := range b.Pipelines {
		i := slices.IndexFunc(r.Pipelines, func(d *pipeline.Pipeline) bool { return d.Name == p.Name })
		if i < 0 {
			continue
		}
		current, err := r.Pipelines[i].CurrentLock(r.Declared)
		if err != nil {
			continue // status says it
		}
		for _, s := range p.Stages {
			d := &declared{Stage: s}
			if d.as, err = r.Pipelines[i].Expand(s.Name, current.Lock, r.Declared); err == nil {
				all = append(all, d)
			}
		}
	}
	if err := r.judge(ctx, all); err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(concurrency)
	for _, d := range all {
		group.Go(func() error {
			r.prove(ctx, d)
			return nil
		})
	}
	_ = group.Wait() // the stages hold the errors
	r.compare(ctx, all)
	for _, p := range b.Pipelines {
		r.releases(p)
	}
	return ctx.Err()
}

// declared is a stage as the policy ref declares it.
type declared struct {
	*Stage
	as pipeline.Expanded
}

func (d *declared) problem(err error) {
	if err != nil {
		d.problems = append(d.problems, err.Error())
	}
}

// judge asks what promote would do now.
func (r Reader) judge(ctx context.Context, all []*declared) error {
	o := promote.Options{Environment: r.Environment}
	o.DryRun = true
	stages := map[string]*declared{}
	for _, d := range all {
		if name := d.as.Pipeline + "/" + d.Name; live.Promotes(d.as) {
			o.Stages, stages[name] = append(o.Stages, name), d
		}
	}
	if len(o.Stages) == 0 {
		return nil
	}
	results, err := promote.Promote(ctx, o)
	for _, result := range results {
		if d := stages[result.Pipeline+"/"+result.Stage]; d != nil {
			d.verdict = &result
			d.behind, d.due = behind(result), due(result, d.as.Gates)
		}
	}
	return err
}

// behind reports whether a release that verifies did not pass the stages before: its other gates are of no interest yet.
func behind(r promote.Result) bool {
	return r.Checks.Result() == policy.Pass && slices.ContainsFunc(r.Gates, func(g policy.GateResult) bool {
		return g.Gate == policy.GateOrder && (g.Result == policy.Fail || g.Result == policy.Pending)
	})
}

// due reports whether what a verdict denies, people and the clock may still satisfy.
func due(r promote.Result, declared []pipeline.Gate) bool {
	gates := slices.Clone(r.Gates)
	for i := range gates {
		if gates[i].Result == policy.Pending {
			gates[i].Result = policy.Pass // it denies nothing
		}
	}
	return r.Checks.Result() == policy.Pass && len(gates) > 0 && policy.Due(gates, declared)
}

// prove reads the newest promotions of a stage, and what is signed about their artifacts and the candidate.
func (r Reader) prove(ctx context.Context, d *declared) {
	d.made = map[digest.Digest]proof{}
	var keys []verify.Keys
	for name := range d.as.Identities {
		if k, err := verify.KeysOf(r.Declared, d.as, name); err == nil {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b verify.Keys) int { return strings.Compare(a.Identity, b.Identity) })
	if c := d.Candidate; c != nil && c.Digest != "" {
		bundles, err := r.entry(ctx, d)
		d.problem(err)
		d.made[c.Digest] = proven(keys, c.Digest, bundles)
	}
	if !live.Promotes(d.as) {
		return
	}
	s, err := live.Open(ctx, r.Declared, r.Policy, d.as, r.Client, r.Workspace.Repository)
	if err != nil {
		d.problem(err)
		return
	}
	var promotions []live.Promotion
	for p, err := range live.History(ctx, s) {
		if err != nil {
			if d.Error == "" {
				d.problem(err)
			}
			break
		}
		promotions = append(promotions, p)
		if len(promotions) >= maxPromotions && !p.Continues() {
			break
		}
	}
	starts := live.Starts(promotions, r.Now())
	for i, p := range promotions[:min(len(promotions), maxPromotions)] {
		d.promotions = append(d.promotions, promotion{p, starts[i]})
		if _, known := d.made[p.To.Digest]; p.To.Digest != "" && (i == 0 || !known) {
			d.made[p.To.Digest] = proven(keys, p.To.Digest, p.Statements.Bundles)
		}
	}
}

// entry returns what the ledger has about the candidate of a stage.
func (r Reader) entry(ctx context.Context, d *declared) ([]sign.Bundle, error) {
	e, err := verify.EntryOf(ctx, d.as, r.Workspace.Repository, d.Candidate.Release)
	return e.Bundles, err
}

// proven returns what identities signed about an artifact.
func proven(keys []verify.Keys, artifact digest.Digest, bundles []sign.Bundle) proof {
	var p proof
	counted := map[digest.Digest]bool{}
	for _, k := range keys {
		verified, _ := k.Verify(artifact, bundles)
		for _, v := range verified {
			counted[v.Bundle().Digest()] = true
			p.Statements = append(p.Statements, statement{v.PredicateType(), v.Identity(), v.KeyFingerprint(), v.Former()})
			if made, err := v.Provenance(); err == nil && k.Identity == pipeline.RoleHydrator {
				p.Provenance = &made
			}
		}
	}
	for _, b := range bundles {
		if !counted[b.Digest()] {
			p.Uncounted++
		}
	}
	return p
}

// changing returns the stages whose candidate is not live, up to a limit; others say that they are not compared.
func changing(all []*declared, limit int) (some []*declared) {
	for _, d := range all {
		c := d.Candidate
		switch {
		case c == nil || c.Digest == "" || d.Live != nil && d.Live.Digest == c.Digest:
		case len(some) < limit:
			some = append(some, d)
		default:
			of := d.as.Pipeline + "/" + d.Name
			d.change = &stagediff.Change{Pipeline: d.as.Pipeline, Stage: d.Name,
				Uncompared: fmt.Sprintf("the board compares %d stages; lockage diff live:%s candidate:%s shows this one", limit, of, of)}
		}
	}
	return some
}

// compare finds what the promotion of each candidate would change.
func (r Reader) compare(ctx context.Context, all []*declared) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, d := range changing(all, maxChanges) {
		c := d.Candidate
		group.Go(func() error {
			repository, err := r.Client.Repository(d.as.Repository)
			if err != nil {
				d.problem(err)
				return nil
			}
			side := func(a *Artifact, label string) *stagediff.Version {
				v := &stagediff.Version{Pipeline: d.as.Pipeline, Stage: d.Name}
				if a != nil {
					v.Label = label + " " + cut(a.Release)
					v.Files = func(ctx context.Context) (fs.FS, error) { return repository.ReadTree(ctx, a.Digest.String()) }
				}
				return v
			}
			changes, err := stagediff.Compare(ctx, []stagediff.Comparison{{Before: side(d.Live, "live"), After: side(c, "candidate")}}, diff.Options{})
			d.problem(err)
			if len(changes) == 1 {
				d.change = &changes[0]
			}
			return nil
		})
	}
	_ = group.Wait() // the stages hold the errors
}

// releases lists the releases of a pipeline that its stages have or had, the newest locks first.
func (r Reader) releases(p *Pipeline) {
	i := slices.IndexFunc(r.Pipelines, func(d *pipeline.Pipeline) bool { return d.Name == p.Name })
	known := map[string]bool{}
	for _, s := range p.Stages {
		for _, a := range s.artifacts() {
			if known[a.Release] {
				continue
			}
			known[a.Release] = true
			of := &release{ID: a.Release}
			if i >= 0 {
				if f, err := r.Pipelines[i].LockOf(r.Declared, a.Release); err == nil {
					l := f.Lock
					of.Lock = &l
				} else if !errors.Is(err, fs.ErrNotExist) {
					s.problems = append(s.problems, err.Error())
				}
			}
			p.releases = append(p.releases, of)
		}
	}
	slices.SortStableFunc(p.releases, func(a, b *release) int { return b.created().Compare(a.created()) })
}

func (r *release) created() time.Time {
	if r.Lock == nil {
		return time.Time{}
	}
	return r.Lock.Created()
}
