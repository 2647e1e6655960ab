// Package stagediff shows what a change does to the stages. It needs no key, writes nothing and verifies no signature.
//
// [ComparePlans] is for a change that is not published yet: it renders the stages of two plans and compares the results. A
// stage with the same inputs in both plans is not affected, and is not rendered.
//
// [Match] and [Compare] are for what exists, such as artifacts in registries and files on branches: Match chooses which
// versions of two sides to compare.
package stagediff

import (
	"cmp"
	"fmt"

	"github.com/lockage/lockage/hydrate/diff"
)

// Change is what happens to one stage.
type Change struct {
	Pipeline string `json:"pipeline"`
	Stage    string `json:"stage"`
	Before   string `json:"before,omitempty"` // label of the version before; "" if the stage is new
	After    string `json:"after,omitempty"`  // label of the version after; "" if the stage is gone
	// Uncompared says why the version before cannot be shown, and what there is now; there are no Changes then.
	Uncompared string       `json:"uncompared,omitempty"`
	Changes    diff.Changes `json:"changes"`
}

// Name is pipeline/stage, or "" for artifacts of unknown pipelines.
func (c Change) Name() string {
	if c.Pipeline == "" {
		return c.Stage
	}
	return c.Pipeline + "/" + c.Stage
}

// Title names a stage and its versions.
func (c Change) Title() string {
	title := c.Name()
	if title == "" {
		return fmt.Sprintf("%s to %s", cmp.Or(c.Before, "nothing"), cmp.Or(c.After, "nothing"))
	}
	switch {
	case c.Before == c.After, c.Uncompared != "":
		return title + " (" + c.After + ")"
	case c.Before == "":
		return title + " (new, " + c.After + ")"
	case c.After == "":
		return title + " (gone)"
	}
	return fmt.Sprintf("%s (%s to %s)", title, c.Before, c.After)
}

// summary describes the changes in words of this program only.
func (c Change) summary() string {
	if c.Uncompared != "" {
		return "not compared"
	}
	return c.Changes.Summary()
}
