package diff

import (
	"fmt"
	"slices"
	"strings"
)

// Summary counts the objects, in words of this package only: "1 added, 3 changed, 120 unchanged".
func (c Changes) Summary() string {
	if c.Empty() {
		return fmt.Sprintf("no changes in %s", plural(c.Counts.Unchanged, "object"))
	}
	if len(c.Objects) == 0 {
		return fmt.Sprintf("no changes but noise, in %s", plural(c.Noise.Objects, "object"))
	}
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(c.Counts.Added, "added")
	add(c.Counts.Removed, "removed")
	add(c.Counts.Changed, "changed")
	add(c.Counts.Renamed, "renamed")
	add(c.Counts.Unchanged, "unchanged")
	return strings.Join(parts, ", ")
}

// loudRisk is a risk above Info, with all objects that have it.
type loudRisk struct {
	Risk
	objects []string   // titles
	details [][]string // of each object
}

// loudRisks returns the risks above Info, each message once, the most severe first.
func (c Changes) loudRisks() []loudRisk {
	var list []loudRisk
	for _, o := range c.Objects {
		for _, r := range o.Risks {
			if r.Level == Info {
				continue
			}
			i := slices.IndexFunc(list, func(l loudRisk) bool { return l.Level == r.Level && l.Message == r.Message })
			if i < 0 {
				i = len(list)
				list = append(list, loudRisk{Risk: r})
			}
			list[i].objects = append(list[i].objects, o.title())
			list[i].details = append(list[i].details, r.Details)
		}
	}
	slices.SortStableFunc(list, func(a, b loudRisk) int { return bySeverity(a.Risk, b.Risk) })
	return list
}
