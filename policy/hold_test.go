package policy_test

import (
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign/predicate"
)

// TestHold holds that what soaks is held as long as the soak of the later stage runs, by the same count.
func TestHold(t *testing.T) {
	t.Parallel()
	h := time.Hour
	plain, healthy := policy.Soak{Stage: "test", For: "2h"}, policy.Soak{Stage: "test", For: "2h", Healthy: true}
	span := func(release string, content digest.Digest, from, until time.Duration) policy.Span {
		s := policy.Span{Artifact: predicate.Artifact{Release: release, Digests: oci.Digests{Digest: inTest, Content: content}}, From: ago(from)}
		if until != 0 {
			s.Until = ago(until)
		}
		return s
	}
	for name, c := range map[string]struct {
		gate   policy.Soak
		spans  []policy.Span
		health time.Duration // ago; 0 for none
		until  time.Duration // from now; 0 for what is not held
	}{
		"soaks":                            {gate: plain, spans: []policy.Span{span(release, contentA, h, 0)}, until: h},
		"has soaked":                       {gate: plain, spans: []policy.Span{span(release, contentA, 2*h, 0)}},
		"equal content before":             {gate: plain, spans: []policy.Span{span(older, contentA, 3*h, h), span(release, contentA, h, 0)}},
		"equal content, with a gap":        {gate: plain, spans: []policy.Span{span(older, contentA, 3*h, h+h/2), span(release, contentA, h, 0)}, until: h},
		"soaked before, and came back":     {gate: plain, spans: []policy.Span{span(release, contentA, 9*h, 5*h), span(older, contentB, 5*h, h), span(release, contentA, h, 0)}},
		"healthy since later":              {gate: healthy, spans: []policy.Span{span(release, contentA, 3*h, 0)}, health: h, until: h},
		"healthy long enough":              {gate: healthy, spans: []policy.Span{span(release, contentA, 3*h, 0)}, health: 2 * h},
		"not attested yet":                 {gate: healthy, spans: []policy.Span{span(release, contentA, h, 0)}, until: h},
		"never attested in the time of it": {gate: healthy, spans: []policy.Span{span(release, contentA, 3*h, 0)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newGateScene(t)
			d.f.Live["test"] = c.spans
			if c.health != 0 {
				a := predicate.Health{Time: ago(c.health)}
				a.Pipeline, a.Stage, a.Release = "app", "test", release
				d.f.Health["test"] = append(d.f.Health["test"], d.verified("test/promoter", inTest, predicate.TypeHealth, a, nil))
			}
			gates := []pipeline.Gate{gate(t, "soak", policy.Soak{Stage: "qa", For: "9h"}), gate(t, "soak", c.gate)}
			r, held := policy.Hold("test", "production", gates, d.f)
			if held != (c.until != 0) {
				t.Fatalf("held is %v: %+v", held, r)
			}
			if !held {
				return
			}
			expect(t, r, policy.Pending, release+" soaks in test for production until 2026-03-24T13:00:00Z")
			if r.Gate != policy.GateHold || !r.RetryAfter.Equal(now.Add(c.until)) {
				t.Errorf("%s until %s", r.Gate, r.RetryAfter)
			}
		})
	}
}

// TestStarts holds that every span has the start of the run that soak counts.
func TestStarts(t *testing.T) {
	t.Parallel()
	spans := []policy.Span{
		{Artifact: predicate.Artifact{Digests: oci.Digests{Content: contentA}}, From: ago(9 * time.Hour), Until: ago(8 * time.Hour)},
		{Artifact: predicate.Artifact{Digests: oci.Digests{Content: contentB}}, From: ago(8 * time.Hour), Until: ago(5 * time.Hour)},
		{Artifact: predicate.Artifact{Digests: oci.Digests{Content: contentB}}, From: ago(5 * time.Hour), Until: ago(4 * time.Hour)},
		{Artifact: predicate.Artifact{Digests: oci.Digests{Content: contentB}}, From: ago(4 * time.Hour)},
	}
	starts := policy.Starts(spans, now)
	if len(starts) != 4 || !starts[0].Equal(ago(9*time.Hour)) || !starts[1].Equal(starts[3]) || !starts[3].Equal(ago(8*time.Hour)) {
		t.Errorf("starts are %v", starts)
	}
	if policy.Starts(nil, now) != nil {
		t.Error("nothing has a start")
	}
}
