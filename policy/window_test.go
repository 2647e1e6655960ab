package policy_test

import (
	"encoding/json"
	"testing"
	"time"
	_ "time/tzdata" // whatever the host has

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
)

func TestWindow(t *testing.T) {
	t.Parallel()
	const berlin, angeles = "Europe/Berlin", "America/Los_Angeles"
	allow := func(zone string, rules ...string) policy.Window {
		return policy.Window{Allow: rules, Timezone: zone}
	}
	for name, c := range map[string]struct {
		gate policy.Window
		now  string // RFC 3339
		want policy.Result
		next string // RFC 3339, of a pending one
	}{
		"open":                    {allow("", "Mon-Thu 09:00-16:00"), "2026-03-24T09:00:00Z", policy.Pass, ""},
		"its last second":         {allow("", "Mon-Thu 09:00-16:00"), "2026-03-24T15:59:59Z", policy.Pass, ""},
		"just closed":             {allow("", "Mon-Thu 09:00-16:00"), "2026-03-24T16:00:00Z", policy.Pending, "2026-03-25T09:00:00Z"},
		"closed over the weekend": {allow("", "Mon-Thu 09:00-16:00"), "2026-03-26T16:00:00Z", policy.Pending, "2026-03-30T09:00:00Z"},
		"in the zone":             {allow(angeles, "Tue 09:00-16:00"), "2026-03-24T16:00:00Z", policy.Pass, ""},
		"not yet in the zone":     {allow(angeles, "Tue 09:00-16:00"), "2026-03-24T15:59:00Z", policy.Pending, "2026-03-24T16:00:00Z"},
		"second of two":           {allow("", "Mon 09:00-10:00", "Tue 11:00-12:00"), "2026-03-24T11:30:00Z", policy.Pass, ""},
		"over the weekend":        {allow("", "Fri-Mon 00:00-24:00"), "2026-03-29T23:59:00Z", policy.Pass, ""},
		"before the weekend":      {allow("", "Fri-Mon 00:00-24:00"), "2026-03-24T12:00:00Z", policy.Pending, "2026-03-27T00:00:00Z"},
		"over midnight":           {allow("", "Tue 22:00-02:00"), "2026-03-25T01:59:00Z", policy.Pass, ""},
		"not the midnight before": {allow("", "Tue 22:00-02:00"), "2026-03-24T01:59:00Z", policy.Pending, "2026-03-24T22:00:00Z"},
		"up to midnight":          {allow("", "Tue 22:00-24:00"), "2026-03-25T00:00:00Z", policy.Pending, "2026-03-31T22:00:00Z"},

		"deny alone":            {policy.Window{Deny: []string{"Fri 12:00-24:00"}}, "2026-03-24T12:00:00Z", policy.Pass, ""},
		"denied":                {policy.Window{Deny: []string{"Fri 12:00-24:00"}}, "2026-03-27T12:00:00Z", policy.Pending, "2026-03-28T00:00:00Z"},
		"deny wins":             {policy.Window{Allow: []string{"Mon-Fri 09:00-17:00"}, Deny: []string{"Tue 10:00-11:00"}}, "2026-03-24T10:30:00Z", policy.Pending, "2026-03-24T11:00:00Z"},
		"the first day denied":  {policy.Window{Deny: []string{"2026-12-20/2027-01-03"}, Timezone: berlin}, "2026-12-19T23:00:00Z", policy.Pending, "2027-01-03T23:00:00Z"},
		"the day before":        {policy.Window{Deny: []string{"2026-12-20/2027-01-03"}, Timezone: berlin}, "2026-12-19T22:59:59Z", policy.Pass, ""},
		"the last day denied":   {policy.Window{Deny: []string{"2026-12-20/2027-01-03"}, Timezone: berlin}, "2027-01-03T22:59:59Z", policy.Pending, "2027-01-03T23:00:00Z"},
		"the day after":         {policy.Window{Deny: []string{"2026-12-20/2027-01-03"}, Timezone: berlin}, "2027-01-03T23:00:00Z", policy.Pass, ""},
		"allowed after holiday": {policy.Window{Allow: []string{"Mon 09:00-10:00"}, Deny: []string{"2026-03-24/2026-04-06"}}, "2026-03-24T12:00:00Z", policy.Pending, "2026-04-13T09:00:00Z"},
		"never":                 {policy.Window{Allow: []string{"Mon 09:00-10:00"}, Deny: []string{"Mon 00:00-24:00"}}, "2026-03-24T12:00:00Z", policy.Fail, ""},
		"not for years":         {policy.Window{Deny: []string{"2026-01-01/2029-12-31"}}, "2026-03-24T12:00:00Z", policy.Fail, ""},

		// Berlin, 29 March 2026: 02:00 CET is 03:00 CEST, at 01:00Z.
		"the hour that is skipped":           {allow(berlin, "Sun 02:00-03:00"), "2026-03-29T00:59:59Z", policy.Pending, "2026-04-05T00:00:00Z"},
		"begins in the hour skipped, before": {allow(berlin, "Sun 02:30-04:00"), "2026-03-29T00:59:59Z", policy.Pending, "2026-03-29T01:00:00Z"},
		"begins in the hour skipped":         {allow(berlin, "Sun 02:30-04:00"), "2026-03-29T01:00:00Z", policy.Pass, ""},
		"ends in the hour skipped":           {allow(berlin, "Sun 01:00-02:30"), "2026-03-29T01:00:00Z", policy.Pending, "2026-04-04T23:00:00Z"},
		"denied until the hour skipped":      {policy.Window{Deny: []string{"Sun 00:00-02:30"}, Timezone: berlin}, "2026-03-29T00:30:00Z", policy.Pending, "2026-03-29T01:00:00Z"},
		"after the change the zone counts":   {allow(berlin, "Mon 09:00-10:00"), "2026-03-28T12:00:00Z", policy.Pending, "2026-03-30T07:00:00Z"},
		// Berlin, 25 October 2026: 03:00 CEST is 02:00 CET, at 01:00Z; from 02:00 to 03:00 is shown twice.
		"shown twice, the first time":  {allow(berlin, "Sun 02:00-03:00"), "2026-10-25T00:30:00Z", policy.Pass, ""},
		"shown twice, the second time": {allow(berlin, "Sun 02:00-03:00"), "2026-10-25T01:59:59Z", policy.Pass, ""},
		"after both":                   {allow(berlin, "Sun 02:00-03:00"), "2026-10-25T02:00:00Z", policy.Pending, "2026-11-01T01:00:00Z"},
		"between the two":              {allow(berlin, "Sun 02:30-03:00"), "2026-10-25T01:00:00Z", policy.Pending, "2026-10-25T01:30:00Z"},
		"put back into the window":     {allow(berlin, "Sun 01:00-02:30"), "2026-10-25T00:45:00Z", policy.Pending, "2026-10-25T01:00:00Z"},
		"denied twice":                 {policy.Window{Deny: []string{"Sun 02:00-03:00"}, Timezone: berlin}, "2026-10-25T00:00:00Z", policy.Pending, "2026-10-25T02:00:00Z"},
		"before the first of the two":  {allow(berlin, "Sun 02:30-02:45"), "2026-10-25T00:00:00Z", policy.Pending, "2026-10-25T00:30:00Z"},
		// Los Angeles, 8 March 2026: 02:00 PST is 03:00 PDT, at 10:00Z. 1 November: 02:00 PDT is 01:00 PST, at 09:00Z.
		"Los Angeles, skipped":           {allow(angeles, "Sun 02:15-02:45"), "2026-03-08T09:59:00Z", policy.Pending, "2026-03-15T09:15:00Z"},
		"Los Angeles, before":            {allow(angeles, "Sun 00:00-02:00"), "2026-03-08T09:59:59Z", policy.Pass, ""},
		"Los Angeles, after":             {allow(angeles, "Sun 03:00-04:00"), "2026-03-08T10:00:00Z", policy.Pass, ""},
		"Los Angeles, twice":             {allow(angeles, "Sun 01:00-02:00"), "2026-11-01T09:30:00Z", policy.Pass, ""},
		"Los Angeles, after both":        {allow(angeles, "Sun 01:00-02:00"), "2026-11-01T10:00:00Z", policy.Pending, "2026-11-08T09:00:00Z"},
		"a zone without daylight saving": {allow("Asia/Kolkata", "Tue 17:30-18:00"), "2026-03-24T11:59:00Z", policy.Pending, "2026-03-24T12:00:00Z"},
		"a zone that skipped a day":      {allow("Pacific/Apia", "Fri 09:00-10:00"), "2011-12-29T20:30:00Z", policy.Pending, "2012-01-05T19:00:00Z"},
		"midnight is skipped":            {policy.Window{Deny: []string{"Sat 00:00-24:00"}, Timezone: "America/Santiago"}, "2026-09-05T12:00:00Z", policy.Pending, "2026-09-06T04:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			moment, err := time.Parse(time.RFC3339, c.now)
			if err != nil {
				t.Fatal(err)
			}
			r := policy.Gates([]pipeline.Gate{gate(t, "window", c.gate)}, pipeline.Waivers{}, policy.Facts{Now: moment})[0]
			expect(t, r, c.want)
			carried := policy.Gates([]pipeline.Gate{gate(t, "window", c.gate)}, pipeline.Waivers{}, policy.Facts{Now: moment, Unchanged: true})[0]
			expect(t, carried, policy.Pass, "the content is what is live already")
			got := ""
			if r.RetryAfter != nil {
				got = r.RetryAfter.Format(time.RFC3339)
			}
			if got != c.next {
				t.Errorf("opens at %q, want %q: %s", got, c.next, r.Reason)
			}
		})
	}
}

// TestWindowOpensWhereItSays compares the next opening with what asking every minute finds.
func TestWindowOpensWhereItSays(t *testing.T) {
	t.Parallel()
	gates := []policy.Window{
		{Allow: []string{"Sun 02:30-04:00", "Sat 23:30-00:15"}, Timezone: "Europe/Berlin"},
		{Allow: []string{"Sat-Sun 00:00-24:00"}, Deny: []string{"Sun 01:15-02:45", "2026-10-24/2026-10-24"}, Timezone: "America/Los_Angeles"},
		{Deny: []string{"Mon-Sun 00:30-02:10"}, Timezone: "Australia/Lord_Howe"}, // put on by half an hour
	}
	for _, g := range gates {
		parsed := gate(t, "window", g)
		ask := func(at time.Time) policy.GateResult {
			return policy.Gates([]pipeline.Gate{parsed}, pipeline.Waivers{}, policy.Facts{Now: at})[0]
		}
		for _, start := range []time.Time{
			time.Date(2026, 3, 7, 22, 0, 0, 0, time.UTC), time.Date(2026, 3, 28, 20, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 10, 0, 0, 0, time.UTC),
			time.Date(2026, 10, 3, 10, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 20, 0, 0, 0, time.UTC), time.Date(2026, 10, 31, 22, 0, 0, 0, time.UTC),
		} {
			var foretold time.Time
			for minute := range 20 * 60 {
				moment := start.Add(time.Duration(minute) * time.Minute)
				r := ask(moment)
				open := r.Result == policy.Pass
				if !foretold.IsZero() && open != !moment.Before(foretold) {
					t.Fatalf("%+v at %s: open is %v, foretold was %s", g, moment, open, foretold)
				}
				switch {
				case open:
					foretold = time.Time{}
				case r.RetryAfter == nil:
					t.Fatalf("%+v at %s: %s", g, moment, r.Reason)
				default:
					foretold = *r.RetryAfter
				}
			}
		}
	}
}

func FuzzWindow(f *testing.F) {
	f.Add("Mon-Thu 09:00-16:00", "2026-12-20/2027-01-03", "Europe/Berlin", int64(1774350000))
	f.Add("Sun 22:00-02:00", "Sat 00:00-24:00", "America/Los_Angeles", int64(1793500000))
	f.Fuzz(func(t *testing.T, allow, deny, zone string, at int64) {
		g := policy.Window{Allow: []string{allow}, Deny: []string{deny}, Timezone: zone}
		text, err := json.Marshal([]any{map[string]any{"window": g}})
		if err != nil {
			t.Fatal(err)
		}
		gates, err := parse(t, string(text), nil)
		if err != nil {
			return // refused when it is read
		}
		ask := func(at time.Time) policy.GateResult {
			return policy.Gates(gates, pipeline.Waivers{}, policy.Facts{Now: at})[0]
		}
		moment := time.Unix(at%(1<<33), 0)
		r := ask(moment)
		if r.RetryAfter == nil {
			return
		}
		if !r.RetryAfter.After(moment) || ask(*r.RetryAfter).Result != policy.Pass || ask(r.RetryAfter.Add(-time.Second)).Result == policy.Pass {
			t.Errorf("%+v at %s: opens at %s", g, moment, r.RetryAfter)
		}
	})
}
