package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
)

func TestOrder(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 3, 24, 12, 0, 0, 0, time.UTC)
	is, was := policy.Passage{Is: true, Was: true, Since: since}, policy.Passage{Was: true, Since: since}
	back := policy.Passage{RolledBack: true, Since: since}
	otherwise := policy.Passage{Otherwise: "it had other content"}
	unknown := policy.Passage{Otherwise: "hydrate it there", Unknown: true}
	either := pipeline.After{Stages: []string{"staging", "canary"}}
	both := pipeline.After{Stages: []string{"staging", "canary"}, All: true}
	for name, test := range map[string]struct {
		after    pipeline.After
		passages map[string]policy.Passage
		want     policy.Result
		reason   string // its end
	}{
		"nothing before":   {pipeline.After{}, nil, policy.Pass, "no stage comes before"},
		"one of any":       {either, map[string]policy.Passage{"canary": is}, policy.Pass, "live in canary since 2026-03-24T12:00:00Z"},
		"was is enough":    {either, map[string]policy.Passage{"canary": was}, policy.Pass, "live in canary from 2026-03-24T12:00:00Z on, before others"},
		"none of any":      {either, map[string]policy.Passage{"canary": back}, policy.Fail, "promote it there first: staging or canary"},
		"all of all":       {both, map[string]policy.Passage{"staging": is, "canary": was}, policy.Pass, "before others"},
		"one of all":       {both, map[string]policy.Passage{"staging": is}, policy.Fail, "it was never live in canary; promote it there first: canary"},
		"back in one":      {both, map[string]policy.Passage{"staging": back, "canary": is}, policy.Fail, "; promote it there first: staging"},
		"none of all":      {both, nil, policy.Fail, "; promote it there first: staging and canary"},
		"other content":    {either, map[string]policy.Passage{"staging": otherwise}, policy.Fail, "it had other content; it was never live in canary; promote it there first: staging or canary"},
		"unknown":          {either, map[string]policy.Passage{"staging": unknown}, policy.Pending, "hydrate it there; it was never live in canary; promote it there first: canary"},
		"one known":        {either, map[string]policy.Passage{"staging": unknown, "canary": is}, policy.Pass, ""},
		"unknown of all":   {both, map[string]policy.Passage{"staging": unknown, "canary": is}, policy.Pending, "live in canary since 2026-03-24T12:00:00Z"},
		"one of all lacks": {both, map[string]policy.Passage{"staging": unknown}, policy.Fail, "promote it there first: canary"},
		"of other stages":  {either, map[string]policy.Passage{"production": is}, policy.Fail, "staging or canary"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := policy.Order(test.after, test.passages)
			if got.Result != test.want || !strings.HasSuffix(got.Reason, test.reason) {
				t.Errorf("%s: %q, want %s and an end of %q", got.Result, got.Reason, test.want, test.reason)
			}
		})
	}
}
