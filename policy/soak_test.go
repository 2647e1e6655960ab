package policy_test

import (
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

const (
	contentA = digest.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111")
	contentB = digest.Digest("sha256:2222222222222222222222222222222222222222222222222222222222222222")
)

func TestSoak(t *testing.T) {
	t.Parallel()
	// live is one stay; until 0 is one that lasts.
	live := func(release string, content digest.Digest, from, until time.Duration) policy.Span {
		s := policy.Span{Artifact: predicate.Artifact{Release: release, Digests: oci.Digests{Digest: digest.FromString(release + content.String()), Content: content}}, From: ago(from), Claimed: true}
		if until != 0 {
			s.Until = ago(until)
		}
		return s
	}
	otherwise := func(s policy.Span) policy.Span {
		s.Otherwise = "it had other content"
		return s
	}
	h, m := time.Hour, time.Minute
	for name, c := range map[string]struct {
		spans  []policy.Span
		want   policy.Result
		reason string
		retry  time.Duration // from now
	}{
		"long enough":          {[]policy.Span{live(release, contentA, 2*h, 0)}, policy.Pass, "2h of 2h, as the promoter's clock had it", 0},
		"running":              {[]policy.Span{live(release, contentA, 90*m, 0)}, policy.Pending, "1h30m of 2h", 30 * m},
		"one second short":     {[]policy.Span{live(release, contentA, 2*h-time.Second, 0)}, policy.Pending, "", time.Second},
		"shown in seconds":     {[]policy.Span{live(release, contentA, 6160370536, 0)}, policy.Pending, ": 6.1s of 2h", 2*h - 6160370536},
		"never":                {nil, policy.Fail, "was never live in test", 0},
		"only another release": {[]policy.Span{live(older, contentA, 9*h, 0)}, policy.Fail, "was never live in test", 0},
		"cut short": {[]policy.Span{live(release, contentA, 3*h, 3*h-40*m), live(older, contentB, 3*h-40*m, 0)},
			policy.Fail, "was replaced at 2026-03-24 09:40:00 UTC: 40m of 2h", 0},
		"completed in the past": {[]policy.Span{live(release, contentA, 9*h, 5*h), live(older, contentB, 5*h, 0)}, policy.Pass, "4h of 2h", 0},
		"faked by promoting again": {[]policy.Span{live(release, contentA, 9*h, 8*h), live(older, contentB, 8*h, 90*m), live(release, contentA, 90*m, 0)},
			policy.Pending, "1h30m of 2h", 30 * m},
		"rolled back for a second": {[]policy.Span{live(release, contentA, 3*h, h), live(older, contentB, h, h-time.Second), live(release, contentA, h-time.Second, 0)},
			policy.Pass, "2h of 2h", 0}, // before that
		"cut in two": {[]policy.Span{live(release, contentA, 150*m, 60*m), live(older, contentB, 60*m, 59*m), live(release, contentA, 59*m, 0)},
			policy.Pending, "59m of 2h", 61 * m},
		"equal content of another release before": {[]policy.Span{live(older, contentA, 3*h, 10*m), live(release, contentA, 10*m, 0)}, policy.Pass, "as " + older + ", with the same content: its time carries over): 3h of 2h", 0},
		"equal content after a gap":               {[]policy.Span{live(older, contentA, 3*h, 20*m), live(release, contentA, 10*m, 0)}, policy.Pending, "10m of 2h", 110 * m},
		"no content known":                        {[]policy.Span{live(older, "", 3*h, 10*m), live(release, "", 10*m, 0)}, policy.Pending, "10m of 2h", 110 * m},
		"other content of the same release": {[]policy.Span{live(release, contentA, 3*h, 2*h), live(release, contentB, 2*h-time.Second, 0)},
			policy.Pending, "1h59m59s of 2h", time.Second},
		"hydrated anew after its time": {[]policy.Span{live(release, contentA, 9*h, 10*m), live(release, contentB, 10*m, 0)},
			policy.Pending, "10m of 2h", 110 * m},
		"hydrated anew, and back": {[]policy.Span{live(release, contentA, 9*h, 2*h), live(release, contentB, 2*h, h), live(release, contentA, h, 0)},
			policy.Pass, "7h of 2h", 0},
		"rendered otherwise since":       {[]policy.Span{otherwise(live(release, contentA, 9*h, 0))}, policy.Fail, "it had other content: promote it there, where it has to stay for 2h", 0},
		"rendered otherwise before":      {[]policy.Span{otherwise(live(release, contentB, 9*h, h)), live(release, contentA, h, 0)}, policy.Pending, "1h of 2h", h},
		"rendered otherwise now":         {[]policy.Span{live(release, contentA, 9*h, h), otherwise(live(release, contentB, h, 0))}, policy.Pass, "8h of 2h", 0},
		"hydrated anew, unknown content": {[]policy.Span{live(release, "", 9*h, 10*m), live(release, "", 10*m, 0)}, policy.Pending, "10m of 2h", 110 * m},
		"begins in the future":           {[]policy.Span{live(release, contentA, -h, 0)}, policy.Pending, "0s of 2h", 3 * h},
		"ends in the future":             {[]policy.Span{live(release, contentA, h, -2*h), live(older, contentB, -2*h, 0)}, policy.Fail, "1h of 2h", 0},
		"ends before it begins":          {[]policy.Span{live(release, contentA, h, 9*h), live(older, contentB, 9*h, 0)}, policy.Fail, "0s of 2h", 0},
		"open although not the last":     {[]policy.Span{live(release, contentA, 9*h, 0), live(older, contentB, 8*h, 0)}, policy.Fail, "1h of 2h", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := policy.Facts{Now: now, Release: release, Live: map[string][]policy.Span{"test": c.spans, "staging": {live(release, contentA, 99*h, 0)}}}
			r := policy.Gates([]pipeline.Gate{gate(t, "soak", policy.Soak{Stage: "test", For: "2h"})}, pipeline.Waivers{}, f)[0]
			expect(t, r, c.want, c.reason)
			switch {
			case c.retry == 0 && r.RetryAfter != nil:
				t.Errorf("ask again at %s", r.RetryAfter)
			case c.retry != 0 && (r.RetryAfter == nil || !r.RetryAfter.Equal(now.Add(c.retry))):
				t.Errorf("ask again at %v, want %s", r.RetryAfter, now.Add(c.retry))
			}
		})
	}
}

func TestSoakHealthy(t *testing.T) {
	t.Parallel()
	h := time.Hour
	for name, c := range map[string]struct {
		by     string
		about  digest.Digest
		change func(*predicate.Health)
		gate   []string // by
		ended  bool
		want   policy.Result
		reason string
	}{
		"from the first attestation on": {change: func(a *predicate.Health) { a.Time = ago(2 * h) }, want: policy.Pass, reason: "healthy in test since 2026-03-24 10:00:00 UTC, as promoter (key "},
		"not long enough":               {want: policy.Pending, reason: "1h of 2h"},
		"nobody attested":               {by: "none", want: policy.Pending, reason: "waiting for a health attestation by promoter"},
		"nobody did while it was live":  {by: "none", ended: true, want: policy.Fail, reason: "without a health attestation by promoter"},
		"somebody else did":             {by: "stranger", want: policy.Pending, reason: "waiting for a health attestation by promoter"},
		"the promoter of this stage":    {by: "promoter", change: func(a *predicate.Health) { a.Time = ago(3 * h) }, want: policy.Pending, reason: "waiting for a health attestation by promoter"},
		"by those named":                {by: "sre", gate: []string{"sre"}, change: func(a *predicate.Health) { a.Time = ago(3 * h) }, want: policy.Pass, reason: "sre (key"},
		"of an earlier stay":            {change: func(a *predicate.Health) { a.Time = ago(9 * h) }, want: policy.Pending, reason: "waiting for a health attestation by promoter"},
		"of the future":                 {change: func(a *predicate.Health) { a.Time = now.Add(h) }, want: policy.Pending, reason: "waiting for a health attestation by promoter"},
		"of another digest":             {about: otherDigest, change: func(a *predicate.Health) { a.Time = ago(3 * h) }, want: policy.Pending, reason: "waiting for a health attestation by promoter"},
		"of another stage":              {change: func(a *predicate.Health) { a.Stage, a.Time = "staging", ago(3*h) }, want: policy.Pending, reason: "waiting for a health attestation by promoter"},
		"of another pipeline":           {change: func(a *predicate.Health) { a.Pipeline, a.Time = "other", ago(3*h) }, want: policy.Pending, reason: "waiting for a health attestation by promoter"},
		"of another release":            {change: func(a *predicate.Health) { a.Release, a.Time = older, ago(3*h) }, want: policy.Pending, reason: "waiting for a health attestation by promoter"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newGateScene(t)
			span := policy.Span{Artifact: predicate.Artifact{Release: release, Digests: oci.Digests{Digest: inTest, Content: contentA}}, From: ago(4 * h)}
			if c.ended {
				span.Until = ago(time.Minute)
			}
			d.f.Live["test"] = []policy.Span{span}
			a := predicate.Health{Claim: sign.Claim{Pipeline: "app", Stage: "test", Release: release}, Time: ago(h)}
			if c.change != nil {
				c.change(&a)
			}
			if c.by == "" {
				c.by = "test/promoter"
			}
			if c.about == "" {
				c.about = inTest
			}
			if c.by != "none" {
				d.f.Health["test"] = append(d.f.Health["test"], d.verified(c.by, c.about, predicate.TypeHealth, a, nil))
			}
			expect(t, d.judge(gate(t, "soak", policy.Soak{Stage: "test", For: "2h", Healthy: true, By: c.gate})), c.want, c.reason)
		})
	}
}
