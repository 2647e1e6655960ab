package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/health"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// healthTimeout is how long attest --health waits for a cluster, unless --timeout-wait says otherwise.
const healthTimeout = 5 * time.Minute

// healthFlags belong to attest --health.
type healthFlags struct {
	stage, digest, kubeconfig, context string
	applications, flux                 []string
	timeout                            time.Duration
}

func (f *healthFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.stage, "health", "", "attest the health of what is live in this `STAGE`")
	cmd.Flags().StringArrayVar(&f.applications, "application", nil, "with --health: Argo CD's Application, `NAMESPACE/NAME`; repeatable (default: those that deploy the stage)")
	cmd.Flags().StringArrayVar(&f.flux, "flux", nil, "with --health: Flux's Kustomization, `NAMESPACE/NAME`; repeatable (default: those that deploy the stage)")
	cmd.Flags().StringVar(&f.digest, "digest", "", "with --health: this `DIGEST` must run, one that was promoted to the stage (default: what is live)")
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "with --health: the `FILE` that says how to reach the cluster (default: as kubectl, or the pod's own)")
	cmd.Flags().StringVar(&f.context, "context", "", "with --health: the kubeconfig's context of this `NAME`")
	cmd.Flags().DurationVar(&f.timeout, "timeout-wait", healthTimeout, "with --health: wait this `DURATION` for the cluster; 0 looks once")
}

// refuseWithout refuses flags that mean nothing without --health.
func (f *healthFlags) refuseWithout() error {
	if f.digest+f.kubeconfig+f.context != "" || len(f.applications)+len(f.flux) > 0 || f.timeout != healthTimeout {
		return usagef("--application, --flux, --digest, --kubeconfig, --context and --timeout-wait belong to --health STAGE")
	}
	return nil
}

// question checks the flags, and is what they ask of the cluster.
func (f *attestFlags) question() (health.Question, error) {
	q := health.Question{Stage: f.health.stage, Digest: digest.Digest(f.health.digest), Timeout: f.health.timeout}
	switch {
	case f.what != "" || f.predicateType != "" || f.predicate != "" || f.stage != "" || f.subject != "artifact":
		return q, usagef("--health STAGE says what is attested: leave out STAGE, --stage, --subject, --type and --predicate")
	case f.release != "":
		return q, usagef("--health attests what is live, of whichever release: leave --release out")
	case f.health.timeout < 0:
		return q, usagef("--timeout-wait %s: want a positive duration", f.health.timeout)
	}
	if q.Digest != "" && (q.Digest.Validate() != nil || q.Digest.Algorithm() != digest.SHA256) {
		return q, usagef("--digest %.100q: want sha256:<64 hex>", f.health.digest)
	}
	for flag, names := range map[string][]string{"--application": f.health.applications, "--flux": f.health.flux} {
		for _, s := range names {
			n, err := health.ParseName(s)
			if err != nil {
				return q, usagef("%s %w", flag, err)
			}
			if flag == "--flux" {
				q.Kustomizations = append(q.Kustomizations, n)
			} else {
				q.Applications = append(q.Applications, n)
			}
		}
	}
	return q, f.signFlags.check()
}

func (a *app) attestHealth(ctx context.Context, f attestFlags) error {
	q, err := f.question()
	if err != nil {
		return err
	}
	cluster, err := health.Connect(health.Config{
		Kubeconfig: f.health.kubeconfig, Context: f.health.context, UserAgent: "lockage/" + version(),
	})
	if err != nil {
		return usageError{err}
	}
	t, since, err := a.promoted(ctx, f, q.Digest)
	if err != nil {
		return err
	}
	s, err := a.signer(ctx, f.key, t)
	if err != nil {
		return err
	}
	// What the stage's own promoter has signed for it says nothing new to those who trust that key.
	if !slices.Contains(s.roles, evidence.Role{Name: evidence.RolePromoter, Stage: q.Stage}) {
		if err := s.refuse(evidence.RolePromoter, evidence.RoleHydrator); err != nil {
			return err
		}
	}
	q.Digest, q.Repository = t.desc.Digest, t.repository.Name()
	q.Report = func(n health.NotReady) { a.step("%s", n.Error()) }
	sources, err := cluster.Wait(ctx, q)
	var not *health.NotReady
	switch {
	case errors.As(err, &not):
		return reported{exitNotYet, fmt.Errorf("%w; nothing was signed", err)}
	case err != nil:
		return fmt.Errorf("health of stage %s: %w", q.Stage, err)
	}
	result := t.result(s)
	healthy := predicate.Health{Claim: t.claim(), Sources: sources, Time: time.Now().UTC().Truncate(time.Second)}
	statement, err := predicate.NewStatement(healthy, t.desc.Digest)
	if err != nil {
		return err
	}
	result.Action = "attested"
	for _, source := range sources {
		result.Sources = append(result.Sources, fmt.Sprintf("%s %s/%s", source.Kind, source.Namespace, source.Name))
	}
	return a.attach(ctx, t, s, statement, func(v sign.Verified) bool { return healthy.StatedBy(v, since) }, result)
}

// promoted finds the artifact that is live in a stage, or the one of a digest that was, and since when.
func (a *app) promoted(ctx context.Context, f attestFlags, d digest.Digest) (*target, time.Time, error) {
	t, err := a.seek(ctx, f.signFlags, verify.Query{Artifact: f.health.stage})
	if err != nil {
		return nil, time.Time{}, err
	}
	p, files := t.request.Pipeline, t.request.Files
	current, err := lock.Current(files, p.Lock)
	if err != nil {
		return nil, time.Time{}, err
	}
	declared, err := p.Expand(t.request.Stage, current.Lock, files)
	if err != nil {
		return nil, time.Time{}, err
	}
	stage, err := live.Open(ctx, files, declared, t.client, t.request.Remotes)
	if err != nil {
		return nil, time.Time{}, err
	}
	found, err := promotionOf(ctx, stage, d)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s/%s: %w", p.Name, t.request.Stage, err)
	}
	t.request.Reference, t.request.Release = found.To.Digest.String(), found.To.Release
	return t, found.Time, t.resolve(ctx)
}

// promotionOf is the newest promotion of a digest; of what is live where that is "".
func promotionOf(ctx context.Context, stage live.Stage, d digest.Digest) (*live.Promotion, error) {
	state, err := live.Read(ctx, stage)
	switch {
	case err != nil:
		return nil, err
	case state.Live == nil:
		return nil, errors.New("nothing was promoted to it yet; run `lockage promote` first")
	case d == "" || d == state.Live.To.Digest:
		return state.Live, nil
	}
	var found *live.Promotion
	err = live.History(ctx, stage, func(p live.Promotion) (bool, error) {
		if p.To.Digest == d {
			found = &p
		}
		return found == nil, nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("%w: %s was never promoted to it", policy.ErrDenied, d)
	}
	return found, err
}
