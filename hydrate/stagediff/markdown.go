package stagediff

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/internal/terminal"
)

// minShare is the least bytes for the details of a stage; with less a stage is only named.
const minShare = 4096

// alikeNamed is how many stages with an equal change are named.
const alikeNamed = 20

// WriteMarkdown writes the changes of stages for a pull request, in at most the limit of the options. Stages that change alike are shown once. Each gets an
// equal share of the bytes, and what one leaves goes to the next ones. If there are too many, the last are only named.
func WriteMarkdown(w io.Writer, changes []Change, options diff.MarkdownOptions) error {
	room := cmp.Or(options.Limit, diff.MarkdownLimit)
	groups := Groups(changes)
	shown := len(groups)
	var tail string
	if len(groups)*minShare > room {
		tail = named(groups, room/4)
		shown = max(1, (room-len(tail))/minShare)
		tail = named(groups[shown:], room/4)
	}
	room -= len(tail)
	for i, c := range groups[:shown] {
		var b bytes.Buffer
		fmt.Fprintf(&b, "### %s\n\n", code(c.Title()))
		if others := c.Others(alikeNamed); others != "" {
			fmt.Fprintf(&b, "%s\n\n", code(terminal.Words(others, minShare/4)))
		}
		options.Limit = room/(shown-i) - b.Len() - len("\n")
		if c.Uncompared != "" {
			fmt.Fprintf(&b, "⚠️ Not compared: %s\n", code(terminal.Words(c.Uncompared, options.Limit/2)))
		} else if err := c.Changes.WriteMarkdown(&b, options); err != nil {
			return err
		}
		b.WriteByte('\n')
		room -= b.Len()
		if _, err := w.Write(b.Bytes()); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, tail)
	return err
}

// named lists stages in at most room bytes.
func named(groups []Group, room int) string {
	var changes []Change
	for _, g := range groups {
		changes = append(append(changes, g.Change), g.Alike...)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "### %d more stages change\n\n", len(changes))
	const last = len("- … 100000 more\n")
	for i, c := range changes {
		line := fmt.Sprintf("- %s: %s\n", code(c.Name()), c.summary())
		if b.Len()+len(line)+last > room {
			fmt.Fprintf(&b, "- … %d more\n", len(changes)-i)
			break
		}
		b.WriteString(line)
	}
	return b.String()
}

// code writes a code span. A label may be the name of a branch, in which a backtick would end the span.
func code(s string) string { return "`" + strings.ReplaceAll(s, "`", "'") + "`" }
