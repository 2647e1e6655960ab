package stagediff

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/lockage/lockage/hydrate/diff"
)

// minShare is the room in bytes that a stage gets at least, or it is named only.
const minShare = 4096

// WriteMarkdown writes what happens to the stages for a pull request, in at most the limit of the options. Each stage gets a
// fair share of it, and what one leaves the next ones have; where there is no room for all, the last are named only.
func WriteMarkdown(w io.Writer, stages []Stage, options diff.MarkdownOptions) error {
	room := cmp.Or(options.Limit, diff.MarkdownLimit)
	shown := len(stages)
	var tail string
	if len(stages)*minShare > room {
		tail = named(stages, room/4)
		shown = max(1, (room-len(tail))/minShare)
		tail = named(stages[shown:], room/4)
	}
	room -= len(tail)
	for i, s := range stages[:shown] {
		var b bytes.Buffer
		// A label may be the name of a branch, in which a backtick would end the code span.
		fmt.Fprintf(&b, "### `%s`\n\n", strings.ReplaceAll(s.Title(), "`", "'"))
		options.Limit = room/(shown-i) - b.Len() - len("\n")
		if err := s.Changes.WriteMarkdown(&b, options); err != nil {
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
func named(stages []Stage, room int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %d more stages change\n\n", len(stages))
	const last = len("- … 100000 more\n")
	for i, s := range stages {
		line := fmt.Sprintf("- `%s`: %s\n", strings.ReplaceAll(s.Name(), "`", "'"), s.Changes.Summary())
		if b.Len()+len(line)+last > room {
			fmt.Fprintf(&b, "- … %d more\n", len(stages)-i)
			break
		}
		b.WriteString(line)
	}
	return b.String()
}
