package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/idtoken"
	"github.com/lockage/lockage/sign/predicate"
)

type attestResult struct {
	Pipeline  string        `json:"pipeline"`
	Stage     string        `json:"stage"`
	Release   string        `json:"release"`
	Reference string        `json:"reference"`
	Digest    digest.Digest `json:"digest"`
	Action    string        `json:"action"` // approved, waived, attested or unchanged
	Type      string        `json:"type"`   // of the predicate
	Gate      string        `json:"gate,omitempty"`
	Expires   *time.Time    `json:"expires,omitempty"`
	Statement digest.Digest `json:"statement"`          // digest of the manifest that attaches it
	Identity  []string      `json:"identity,omitempty"` // names of the key in the pipeline file
	Key       string        `json:"key,omitempty"`      // its fingerprint
	Issuer    string        `json:"issuer,omitempty"`   // without a key: who vouched for the subject
	Subject   string        `json:"subject,omitempty"`
	Sources   []string      `json:"sources,omitempty"` // of health: the resources that were read
}

func (r attestResult) Text(w io.Writer) {
	fmt.Fprintf(w, "%s/%s: %s %s\n", r.Pipeline, r.Stage, r.Action, r.Release)
	fmt.Fprintf(w, "  digest     %s\n", r.Digest)
	if r.Gate != "" {
		fmt.Fprintf(w, "  gate       %s, until %s\n", r.Gate, r.Expires.Format(time.RFC3339))
	}
	for _, s := range r.Sources {
		fmt.Fprintf(w, "  healthy    %s\n", s)
	}
	fmt.Fprintf(w, "  statement  %s\n", r.Statement)
	if names := strings.Join(r.Identity, ", "); r.Subject != "" {
		fmt.Fprintf(w, "  signed by  %s\n  subject    %s\n  issuer     %s\n", cmp.Or(names, "nobody whom the pipeline names"), r.Subject, r.Issuer)
	} else if names != "" {
		fmt.Fprintf(w, "  signed by  %s\n", names)
	}
}

// signFlags are the flags that approve and attest share.
type signFlags struct {
	key, pipeline, release string
	signsIn                func() bool // whether it can be signed without a key
}

func (a *app) signFlags(cmd *cobra.Command, f *signFlags) {
	f.signsIn = a.signsIn
	cmd.Flags().StringVar(&f.key, "key", "", "`KEY` to sign with: a file, or env://NAME (default: none, by the job's token or a login at the terminal)")
	releaseFlag(cmd, &f.release, "release", "release of the artifact, an `ID` git-<4 to 40 hex>[-<hex>] (default: the current one)")
	cmd.Flags().StringVar(&f.pipeline, "pipeline", "", "`NAME` of the pipeline, if several have the stage")
	a.policyFlag(cmd)
}

func (f *signFlags) check() error {
	if f.key == "" && !f.signsIn() {
		return usagef("--key is missing: name the key to sign with, a file or env://NAME; without one, run it at a terminal to log in, or with a token in %s", idtoken.Variable)
	}
	return nil
}

type approveFlags struct {
	signFlags
	stage, comment, expires string
	waiver                  predicate.Waiver
}

func newApproveCommand(a *app) *cobra.Command {
	var f approveFlags
	cmd := &cobra.Command{
		Use:   "approve STAGE [--key KEY]",
		Short: "Approve a release for a stage, or waive one of its gates",
		Long: `Approve signs that the candidate of a release may be promoted to a stage, and attaches the statement to the artifact, where
the stage's approval gates find it. It verifies the artifact first, and approves none that fails. An approval counts for the
digest that the candidate has now, and for no later one.

With --waive it signs that one gate need not pass for this artifact until the waiver expires. A waiver counts if the stage's
waivers name the key's identity, and only while the gate is declared as it is now. All output about the gate shows it.

Without --key it signs without one: as whom the token of the CI job names, or, at a terminal, as the person who logs in at the issuer
of the pipeline's Sigstore instance.

The key must not be a promoter's: clusters accept anything signed with that key as a promotion.`,
		Example: `  lockage approve production
  lockage approve production --key ~/.lockage/sre.key --comment "load test passed"
  lockage approve production --key env://SRE_KEY --release git-3f5c0e0a8f4b7f2d9c6f1f0f0c7f4a6d1c2b3a49
  lockage approve production --key ~/.lockage/sre.key --waive soak --reason "incident 4711" --expires 2h`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.stage = args[0]
			return a.approve(cmd.Context(), f, time.Now())
		},
	}
	a.signFlags(cmd, &f.signFlags)
	cmd.Flags().StringVar(&f.comment, "comment", "", "`TEXT` to record in the approval")
	cmd.Flags().StringVar(&f.waiver.Gate, "waive", "", "`GATE` to waive, by its name in verdicts, such as soak or attestation#2")
	cmd.Flags().StringVar(&f.waiver.Reason, "reason", "", "with --waive: the reason, a `TEXT`")
	cmd.Flags().StringVar(&f.expires, "expires", "", "with --waive: end of the waiver, a `TIME` in RFC 3339 or a duration such as 4h")
	cmd.Flags().StringVar(&f.waiver.Approver, "approver", "", "with --waive: `NAME` of the person who waives (default: the key's identity)")
	return cmd
}

// maxText bounds each free text in a statement, in bytes.
const maxText = 4 << 10

// check validates the flags, and computes when a waiver expires.
func (f *approveFlags) check(now time.Time) error {
	w := &f.waiver
	if err := f.signFlags.check(); err != nil {
		return err
	}
	switch {
	case w.Gate == "" && w.Reason+f.expires+w.Approver != "":
		return usagef("--reason, --expires and --approver belong to --waive GATE")
	case w.Gate == "" && len(f.comment) > maxText:
		return usagef("--comment: at most %d bytes", maxText)
	case w.Gate == "":
		return nil
	case f.comment != "":
		return usagef("--comment belongs to an approval; a waiver has --reason")
	case strings.TrimSpace(w.Reason) == "":
		return usagef("--waive %s: give the reason with --reason", w.Gate)
	case f.expires == "":
		return usagef("--waive %s: give its end with --expires, such as 4h", w.Gate)
	case len(w.Reason) > maxText, len(w.Approver) > maxText:
		return usagef("--reason and --approver: at most %d bytes", maxText)
	}
	if d, err := time.ParseDuration(f.expires); err == nil {
		w.Expires = now.Add(d)
	} else if w.Expires, err = time.Parse(time.RFC3339, f.expires); err != nil {
		return usagef("--expires %q is neither a duration such as 4h nor an RFC 3339 time", f.expires)
	}
	w.Expires = w.Expires.UTC().Truncate(time.Second)
	switch shown := w.Expires.Format(time.RFC3339); {
	case !w.Expires.After(now):
		return usagef("--expires %s has passed", shown)
	case w.Expires.Sub(now) > policy.MaxWaiver:
		return usagef("--expires %s: a waiver holds for at most %s; for longer, change the gate in the pipeline file", shown, policy.MaxWaiver)
	}
	return nil
}

func (a *app) approve(ctx context.Context, f approveFlags, now time.Time) error {
	if err := f.check(now); err != nil {
		return err
	}
	t, err := a.target(ctx, f.signFlags, verify.Query{Artifact: f.stage, Release: f.release})
	if err != nil {
		return err
	}
	waiver := f.waiver
	if waiver.Gate != "" {
		if waiver.GateDigest, err = t.gate(waiver.Gate); err != nil {
			return err
		}
	}
	s, err := a.signer(ctx, f.key, t, pipeline.RolePromoter)
	if err != nil {
		return err
	}
	if err := t.verify(ctx); err != nil {
		return err
	}
	hold, err := t.hold(ctx)
	if err != nil {
		return err
	}
	now = now.UTC().Truncate(time.Millisecond) // what is given again right after a rollback is another statement
	if waiver.Gate == "" {
		a.warnUnneeded(t, s)
		approval := predicate.Approval{Claim: t.claim(), Comment: f.comment, Time: now}
		statement, err := predicate.NewStatement(approval, t.desc.Digest)
		if err != nil {
			return err
		}
		return a.attach(ctx, t, s, statement, func(v sign.Verified) bool { return approval.StatedBy(v, hold) }, attestResult{Action: "approved"})
	}
	if !intersect(s.names, t.declared.Waivers.By) {
		a.warn("the key belongs to no identity that may waive gates of stage %s (%s): the waiver does not count now; it will from when waivers.by names one, until it expires",
			t.declared.Stage, orNobody(t.declared.Waivers.By))
	}
	waiver.Claim, waiver.Time = t.claim(), now
	waiver.Approver = cmp.Or(waiver.Approver, strings.Join(s.names, ", "))
	statement, err := predicate.NewStatement(waiver, t.desc.Digest)
	if err != nil {
		return err
	}
	return a.attach(ctx, t, s, statement, func(v sign.Verified) bool { return waiver.StatedBy(v, hold) }, attestResult{Action: "waived", Gate: waiver.Gate, Expires: &waiver.Expires})
}

// attach signs a statement and attaches it, unless the artifact has the same one. It completes the result and emits it.
func (a *app) attach(ctx context.Context, t *target, s signer, statement sign.Statement, same func(sign.Verified) bool, result attestResult) error {
	bundle, attached, err := predicate.Attach(ctx, t.repository, t.desc, s.key, statement, same)
	if err != nil {
		return err
	}
	if !attached {
		result.Action = "unchanged"
	}
	result.Pipeline, result.Stage, result.Release = t.declared.Pipeline, t.declared.Stage, t.lock.ReleaseID
	result.Reference, result.Digest = t.reference, t.desc.Digest
	result.Type, result.Statement = statement.PredicateType, bundle.Digest()
	result.Identity = s.names
	if by := s.key.Identity().Author(); by.Issuer != "" {
		result.Issuer, result.Subject = by.Issuer, by.Subject
	} else {
		result.Key = by.Fingerprint()
	}
	a.emit(list[attestResult]{result})
	a.next("lockage promote " + result.Pipeline + "/" + result.Stage + a.fileFlags())
	return nil
}

// hold returns what the stage holds of the artifact: what people gave before does not let it return, and they can give it again. It is
// zero for an artifact that is not held.
func (t *target) hold(ctx context.Context) (hold predicate.Hold, err error) {
	if !live.Promotes(t.declared) {
		return hold, nil
	}
	s, err := t.open(ctx, t.request.Pipeline, t.request.Stage)
	if err != nil {
		return hold, err
	}
	state, err := live.Read(ctx, s)
	hold, _ = state.Holds().Of(t.lock.ReleaseID, t.desc.Digest)
	return hold, err
}

// warnUnneeded warns of an approval that no gate waits for.
func (a *app) warnUnneeded(t *target, s signer) {
	var trusted []string
	for _, g := range t.declared.Gates {
		if g.Kind == policy.KindApproval || g.Kind == policy.KindReview {
			trusted = append(trusted, g.Condition.Signers().Names...)
		}
	}
	switch {
	case len(trusted) == 0:
		a.warn("stage %s has no approval gate: the approval does not count now; it will from when one names the key's identity", t.declared.Stage)
	case !intersect(s.names, trusted):
		a.warn("the key belongs to no identity whose approval stage %s asks for (%s): the approval does not count now; it will from when the gate names one", t.declared.Stage, orNobody(trusted))
	}
}

func intersect(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

func orNobody(names []string) string { return cmp.Or(strings.Join(names, ", "), "nobody") }
