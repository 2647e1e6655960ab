package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/lockage/lockage/hydrate/pipeline"
)

// daysAhead is how many days ahead the next opening of a window is looked for.
const daysAhead = 366

const minutesOfDay = 24 * 60

// window is when promotion is allowed, by what the clocks on the walls of a zone show. Where they are put forward, times
// that they skip never are: a window that would begin among them begins with the first time shown after. Where they
// are put back, times that they show twice are in the window twice, and the hour between may lie outside.
type window struct {
	zone  *time.Location
	allow []weekly // empty: always
	deny  []weekly
	days  []days // denied, first and last day included
}

// weekly is a time of day on some days of the week. Where to is not after from, it ends on the day after.
type weekly struct {
	text     string
	days     [7]bool // on which it begins, by time.Weekday
	from, to int     // minutes since midnight; from is in it and to is not
}

type days struct{ first, last string } // as time.DateOnly, which sorts as time does

// Window is the declaration of a gate that allows and denies times. Deny wins.
type Window struct {
	Allow    []string `yaml:"allow" json:"allow,omitempty" jsonschema_description:"Weekly times such as Mon-Thu 09:00-16:00, as the zone's clocks on the wall show them."`
	Deny     []string `yaml:"deny" json:"deny,omitempty" jsonschema_description:"Weekly times, or days such as 2026-12-20/2027-01-03."`
	Timezone string   `yaml:"timezone" json:"timezone,omitempty" jsonschema:"default=UTC" jsonschema_description:"An IANA time zone."`
}

// maxWindowRules bounds allow and deny: whether a window is open, and when it opens, asks each of them.
const maxWindowRules = 100

func parseWindow(declared Window, d *pipeline.Declaration) pipeline.Condition {
	w := window{zone: time.UTC}
	if len(declared.Allow) == 0 && len(declared.Deny) == 0 {
		d.Report("", "write allow, deny or both")
	}
	for key, list := range map[string][]string{"allow": declared.Allow, "deny": declared.Deny} {
		if len(list) > maxWindowRules {
			d.Report(key, "%d entries, at most %d are read", len(list), maxWindowRules)
		}
	}
	d.Rule("allow", func(text string) string {
		rule, problem := parseWeekly(text)
		w.allow = append(w.allow, rule)
		return problem
	})
	d.Rule("deny", func(text string) string {
		first, last, ok := strings.Cut(text, "/")
		if ok && isDay(first) && isDay(last) && first <= last {
			w.days = append(w.days, days{first, last})
			return ""
		}
		rule, problem := parseWeekly(text)
		w.deny = append(w.deny, rule)
		if problem == noWeekly {
			return "is neither days such as 2026-12-20/2027-01-03 nor a weekly time such as Mon-Thu 09:00-16:00"
		}
		return problem
	})
	d.Rule("timezone", func(name string) string {
		zone, err := time.LoadLocation(name)
		if err != nil || name == "" || name == "Local" { // what is local depends on where the program runs
			return "is not a time zone: write one like America/Los_Angeles"
		}
		w.zone = zone
		return ""
	})
	return w
}

func (window) Signers() pipeline.Signers { return pipeline.Signers{} }

func (window) Need(*Needs) {}

func (w window) Judge(f Facts) GateResult {
	if f.Unchanged {
		return carriedOver()
	}
	open, why := w.open(f.Now)
	now := f.Now.In(w.zone).Format("Mon 2006-01-02 15:04 MST")
	if open {
		return pass("%s; it is %s", why, now)
	}
	next := w.next(f.Now)
	if next.IsZero() {
		return fail("%s; it is %s, and the window does not open within a year", why, now)
	}
	return pending(next, "%s; it is %s, and the window opens %s", why, now, next.In(w.zone).Format("Mon 2006-01-02 15:04 MST"))
}

func isDay(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

// noWeekly is what is wrong with a text that is not a weekly time.
const noWeekly = "is not a weekly time: write one like Mon-Thu 09:00-16:00"

// parseWeekly reads a time such as Mon-Thu 09:00-16:00, or returns what is wrong with it.
func parseWeekly(text string) (weekly, string) {
	rule := weekly{text: text}
	dayPart, clockPart, _ := strings.Cut(text, " ")
	firstDay, lastDay, several := strings.Cut(dayPart, "-")
	if !several {
		lastDay = firstDay
	}
	names := []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}
	first, last := slices.Index(names, firstDay), slices.Index(names, lastDay)
	from, to, _ := strings.Cut(clockPart, "-")
	rule.from, rule.to = minutes(from), minutes(to)
	switch {
	case first < 0 || last < 0 || rule.from < 0 || rule.from == minutesOfDay || rule.to < 0:
		return rule, noWeekly
	case rule.from == rule.to:
		return rule, "begins when it ends: write 00:00-24:00 for a whole day"
	}
	for day := first; ; day = (day + 1) % 7 { // Fri-Mon goes over the weekend
		rule.days[day] = true
		if day == last {
			return rule, ""
		}
	}
}

// minutes returns the minutes since midnight of a time such as 09:30, up to 24:00, and -1 for anything else.
func minutes(clock string) int {
	if clock == "24:00" {
		return minutesOfDay
	}
	t, err := time.Parse("15:04", clock)
	if err != nil || len(clock) != len("15:04") {
		return -1
	}
	return t.Hour()*60 + t.Minute()
}

// holds reports whether a time on the wall lies in the rule.
func (r weekly) holds(wall time.Time) bool {
	minute := wall.Hour()*60 + wall.Minute()
	today := r.days[wall.Weekday()]
	if r.from < r.to {
		return today && r.from <= minute && minute < r.to
	}
	yesterday := r.days[(wall.Weekday()+6)%7]
	return today && minute >= r.from || yesterday && minute < r.to
}

// open reports whether promotion is allowed at t, and what decided that.
func (w window) open(t time.Time) (bool, string) {
	wall := t.In(w.zone)
	today := wall.Format(time.DateOnly)
	for _, d := range w.days {
		if d.first <= today && today <= d.last {
			return false, "denied from " + d.first + " to " + d.last
		}
	}
	for _, r := range w.deny {
		if r.holds(wall) {
			return false, "denied " + r.text
		}
	}
	if len(w.allow) == 0 {
		return true, "nothing denies it"
	}
	var hours []string
	for _, r := range w.allow {
		if r.holds(wall) {
			return true, "allowed " + r.text
		}
		hours = append(hours, r.text)
	}
	return false, "allowed only " + plain(strings.Join(hours, ", "))
}

// next finds the first moment after t at which the window is open: zero if it does not open within daysAhead.
func (w window) next(t time.Time) time.Time {
	clocks := []int{0} // at which it may open
	for _, r := range w.allow {
		clocks = append(clocks, r.from)
	}
	for _, r := range w.deny {
		clocks = append(clocks, r.to%minutesOfDay)
	}
	slices.Sort(clocks)
	clocks = slices.Compact(clocks)
	year, month, day := t.In(w.zone).Date()
	for ahead := range daysAhead + 1 {
		var moments []time.Time
		for _, clock := range clocks {
			moments = append(moments, w.moments(year, month, day+ahead, clock)...)
		}
		// The clock may be put on or back into the window, on this day.
		begin, tomorrow := time.Date(year, month, day+ahead, 0, 0, 0, 0, w.zone), time.Date(year, month, day+ahead+1, 0, 0, 0, 0, w.zone)
		if _, end := begin.ZoneBounds(); !end.IsZero() && end.Before(tomorrow) {
			moments = append(moments, end)
		}
		slices.SortFunc(moments, time.Time.Compare)
		for _, m := range moments {
			if m.After(t) {
				if open, _ := w.open(m); open {
					return m
				}
			}
		}
	}
	return time.Time{}
}

// moments are when the clocks show a time on a day: once, twice, or never. They were put on or back by what the zone's
// offset differs between the days around.
func (w window) moments(year int, month time.Month, day, clock int) []time.Time {
	var found []time.Time
	for _, around := range []int{-1, 1} {
		_, offset := time.Date(year, month, day+around, 12, 0, 0, 0, w.zone).Zone()
		m := time.Date(year, month, day, 0, clock, 0, 0, time.UTC).Add(-time.Duration(offset) * time.Second)
		if wall := m.In(w.zone); wall.Hour()*60+wall.Minute() == clock && !slices.ContainsFunc(found, m.Equal) {
			found = append(found, m)
		}
	}
	return found
}
