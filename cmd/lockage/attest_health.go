package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/health"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// healthTimeout is the default of --timeout-wait.
const healthTimeout = 5 * time.Minute

type healthFlags struct {
	health.Config
	question           health.Question
	applications, flux []string
}

func (f *healthFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.question.Stage, "health", "", "`STAGE` whose live artifact to attest the health of")
	cmd.Flags().StringArrayVar(&f.applications, "application", nil, "with --health: Argo CD's Application `NAMESPACE/NAME`; repeatable (default: those that deploy the stage)")
	cmd.Flags().StringArrayVar(&f.flux, "flux", nil, "with --health: Flux's Kustomization `NAMESPACE/NAME`; repeatable (default: those that deploy the stage)")
	cmd.Flags().StringVar((*string)(&f.question.Digest), "digest", "", "with --health: `DIGEST` that must run, one that was promoted to the stage (default: the live one)")
	cmd.Flags().StringVar(&f.Kubeconfig, "kubeconfig", "", "with --health: kubeconfig `FILE` (default: as kubectl, or the pod's service account)")
	cmd.Flags().StringVar(&f.Context, "context", "", "with --health: `NAME` of the kubeconfig's context")
	cmd.Flags().DurationVar(&f.question.Timeout, "timeout-wait", healthTimeout, "with --health: `DURATION` to wait for the cluster, unless --timeout says; 0 checks once")
}

// waitTimeout returns how long to wait for a cluster: the value of --timeout-wait, or that of --timeout if only that is given.
func (a *app) waitTimeout(cmd *cobra.Command, wait time.Duration) time.Duration {
	if a.timeout > 0 && !cmd.Flags().Changed("timeout-wait") {
		return a.timeout
	}
	return wait
}

// refuseWithout refuses flags that need --health.
func (f *healthFlags) refuseWithout() error {
	if f.Kubeconfig+f.Context+f.question.Digest.String() != "" || len(f.applications)+len(f.flux) > 0 || f.question.Timeout != healthTimeout {
		return usagef("--application, --flux, --digest, --kubeconfig, --context and --timeout-wait belong to --health STAGE")
	}
	return nil
}

// question checks the flags, and returns what to ask the cluster.
func (f *attestFlags) question() (health.Question, error) {
	q := f.health.question
	switch {
	case f.what != "" || f.predicateType != "" || f.predicate != "" || f.stage != "" || f.subject != "artifact":
		return q, usagef("--health STAGE determines the statement: leave out STAGE, --stage, --subject, --type and --predicate")
	case f.release != "":
		return q, usagef("--health attests the live release: leave --release out")
	case q.Timeout < 0:
		return q, usagef("--timeout-wait %s: want a positive duration", q.Timeout)
	case q.Digest != "" && (q.Digest.Validate() != nil || q.Digest.Algorithm() != digest.SHA256):
		return q, usagef("--digest %.100q: want sha256:<64 hex>", q.Digest)
	}
	for _, s := range f.health.applications {
		n, err := health.ParseName(s)
		if err != nil {
			return q, usagef("--application %w", err)
		}
		q.Applications = append(q.Applications, n)
	}
	for _, s := range f.health.flux {
		n, err := health.ParseName(s)
		if err != nil {
			return q, usagef("--flux %w", err)
		}
		q.Kustomizations = append(q.Kustomizations, n)
	}
	return q, f.signFlags.check()
}

func (a *app) attestHealth(ctx context.Context, f attestFlags) error {
	q, err := f.question()
	if err != nil {
		return err
	}
	f.health.UserAgent = userAgent()
	cluster, err := health.Connect(f.health.Config)
	if err != nil {
		return usageError{err}
	}
	t, since, err := a.promoted(ctx, f, q.Digest)
	if err != nil {
		return err
	}
	q.Stage = t.declared.Stage
	s, err := a.signer(ctx, f.key, t)
	if err != nil {
		return err
	}
	// The stage's own promoter may sign: a further statement by that key gives the stage no new trust.
	if !slices.Contains(s.roles, evidence.Role{Name: pipeline.RolePromoter, Stage: q.Stage}) {
		if err := s.refuse(pipeline.RolePromoter, pipeline.RoleHydrator); err != nil {
			return err
		}
	}
	q.Digest, q.Repository = t.desc.Digest, t.repository.Name()
	q.Report = func(n health.NotReady) { a.step(n.Error()) }
	sources, err := cluster.Wait(ctx, q)
	var not *health.NotReady
	switch {
	case errors.As(err, &not):
		return reported{exitNotYet, fmt.Errorf("%w; nothing was signed", err)}
	case err != nil:
		return fmt.Errorf("health of stage %s: %w", q.Stage, err)
	}
	healthy := predicate.Health{Claim: t.claim(), Sources: sources, Time: time.Now().UTC().Truncate(time.Second)}
	statement, err := predicate.NewStatement(healthy, t.desc.Digest)
	if err != nil {
		return err
	}
	result := attestResult{Action: "attested"}
	for _, source := range sources {
		result.Sources = append(result.Sources, fmt.Sprintf("%s %s/%s", source.Kind, source.Namespace, source.Name))
	}
	return a.attach(ctx, t, s, statement, func(v sign.Verified) bool { return healthy.StatedBy(v, since) }, result)
}

// promoted finds the live artifact of a stage, or an earlier one by its digest, and when it was promoted.
func (a *app) promoted(ctx context.Context, f attestFlags, d digest.Digest) (*target, time.Time, error) {
	t, err := a.seek(ctx, f.signFlags, verify.Query{Artifact: f.health.question.Stage})
	if err != nil {
		return nil, time.Time{}, err
	}
	stage, err := t.open(ctx, t.request.Pipeline, t.request.Stage)
	if err != nil {
		return nil, time.Time{}, err
	}
	found, err := promotionOf(ctx, stage, d)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s/%s: %w", t.request.Pipeline.Name, t.request.Stage, err)
	}
	// Not the stage's candidate, which may be newer.
	t.request.Reference, t.request.Release, t.request.Candidates = found.To.Digest.String(), found.To.Release, nil
	return t, found.Time, t.resolve(ctx)
}

// promotionOf returns the newest promotion of a digest; of what is live if that is "".
func promotionOf(ctx context.Context, stage live.Stage, d digest.Digest) (*live.Promotion, error) {
	state, err := live.Read(ctx, stage)
	switch {
	case err != nil:
		return nil, err
	case state.Live == nil:
		return nil, errors.New("nothing was promoted to it yet: run lockage promote first")
	case d == "" || d == state.Live.To.Digest:
		return state.Live, nil
	}
	for p, err := range live.History(ctx, stage) {
		if err != nil {
			return nil, err
		}
		if p.To.Digest == d {
			return &p, nil
		}
	}
	return nil, fmt.Errorf("%w: %s was never promoted to it", policy.ErrDenied, d)
}
