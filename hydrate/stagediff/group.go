package stagediff

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/lockage/lockage/hydrate/diff"
)

// Group is a change that stages have in common.
type Group struct {
	Change
	Alike []Change // the other stages that change so
}

// Groups puts changes together that read alike but for the names of their stages and pipelines, in the order of the first of each.
func Groups(changes []Change) []Group {
	var groups []Group
	known := map[string]int{}
	for _, c := range changes {
		key := c.anonymous()
		if i, ok := known[key]; ok && key != "" {
			groups[i].Alike = append(groups[i].Alike, c)
			continue
		}
		known[key] = len(groups)
		groups = append(groups, Group{Change: c})
	}
	return groups
}

// anonymous is what a change reads like without the names of the stage and its pipeline; "" for a change that is alike to none.
func (c Change) anonymous() string {
	if c.Pipeline == "" || c.Stage == "" {
		return ""
	}
	var b bytes.Buffer
	if err := c.Changes.WriteText(&b, diff.TextOptions{}); err != nil {
		return ""
	}
	what := "changed\n"
	switch "" {
	case c.Before:
		what = "new\n"
	case c.After:
		what = "gone\n"
	}
	names := []string{c.Pipeline + "/" + c.Stage, "{}", c.Stage, "{stage}", c.Pipeline, "{pipeline}"}
	if c.After != "" {
		names = append(names, c.After, "{release}")
	}
	return strings.NewReplacer(names...).Replace(what + c.Uncompared + "\n" + b.String())
}

// names lists the stages that change alike: by their titles, if other versions are compared there.
func (g Group) names() []string {
	names := make([]string, len(g.Alike))
	for i, c := range g.Alike {
		if names[i] = c.Name(); c.Before != g.Before || c.After != g.After {
			names[i] = c.Title()
		}
	}
	return names
}

// Others names the stages that change alike, all of them or the first few; "" for none.
func (g Group) Others(most int) string {
	names := g.names()
	if len(names) == 0 {
		return ""
	}
	list := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		list += ", …"
	}
	return fmt.Sprintf("and alike, but for the names, in %d more: %s", len(names), list)
}
