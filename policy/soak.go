package policy

import (
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/sign/predicate"
)

// run is a time during which one content was live without a break, under however many releases and digests.
type run struct {
	spans []Span
	from  time.Time
	until time.Time // now, where it still is
	live  bool
}

// runs joins the spans that follow on each other with equal content. Whatever else was live in between, for however
// short a time, ends a run, and so does time in which nothing was.
func runs(spans []Span, now time.Time) []run {
	var all []run
	for i, s := range spans {
		live := s.Until.IsZero() && i == len(spans)-1
		until := s.Until
		switch {
		case until.IsZero() && !live: // it ended when the next began
			until = spans[i+1].From
		case until.IsZero() || until.After(now):
			until = now
		}
		if n := len(all); n > 0 {
			last := spans[i-1]
			if last.Content == s.Content && s.Content != "" && !s.From.After(all[n-1].until) {
				all[n-1].spans = append(all[n-1].spans, s)
				all[n-1].until, all[n-1].live = until, live
				continue
			}
		}
		all = append(all, run{spans: []Span{s}, from: s.From, until: until, live: live})
	}
	return all
}

func (r run) content() digest.Digest { return r.spans[0].Content }

func (r run) of(release string) bool {
	return slices.ContainsFunc(r.spans, func(s Span) bool { return s.Release == release })
}

// claimed says whose word the times are.
func (r run) claimed() string {
	if slices.ContainsFunc(r.spans, func(s Span) bool { return s.Claimed }) {
		return ", as the promoter's clock had it"
	}
	return ""
}

// soak asks that this release's content was live in a stage for a time without a break. Any such time counts, also one
// that has ended; times of several stays do not add up. Where the release was hydrated anew, the content that was live
// there last is its content: the time of what it was before says nothing about that.
func (f Facts) soak(g pipeline.Soak) GateResult {
	if f.Unchanged {
		return carriedOver()
	}
	want, err := time.ParseDuration(g.For)
	if err != nil || want <= 0 {
		return fail("for: %q is no duration above zero", plain(g.For))
	}
	var result GateResult
	var content digest.Digest
	for _, r := range slices.Backward(runs(f.Live[g.Stage], f.Now)) { // what the newest says is told, unless an older one passes
		if !r.of(f.Release) || result.Result != "" && (content == "" || r.content() != content) {
			continue
		}
		judged := f.soaked(g, want, r)
		if judged.Result == Pass {
			return judged
		}
		if result.Result == "" {
			result, content = judged, r.content()
		}
	}
	if result.Result == "" {
		return fail("%s was never live in %s: promote it there, where it has to stay for %s", f.Release, g.Stage, span(want))
	}
	return result
}

func (f Facts) soaked(g pipeline.Soak, want time.Duration, r run) GateResult {
	start, since, evidence := r.from, "live in "+g.Stage+" since "+at(r.from), []string(nil)
	if g.Healthy {
		names := g.By
		if len(names) == 0 {
			names = []string{pipeline.RolePromoter}
		}
		h, ok := f.healthy(g.Stage, f.signers(names, g.Stage), r)
		if !ok {
			missing := "nobody trusted attested since then that it is healthy: it takes a health attestation by " + f.signers(names, g.Stage).String() +
				", and " + span(want) + " from then on"
			if r.live {
				return pending(time.Time{}, "%s%s, and %s", since, r.claimed(), missing)
			}
			return fail("was live in %s from %s to %s%s, and %s", g.Stage, at(r.from), at(r.until), r.claimed(), missing)
		}
		start, since, evidence = h.time, "healthy in "+g.Stage+" since "+at(h.time)+", as "+h.by+" states", []string{h.evidence}
	}
	stayed := max(r.until.Sub(start), 0)
	switch {
	case stayed >= want:
		result := pass("%s: %s of %s%s", since, span(stayed), span(want), r.claimed())
		result.Evidence = evidence
		return result
	case r.live:
		result := pending(start.Add(want), "%s: %s of %s%s", since, span(stayed), span(want), r.claimed())
		result.Evidence = evidence
		return result
	}
	return fail("was %s, and was replaced at %s: %s of %s%s; promote it there again, where its time begins anew",
		since, at(r.until), span(stayed), span(want), r.claimed())
}

type health struct {
	time     time.Time // that it names, the signer's word
	by       string
	evidence string
}

// healthy finds the first health attestation of a run: about an artifact of the run, at a time when that was live.
func (f Facts) healthy(stage string, trusted signers, r run) (health, bool) {
	var first health
	for _, v := range f.Health[stage] {
		name, ok := trusted.trusts(v.KeyFingerprint())
		if !ok {
			continue
		}
		h, err := predicate.Parse[predicate.Health](v)
		if err != nil || h.Pipeline != f.Pipeline || h.Stage != stage || h.Time.After(f.Now.Add(maxSkew)) || !r.held(v.Digest(), h.Release, h.Time) {
			continue
		}
		if first.by == "" || h.Time.Before(first.time) {
			first = health{h.Time, by(name, v.KeyFingerprint()), v.Referrer().String()}
		}
	}
	return first, first.by != ""
}

// held tells whether an artifact was live at a time of the run.
func (r run) held(d digest.Digest, release string, t time.Time) bool {
	for i, s := range r.spans {
		end := r.until
		if i+1 < len(r.spans) {
			end = r.spans[i+1].From
		} else if r.live {
			end = t // it has not ended
		}
		if s.Digest == d && s.Release == release && !t.Before(s.From) && !t.After(end) {
			return true
		}
	}
	return false
}
