package policy

import (
	"time"

	"github.com/lockage/lockage/hydrate/pipeline"
)

// GateHold is the name of the gate that keeps a release that soaks where it is: it delays promote --ready only.
const GateHold = "hold"

// Hold judges whether the release that is live in a stage stays there because a later stage's soak of it is running, by the
// facts about the release in that later stage. A soak that waits for a health attestation holds the release as long as it would
// have to stay if it had been attested at once. ok is false where no gate holds the release.
func Hold(stage, later string, gates []pipeline.Gate, f Facts) (result GateResult, ok bool) {
	for _, g := range gates {
		s, isSoak := g.Condition.(soak)
		if !isSoak || s.stage != stage {
			continue
		}
		r := s.Judge(f)
		if r.Result != Pending {
			continue
		}
		if r.RetryAfter == nil {
			stays := runs(f.Live[stage], f.Now)
			until := stays[len(stays)-1].from.Add(s.want)
			if !f.Now.Before(until) {
				continue
			}
			r.RetryAfter = &until
		}
		result = pending(*r.RetryAfter, "%s soaks in %s for %s until %s; promote by name to replace it before",
			f.Release, stage, later, r.RetryAfter.UTC().Format(time.RFC3339))
		result.Gate = GateHold
		return result, true
	}
	return GateResult{}, false
}
