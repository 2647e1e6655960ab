package promote

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// said is what the promoter stated of an artifact already.
type said struct {
	summary, signature bool
	record             digest.Digest // "" for none
}

// saidBefore finds what a run that was not finished left behind, so that running again and again, against a Git server
// that takes no pushes say, does not fill an artifact with statements: it bears [sign.MaxBundles] of them. What says the
// same but for the time is the same. That a record is older than the commit that names it is no harm: see
// [live.Promotion.Since].
func saidBefore(statements []sign.Verified, rec predicate.Promotion, summary sign.Statement) said {
	var before said
	for _, v := range statements {
		if v.Claim() != rec.Claim {
			continue
		}
		switch v.PredicateType() {
		case sign.PredicateSignature:
			before.signature = true
		case predicate.TypeSummary:
			before.summary = before.summary || reflect.DeepEqual(timeless(v.Predicate()), timeless(summary.Predicate))
		case predicate.TypePromotion:
			if other, err := predicate.ParsePromotion(v); err == nil && reflect.DeepEqual(decision(other), decision(rec)) {
				before.record = v.Referrer()
			}
		}
	}
	return before
}

// timeless is a summary without the time of the verification.
func timeless(predicate []byte) map[string]any {
	var s map[string]any
	if err := json.Unmarshal(predicate, &s); err != nil {
		return nil
	}
	delete(s, "timeVerified")
	return s
}

// decision is a record without the time, and without what reasons say in words, which name times too.
func decision(r predicate.Promotion) predicate.Promotion {
	checks := make([]predicate.Check, len(r.Checks))
	for i, c := range r.Checks {
		checks[i] = predicate.Check{Name: c.Name, Result: c.Result, Evidence: c.Evidence}
	}
	r.Checks, r.Time = checks, time.Time{}
	return r
}
