package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
)

// GateOrder is the name of the gate that every stage with an `after` has.
const GateOrder = "order"

// Passage is what the verified records of a stage say of one release. At most one of Was and RolledBack is set: the
// newest record of the release there decides.
type Passage struct {
	Stage      string
	Was        bool      // it was live there
	Is         bool      // and is now
	RolledBack bool      // its newest record there is a rollback away from it
	Since      time.Time // of that record
	Record     digest.Digest
	// Otherwise says why it does not count that the release was live there: it had other content than the candidate's GitOps
	// commit gives it in that stage. It is "" if the release counts, or never was there.
	Otherwise string
	Unknown   bool // nobody hydrated it there since what it was made from changed
}

// OrderDigest is what a waiver of the order names as the gate's declaration.
func OrderDigest(after pipeline.After) digest.Digest {
	declared, err := json.Marshal(after)
	if err != nil {
		panic(err) // a list of strings and a bool
	}
	return digest.FromBytes(declared)
}

// WaiveOrder is the order's result, unless enough of those who may do so waived it.
func WaiveOrder(g GateResult, after pipeline.After, who pipeline.Waivers, f Facts) GateResult {
	return f.waive(g, OrderDigest(after), who)
}

// Order judges whether a release was live in the stages that come before: in any of them, or in all. Passages are by
// stage.
func Order(after pipeline.After, passages map[string]Passage) GateResult {
	g := GateResult{Gate: GateOrder, Result: Pass}
	var reasons, missing, unknown []string
	for _, stage := range after.Stages {
		p := passages[stage]
		since := p.Since.UTC().Format(time.RFC3339)
		switch {
		case p.Unknown:
			unknown = append(unknown, stage)
		case !p.Is && !p.Was:
			missing = append(missing, stage)
		}
		switch {
		case p.RolledBack:
			reasons = append(reasons, fmt.Sprintf("it was rolled back in %s at %s", stage, since))
		case p.Otherwise != "":
			reasons = append(reasons, p.Otherwise)
		case p.Is:
			reasons = append(reasons, fmt.Sprintf("live in %s since %s", stage, since))
		case p.Was:
			reasons = append(reasons, fmt.Sprintf("live in %s from %s on, before others", stage, since))
		default:
			reasons = append(reasons, "it was never live in "+stage)
		}
		if p.Record != "" {
			g.Evidence = append(g.Evidence, p.Record)
		}
	}
	lacking := len(missing) + len(unknown)
	switch {
	case len(after.Stages) == 0:
		g.Reason = "no stage comes before"
		return g
	case lacking < len(after.Stages) && (!after.All || lacking == 0):
		g.Reason = strings.Join(reasons, "; ")
		return g
	case len(unknown) > 0 && (!after.All || len(missing) == 0):
		g.Result = Pending
	default:
		g.Result = Fail
	}
	if len(missing) > 0 {
		reasons = append(reasons, "promote it there first: "+strings.Join(missing, map[bool]string{true: " and ", false: " or "}[after.All]))
	}
	g.Reason = strings.Join(reasons, "; ")
	return g
}
