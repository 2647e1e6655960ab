package main

import (
	"context"
	"fmt"
	"time"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign/predicate"
)

// attestRebuilt renders the candidate of a stage again, and signs that it came out equal.
func (a *app) attestRebuilt(ctx context.Context, f attestFlags) error {
	if f.what != "" || f.predicateType != "" || f.predicate != "" || f.stage != "" || f.subject != "artifact" {
		return usagef("--rebuilt STAGE determines the statement: leave out STAGE, --stage, --subject, --type and --predicate")
	}
	if err := f.health.refuseWithout(); err != nil {
		return err
	}
	if err := f.signFlags.check(); err != nil {
		return err
	}
	t, err := a.target(ctx, f.signFlags, verify.Query{Artifact: f.rebuilt, Release: f.release})
	if err != nil {
		return err
	}
	s, err := a.signer(ctx, f.key, t, pipeline.RolePromoter, pipeline.RoleHydrator)
	if err != nil {
		return err
	}
	examined, err := t.examine(ctx)
	if err != nil {
		return err
	}
	result, err := a.rebuild(ctx, t.declaration, examined)
	if err != nil {
		return err
	}
	if err := (policy.Verdict{result.Check}).Err(); err != nil {
		return fmt.Errorf("%s is %w; nothing was signed", t.reference, err)
	}
	if t.desc.Digest != examined.Report.Digest {
		return fmt.Errorf("the candidate of stage %s was replaced meanwhile: run it again", t.declared.Stage)
	}
	a.step(result.Check.Reason)
	rebuilt := predicate.Rebuilt{
		Claim: t.claim(), GitOps: result.Commit, Except: result.Except,
		Version: version(), Renderer: result.Renderer, Time: time.Now().UTC().Truncate(time.Second),
	}
	statement, err := predicate.NewStatement(rebuilt, t.desc.Digest)
	if err != nil {
		return err
	}
	return a.attach(ctx, t, s, statement, rebuilt.StatedBy, attestResult{Action: "attested"})
}
