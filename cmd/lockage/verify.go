package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/helm"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/sides"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/publish/rebuild"
	"github.com/lockage/lockage/sign"
)

type verifyResults []verify.Report

func (rs verifyResults) Text(w io.Writer) {
	for _, r := range rs {
		fmt.Fprintf(w, "%s: %s\n", r.Reference, r.Result)
		if r.Digest != "" {
			fmt.Fprintf(w, "  digest %s\n", r.Digest)
		}
		for _, as := range r.As {
			fmt.Fprintf(w, "  %s\n", as)
		}
		table(w, func(w io.Writer) {
			for _, c := range r.Checks {
				fmt.Fprintf(w, "  %s\t%s\t%s\n", c.Result, c.Check, c.Reason)
			}
		})
	}
}

// verifyFlags select what is verified, and how.
type verifyFlags struct {
	verify.Query
	identities []string
	rebuild    bool
	complete   string
}

func newVerifyCommand(a *app) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify STAGE|REFERENCE|DIGEST|branch:NAME|live:STAGE | verify --complete COMMIT",
		Short: "Verify where an artifact comes from",
		Long: `Verify proves that the hydrator signed an artifact for this pipeline, stage and release, that it was made from the locked
commit and image under a GitOps commit on the policy ref, and that it is unaltered. Pipelines, locks and keys are read
from the policy ref, whatever is checked out. If the pipeline has a mirror, the newest commit of the stage branch that
names the artifact must have exactly its files; verify lists the files that differ.

STAGE, or candidate:STAGE, means its candidate of the current release. REFERENCE is REPOSITORY:TAG or REPOSITORY@DIGEST.
branch:NAME means what a stage branch shows at its head, for all stages that share it or for the one in --stage.
live:STAGE means what is live, which the live ref must show bit for bit, whatever the stage branch shows.
DIGEST, sha256:<12 to 64 hex>, means the artifact of that digest, or all artifacts of releases with that image, in every stage that
has it as its candidate or had it live. What was live verifies by what its promotion recorded, and under the name that the
stage had then.

For STAGE, live:STAGE and the stage's own tag, REPOSITORY:STAGE, the tag must name the artifact that was promoted last,
according to the promoter's record on the live ref. With --identity NAME, that identity of the pipeline file must have
signed the artifact too: --identity promoter checks that it was promoted.

With --rebuild, the artifact is rendered again from its provenance alone (GitOps commit, pipeline file, lock, source commit),
and must be equal byte for byte. Fields that hold generated keys are excepted, and named.

With --complete COMMIT, verify proves that every stage of the pipelines at a GitOps commit was hydrated, on whichever machine,
and names those that are missing. It reads the ledger alone, and renders nothing.`,
		Example: `  lockage verify production
  lockage verify production --rebuild
  lockage verify live:production
  lockage verify branch:stage/production
  lockage verify ghcr.io/acme/shop-manifests:production --identity promoter
  lockage verify sha256:60ab… -f 'apps/*/lockage.yaml'
  lockage verify --complete "$COMMIT" -f 'apps/*/lockage.yaml' --shard 2/8`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.Artifact = args[0]
			}
			if f.complete != "" {
				return a.verifyComplete(cmd.Context(), f)
			}
			return a.verify(cmd.Context(), f)
		},
	}
	releaseFlag(cmd, &f.Release, "release", "required release, an `ID` git-<4 to 40 hex>[-<hex>]")
	cmd.Flags().StringVar(&f.Stage, "stage", "", "required `STAGE` of a REFERENCE or branch")
	cmd.Flags().StringArrayVar(&f.identities, "identity", nil, "`NAME` of an identity that must have signed it; repeatable")
	cmd.Flags().BoolVar(&f.rebuild, "rebuild", false, "render it again from its provenance, and compare all bytes")
	cmd.Flags().StringVar(&f.complete, "complete", "", "`COMMIT` of the policy ref, all of whose stages must have been hydrated")
	a.shardFlag(cmd, "with --complete: ")
	a.policyFlag(cmd)
	return cmd
}

func (a *app) verify(ctx context.Context, f verifyFlags) error {
	switch {
	case f.Artifact == "":
		return usagef("name a STAGE, REFERENCE, DIGEST, branch:NAME or live:STAGE, or use --complete COMMIT")
	case a.shard != "":
		return usagef("--shard belongs to --complete COMMIT")
	}
	d, err := a.declared(ctx)
	if err != nil {
		return err
	}
	subjects, err := d.subjects(ctx, f.Query)
	if err != nil {
		return err
	}
	results := verifyResults{}
	var errs []error
	for _, s := range subjects {
		s.Request = d.complete(s.Request)
		s.Identities = f.identities
		s.Former = func(ctx context.Context, artifact digest.Digest) ([]sign.Claim, error) {
			return d.former(ctx, s.Request, artifact)
		}
		report, err := a.examine(ctx, d, s, f.rebuild)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		results = append(results, report)
		if err := report.Checks.Err(); err != nil {
			errs = append(errs, unverified(report, err))
		}
	}
	a.emit(results)
	return errors.Join(errs...)
}

// examine verifies a subject and, if asked for, renders it again.
func (a *app) examine(ctx context.Context, d declaration, s subject, again bool) (verify.Report, error) {
	examined, err := verify.Examine(ctx, s.Request)
	if err != nil {
		return examined.Report, err
	}
	report := examined.Report
	report.As = s.as
	if s.live != nil {
		report.Checks = append(report.Checks, *s.live)
	}
	if again {
		result, err := a.rebuild(ctx, d, examined)
		if err != nil {
			return report, err
		}
		report.Checks = append(report.Checks, result.Check)
	}
	report.Result = report.Checks.Result()
	return report, nil
}

// rebuild renders an artifact again.
func (a *app) rebuild(ctx context.Context, d declaration, e verify.Examined) (rebuild.Result, error) {
	renderers, err := a.renderers()
	if err != nil {
		return rebuild.Result{}, err
	}
	r := rebuild.Rebuilder{Commits: d.policyRef, Sources: d.workspace.Repository.Sources(), Charts: helm.Charts{Archives: a.chartFetcher()}, Renderers: renderers, Version: version()}
	return r.Rebuild(ctx, e)
}

// verifyComplete verifies that all stages of a GitOps commit were hydrated.
func (a *app) verifyComplete(ctx context.Context, f verifyFlags) error {
	if f.Artifact != "" || f.Stage != "" || f.Release != "" || f.rebuild || len(f.identities) > 0 {
		return usagef("--complete COMMIT is about all stages of that commit: leave out STAGE, --stage, --release, --rebuild and --identity")
	}
	o := publish.Options{At: f.complete}
	var err error
	if o.Environment, err = a.environment(ctx, true); err != nil {
		return err
	}
	reports, err := publish.Complete(ctx, o)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range reports {
		if err := r.Checks.Err(); err != nil {
			errs = append(errs, unverified(r, err))
		}
	}
	a.emit(verifyResults(reports))
	return errors.Join(errs...)
}

// unverified is the error of a report whose checks do not all pass. It names them; the report has the reasons.
func unverified(r verify.Report, err error) error {
	var names []string
	for _, c := range r.Checks {
		if c.Result != policy.Pass {
			names = append(names, c.Check)
		}
	}
	outcome := "denied"
	if errors.Is(err, policy.ErrPending) {
		outcome = "not yet"
	}
	return beside{fmt.Errorf("%s is %w", r.Reference, err), r.Reference, outcome + " (" + strings.Join(names, ", ") + ")"}
}

// subject is an artifact to verify.
type subject struct {
	verify.Request
	live *policy.Check // of its stage's state; nil if the query does not ask for it
	as   []string      // what a digest is, if the query names only that
}

// subjects finds the artifacts that a query names.
func (d declaration) subjects(ctx context.Context, q verify.Query) ([]subject, error) {
	if bare, err := isDigest(q.Artifact); err != nil {
		return nil, err
	} else if bare {
		return d.having(ctx, digest.Digest(q.Artifact), q)
	}
	stage, isLive := strings.CutPrefix(q.Artifact, sides.LivePrefix)
	if isLive {
		if err := d.checkStages([]string{stage}); err != nil { // what follows live: is not a reference
			return nil, err
		}
		q.Artifact = stage
	}
	var requests []verify.Request
	var err error
	if branch, ok := strings.CutPrefix(q.Artifact, sides.BranchPrefix); ok {
		requests, err = verify.FindBranch(ctx, branch, q.Stage, d.pipelines, d.files, d.client, d.workspace.Repository)
	} else {
		requests, err = verify.Find(ctx, q, d.pipelines, d.files, d.client, d.workspace.Repository)
	}
	if err != nil {
		return nil, err
	}
	var subjects []subject
	for _, r := range requests {
		if r.Candidates == nil && r.Reference != r.Stage { // neither STAGE, live:STAGE nor REPOSITORY:STAGE
			subjects = append(subjects, subject{Request: r})
			continue
		}
		declared, _, err := d.expand(r.Pipeline, r.Stage)
		if err != nil {
			return nil, err
		}
		check, state, err := d.judgeLive(ctx, declared, r.Repository.Name())
		switch {
		case err != nil:
			return nil, err
		case isLive && state.Live == nil:
			reason := "nothing was promoted yet"
			if check != nil {
				reason = check.Reason
			}
			return nil, fmt.Errorf("what is live in stage %s of pipeline %s is %w: %s", r.Stage, r.Pipeline.Name, policy.ErrDenied, reason)
		case isLive:
			at := declared.LiveRef()
			r.Candidates = nil
			r.Reference, r.Live = state.Live.To.Digest.String(), ledger.Place{Branch: at.Branch, Path: at.Path}
			if q.Release == "" {
				r.Release = state.Live.To.Release
			}
		}
		r.WithoutMirror = state.Live != nil && r.Candidates == nil // the stage branch shows candidates
		subjects = append(subjects, subject{Request: r, live: check})
	}
	return subjects, nil
}

// judgeLive reads what is live in a declared stage, and checks whether its tag agrees in a repository: the stage's, or one with a copy. The
// check is nil if nothing is live.
func (d declaration) judgeLive(ctx context.Context, declared pipeline.Expanded, repository string) (*policy.Check, live.State, error) {
	if !live.Promotes(declared) {
		return nil, live.State{}, nil
	}
	s, err := live.Open(ctx, d.files, d.policyRef, declared, d.client, d.workspace.Repository)
	if err == nil {
		s.Artifacts, err = d.client.Repository(repository)
	}
	if err != nil {
		return nil, live.State{}, err
	}
	check := policy.Check{Check: "live", Result: policy.Fail}
	state, err := live.Read(ctx, s)
	if errors.Is(err, live.ErrBroken) {
		check.Reason = err.Error()
		return &check, state, nil
	}
	ok, reason := state.Consistent(declared)
	if err != nil || ok && state.Live == nil {
		return nil, state, err
	}
	if repository != declared.Repository && state.Live != nil && state.Drift() {
		reason = fmt.Sprintf("the tag of the copy names %s, and %s (%s) is live: `lockage copy live:%s %s` brings it there",
			cmp.Or(state.Tag, "nothing"), state.Live.To.Digest, state.Live.To.Release, declared.Argument, repository)
	}
	if check.Reason = reason; ok {
		check.Result = policy.Pass
	}
	return &check, state, nil
}
