package policy

import (
	"fmt"
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

// Starts returns for each span, which are the oldest first, since when its content is live without a break: the time that soak
// counts from.
func Starts(spans []Span, now time.Time) []time.Time {
	var starts []time.Time
	for _, r := range runs(spans, now) {
		starts = append(starts, slices.Repeat([]time.Time{r.from}, len(r.spans))...)
	}
	return starts
}

func (r run) content() digest.Digest { return r.spans[0].Content }

func (r run) of(release string) bool {
	return slices.ContainsFunc(r.spans, func(s Span) bool { return s.Release == release && s.Otherwise == "" })
}

// inherited describes the part of the run that is of other releases with the same content; "" for none.
func (r run) inherited(release string) string {
	first := r.spans[0]
	i := slices.IndexFunc(r.spans, func(s Span) bool { return s.Release == release })
	if i <= 0 || first.Release == release {
		return ""
	}
	return fmt.Sprintf(" (until %s as %s, with the same content: its time carries over)", at(r.spans[i].From), first.Release)
}

// claimed says whose word the times are.
func (r run) claimed() string {
	if slices.ContainsFunc(r.spans, func(s Span) bool { return s.Claimed }) {
		return ", as the promoter's clock had it"
	}
	return ""
}

// Soak is the declaration of a gate that asks that the content was live in another stage.
type Soak struct {
	Stage   string `yaml:"stage,required" json:"stage,omitempty" jsonschema:"required" jsonschema_description:"The other stage."`
	For     string `yaml:"for,required" json:"for,omitempty" jsonschema:"required" jsonschema_description:"A duration such as 2h or 90m."`
	Healthy bool   `yaml:"healthy" json:"healthy,omitempty" jsonschema_description:"Whether it must have been attested healthy: the time then counts from the first health attestation."`
	// By is empty for the promoter of the other stage.
	By []string `yaml:"by" json:"by,omitempty" jsonschema:"minItems=1" jsonschema_description:"Whose health attestations count. Default: the other stage's promoter."`
}

// soak asks that this release's content was live in a stage for a time without a break. Any such time counts, also one
// that has ended; times of several stays do not add up. Where the release was hydrated anew, the content that was live
// there last is its content: the time of what it was before says nothing about that.
type soak struct {
	stage   string
	want    time.Duration
	healthy bool
	by      []string
}

func parseSoak(declared Soak, d *pipeline.Declaration) pipeline.Condition {
	d.Stage(declared.Stage, "stage")
	d.Signers(declared.By, nil)
	if declared.By != nil && !declared.Healthy {
		d.Report("by", "it says whose health attestations count: write healthy: true beside it")
	}
	by := declared.By
	if len(by) == 0 {
		by = []string{pipeline.RolePromoter}
	}
	return soak{declared.Stage, d.Duration("for"), declared.Healthy, by}
}

func (g soak) Signers() pipeline.Signers { return pipeline.Signers{Names: g.by} }

func (g soak) Need(n *Needs) {
	n.Spans = append(n.Spans, g.stage)
	if g.healthy {
		n.Health = append(n.Health, g.stage)
	}
}

func (g soak) Judge(f Facts) GateResult {
	if f.Unchanged {
		return carriedOver()
	}
	var result GateResult
	var content digest.Digest
	for _, r := range slices.Backward(runs(f.Live[g.stage], f.Now)) { // the newest one's result, unless an older one passes
		if !r.of(f.Release) || result.Result != "" && (content == "" || r.content() != content) {
			continue
		}
		judged := g.judge(f, r)
		if judged.Result == Pass {
			return judged
		}
		if result.Result == "" {
			result, content = judged, r.content()
		}
	}
	if result.Result != "" {
		return result
	}
	for _, s := range slices.Backward(f.Live[g.stage]) {
		if s.Release == f.Release {
			return fail("%s: promote it there, where it has to stay for %s", s.Otherwise, span(g.want))
		}
	}
	return fail("%s was never live in %s: promote it there, where it has to stay for %s", f.Release, g.stage, span(g.want))
}

func (g soak) judge(f Facts, r run) GateResult {
	start, since, evidence := r.from, "live in "+g.stage+" since "+at(r.from)+r.inherited(f.Release), []digest.Digest(nil)
	if g.healthy {
		trusted := f.signers(g.by, g.stage)
		h, ok := f.healthy(g.stage, trusted, r)
		switch {
		case !ok && r.live:
			return pending(time.Time{}, "%s%s; waiting for a health attestation by %s: the soak of %s starts when it arrives", since, r.claimed(), trusted, span(g.want))
		case !ok:
			return fail("was live in %s from %s to %s%s without a health attestation by %s: promote it there again, and attest its health",
				g.stage, at(r.from), at(r.until), r.claimed(), trusted)
		}
		start, since, evidence = h.time, "healthy in "+g.stage+" since "+at(h.time)+", as "+h.by+" states", []digest.Digest{h.evidence}
	}
	stayed := max(r.until.Sub(start), 0)
	var result GateResult
	switch {
	case stayed >= g.want:
		result = pass("%s: %s of %s%s", since, span(stayed), span(g.want), r.claimed())
	case r.live:
		result = pending(start.Add(g.want), "%s: %s of %s%s", since, span(stayed), span(g.want), r.claimed())
	default:
		return fail("was %s, and was replaced at %s: %s of %s%s; promote it there again, where its time begins anew",
			since, at(r.until), span(stayed), span(g.want), r.claimed())
	}
	result.Evidence = evidence
	return result
}

type health struct {
	time     time.Time // of its timestamp, or else that it names, the signer's word
	by       string
	evidence digest.Digest
}

// healthy finds the first health attestation of a run: about an artifact of the run, at a time when that was live.
func (f Facts) healthy(stage string, trusted signers, r run) (health, bool) {
	var first health
	for _, v := range f.Health[stage] {
		name, ok := trusted.trusts(v.Author())
		if !ok {
			continue
		}
		h, err := predicate.Parse[predicate.Health](v)
		if err != nil {
			continue
		}
		when, _ := signedAt(v, h.Time)
		made := earliest(v, h.Time).Add(maxSkew) // its signer's clock may be behind
		if when.Before(made) {
			made = when
		}
		if h.Pipeline != f.Pipeline || h.Stage != stage || h.Time.After(f.Now.Add(maxSkew)) ||
			!r.held(v.Digest(), h.Release, when) || !r.held(v.Digest(), h.Release, made) {
			continue
		}
		if first.by == "" || when.Before(first.time) {
			first = health{when, by(name, v.Author()), v.Bundle().Digest()}
		}
	}
	return first, first.by != ""
}

// held reports whether an artifact was live at a time of the run.
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
