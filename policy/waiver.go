package policy

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// MaxWaiver is the longest time from a waiver's time to its expiry. What is to hold for longer is policy, and belongs
// into the pipeline file.
const MaxWaiver = 30 * 24 * time.Hour

// waive turns the result of a gate that did not pass into Waived where enough of those who may do so signed a waiver for
// exactly this gate, as it is declared now, of this artifact. Whatever else claims to be a waiver of the gate is named,
// and does not count.
func (f Facts) waive(r GateResult, gate digest.Digest, who pipeline.Waivers) GateResult {
	trusted, want := f.signers(who.By, ""), atLeast(who.Count)
	var counted tally
	var notes remarks
	for _, v := range f.Artifact.Statements {
		if v.PredicateType() != predicate.TypeWaiver {
			continue
		}
		w, err := predicate.Parse[predicate.Waiver](v)
		if err != nil || w.Gate != r.Gate {
			continue
		}
		name, ok := trusted.trusts(v.Author())
		if !ok {
			notes.add("a waiver by %s does not count: %s", signer(v), mayWaive(who))
			continue
		}
		if err := f.waives(v, w, gate); err != nil {
			notes.add("a waiver by %s does not count: %s", by(name, v.Author()), plain(err.Error()))
			continue
		}
		shown := fmt.Sprintf("%s for %s until %s: «%s»", by(name, v.Author()), plain(w.Approver), at(w.Expires), plain(w.Reason))
		counted.add(v.KeyFingerprint(), shown, v.Bundle().Digest())
	}
	switch {
	case counted.count() == 0:
	case r.Result == Pass:
		notes.add("the waiver by %s is not needed", counted.String())
	case counted.count() < want:
		notes.add("waived by %d of %d: %s", counted.count(), want, counted.String())
	default:
		r = GateResult{
			Gate:     r.Gate,
			Result:   Waived,
			Reason:   "waived by " + counted.String() + "; without that: " + r.Reason,
			Evidence: append(r.Evidence, counted.evidence...),
		}
	}
	r.Reason += notes.String()
	return r
}

func mayWaive(who pipeline.Waivers) string {
	if len(who.By) == 0 {
		return "this stage declares nobody who may waive gates"
	}
	return "only " + signers{names: who.By}.String() + " may waive gates of this stage"
}

// waives returns why a waiver by somebody who may sign one does not hold.
func (f Facts) waives(v sign.Verified, w predicate.Waiver, gate digest.Digest) error {
	made, longest := earliest(v, w.Time), MaxWaiver
	if made.Before(w.Time) { // its signer's clock is ahead
		longest += maxSkew
	}
	if err := cmp.Or(f.meant(v, w.Claim), f.again(v, made)); err != nil {
		return err
	}
	switch {
	case w.GateDigest != gate:
		return errors.New("the gate was changed since")
	case w.Expires.IsZero() || w.Time.IsZero():
		return errors.New("it does not say when it was made and when it expires")
	case !w.Expires.After(f.Now):
		return fmt.Errorf("it expired at %s", at(w.Expires))
	case w.Time.After(f.Now.Add(maxSkew)):
		return fmt.Errorf("it says that it was made at %s, which is yet to come", at(w.Time))
	case w.Expires.Sub(made) > longest:
		return fmt.Errorf("it holds for longer than %d days", MaxWaiver/(24*time.Hour))
	case w.Reason == "":
		return errors.New("it gives no reason")
	}
	return nil
}
