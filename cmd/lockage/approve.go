package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

type attestResults []attestResult

type attestResult struct {
	Pipeline  string     `json:"pipeline"`
	Stage     string     `json:"stage"`
	Release   string     `json:"release"`
	Reference string     `json:"reference"`
	Digest    string     `json:"digest"`
	Action    string     `json:"action"` // approved, waived, attested or unchanged
	Type      string     `json:"type"`   // of the predicate
	Gate      string     `json:"gate,omitempty"`
	Expires   *time.Time `json:"expires,omitempty"`
	Statement string     `json:"statement"`          // digest of the manifest that attaches it
	Identity  []string   `json:"identity,omitempty"` // names under which the pipeline declares the key
	Key       string     `json:"key"`                // its fingerprint
	Sources   []string   `json:"sources,omitempty"`  // of health: what was looked at
}

func (rs attestResults) Text(w io.Writer) {
	for _, r := range rs {
		fmt.Fprintf(w, "%s/%s: %s %s\n", r.Pipeline, r.Stage, r.Action, r.Release)
		fmt.Fprintf(w, "  digest     %s\n", r.Digest)
		if r.Gate != "" {
			fmt.Fprintf(w, "  gate       %s, until %s\n", r.Gate, r.Expires.Format(time.RFC3339))
		}
		for _, s := range r.Sources {
			fmt.Fprintf(w, "  healthy    %s\n", s)
		}
		fmt.Fprintf(w, "  statement  %s\n", r.Statement)
		if len(r.Identity) > 0 {
			fmt.Fprintf(w, "  signed by  %s\n", strings.Join(r.Identity, ", "))
		}
	}
}

// signFlags are what approve and attest have in common.
type signFlags struct {
	key, release, pipeline, policy string
}

func (f *signFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.key, "key", "", "sign with this `KEY`: a file, or env://NAME")
	cmd.Flags().StringVar(&f.release, "release", "", "of this `RELEASE`, git-<40 hex> (default: the current one)")
	cmd.Flags().StringVar(&f.pipeline, "pipeline", "", "of the pipeline of this `NAME`")
	cmd.Flags().StringVar(&f.policy, "policy", "", "the trusted branch, `REMOTE@REF` (default: the remote's default branch)")
}

func (f *signFlags) check() error {
	if f.key == "" {
		return usagef("--key is missing: name the key to sign with, a file or env://NAME")
	}
	return checkRelease("--release", f.release)
}

type approveFlags struct {
	signFlags
	stage, comment                   string
	waive, reason, expires, approver string
}

func newApproveCommand(a *app) *cobra.Command {
	var f approveFlags
	cmd := &cobra.Command{
		Use:   "approve STAGE --key KEY",
		Short: "Approve a release for a stage, or waive one of its gates",
		Long: `Approve signs that the candidate of a release may be promoted to a stage, and attaches that to its artifact, where the
stage's approval gates look for it. The artifact is verified first: what does not verify is not approved. An approval
counts for the digest that the candidate has now, and for no later one.

With --waive it signs instead that one gate need not pass for this artifact until it expires. It counts where the stage's
waivers name the key's identity, and as long as the gate is declared as it is now. Waivers are shown wherever the gate is.

The key must not be a promoter's: clusters take anything signed with that key for a promotion.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.stage = args[0]
			return a.approve(cmd.Context(), f, time.Now())
		},
		ValidArgsFunction: completeStages(a),
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.comment, "comment", "", "a `TEXT` that stands in the approval")
	cmd.Flags().StringVar(&f.waive, "waive", "", "waive this `GATE`, by its name in verdicts, such as soak or attestation#2")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why the gate is waived, a `TEXT`")
	cmd.Flags().StringVar(&f.expires, "expires", "", "until when the waiver holds: a `DURATION` such as 4h, or an RFC 3339 time")
	cmd.Flags().StringVar(&f.approver, "approver", "", "`NAME` of who waives (default: the key's identity)")
	return cmd
}

// maxText bounds what people write into statements, in bytes.
const maxText = 4 << 10

// check refuses what needs no look at anything, and returns when a waiver expires.
func (f *approveFlags) check(now time.Time) (expires time.Time, err error) {
	if err := f.signFlags.check(); err != nil {
		return expires, err
	}
	if f.waive == "" {
		if f.reason != "" || f.expires != "" || f.approver != "" {
			return expires, usagef("--reason, --expires and --approver belong to --waive GATE")
		}
		if len(f.comment) > maxText {
			return expires, usagef("--comment: at most %d bytes", maxText)
		}
		return expires, nil
	}
	switch {
	case f.comment != "":
		return expires, usagef("--comment belongs to an approval; a waiver has --reason")
	case strings.TrimSpace(f.reason) == "":
		return expires, usagef("--waive %s: say why with --reason", f.waive)
	case f.expires == "":
		return expires, usagef("--waive %s: say until when with --expires, such as 4h", f.waive)
	case len(f.reason) > maxText, len(f.approver) > maxText:
		return expires, usagef("--reason and --approver: at most %d bytes", maxText)
	}
	if d, perr := time.ParseDuration(f.expires); perr == nil {
		expires = now.Add(d)
	} else if expires, err = time.Parse(time.RFC3339, f.expires); err != nil {
		return expires, usagef("--expires %q is neither a duration such as 4h nor an RFC 3339 time", f.expires)
	}
	expires = expires.UTC().Truncate(time.Second)
	if !expires.After(now) {
		return expires, usagef("--expires %s has passed", expires.Format(time.RFC3339))
	}
	if expires.Sub(now) > policy.MaxWaiver {
		return expires, usagef("--expires %s: a waiver holds for at most %s; what is to hold for longer belongs into the pipeline file",
			expires.Format(time.RFC3339), policy.MaxWaiver)
	}
	return expires, nil
}

func (a *app) approve(ctx context.Context, f approveFlags, now time.Time) error {
	expires, err := f.check(now)
	if err != nil {
		return err
	}
	t, err := a.target(ctx, f.signFlags, verify.Query{Artifact: f.stage, Release: f.release})
	if err != nil {
		return err
	}
	gate, err := t.gate(f.waive)
	if err != nil {
		return err
	}
	s, err := a.signer(ctx, f.key, t)
	if err != nil {
		return err
	}
	if err := s.refuse(evidence.RolePromoter); err != nil {
		return err
	}
	if err := t.verify(ctx); err != nil {
		return err
	}
	result := t.result(s)
	now = now.UTC().Truncate(time.Second)
	var statement sign.Statement
	var stands func(sign.Verified) bool
	if f.waive == "" {
		a.warnUnasked(t, s)
		approval := predicate.Approval{Claim: t.claim(), Comment: f.comment, Time: now}
		result.Action, stands = "approved", approval.StatedBy
		statement, err = predicate.NewStatement(approval, t.desc.Digest)
	} else {
		if !intersect(s.names, t.declared.Waivers.By) {
			a.warn("the key is none of the identities that may waive gates of stage %s (%s): the waiver will change nothing",
				result.Stage, orNobody(t.declared.Waivers.By))
		}
		waiver := predicate.Waiver{
			Claim: t.claim(), Gate: f.waive, GateDigest: gate, Reason: f.reason, Approver: f.approver, Expires: expires, Time: now,
		}
		if waiver.Approver == "" {
			waiver.Approver = strings.Join(s.names, ", ")
		}
		result.Action, result.Gate, result.Expires, stands = "waived", f.waive, &expires, waiver.StatedBy
		statement, err = predicate.NewStatement(waiver, t.desc.Digest)
	}
	if err != nil {
		return err
	}
	return a.attach(ctx, t, s, statement, stands, result)
}

// attach signs, attaches and tells.
func (a *app) attach(ctx context.Context, t *target, s signer, statement sign.Statement, stands func(sign.Verified) bool, result attestResult) error {
	referrer, attached, err := predicate.Attach(ctx, t.repository, t.desc, s.key, statement, stands)
	if err != nil {
		return err
	}
	result.Type, result.Statement = statement.PredicateType, referrer.String()
	if !attached {
		result.Action = "unchanged"
	}
	a.emit(attestResults{result})
	return nil
}

// warnUnasked tells of an approval that no gate waits for.
func (a *app) warnUnasked(t *target, s signer) {
	var trusted []string
	for _, g := range t.declared.Gates {
		if g.Approval != nil {
			trusted = append(trusted, g.Approval.By...)
		}
	}
	switch {
	case len(trusted) == 0:
		a.warn("stage %s has no approval gate: nothing asks for this approval", t.declared.Stage)
	case !intersect(s.names, trusted):
		a.warn("the key is none of the identities whose approval stage %s asks for (%s): it will not count", t.declared.Stage, orNobody(trusted))
	}
}

func intersect(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

func orNobody(names []string) string { return cmp.Or(strings.Join(names, ", "), "nobody") }
func orNone(names []string) string   { return cmp.Or(strings.Join(names, ", "), "none") }
