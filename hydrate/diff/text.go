package diff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Bounds on the text output.
const (
	textLines  = 60  // of one field
	textWhole  = 30  // of an object that is new or removed
	textInline = 100 // bytes of a change that stands in the line of its path
	textWidth  = 116 // bytes of a line that lists names
	textOthers = 12  // objects that share a risk
)

// TextOptions says how text is written.
type TextOptions struct {
	Color bool // with ANSI colours; whoever writes knows whether w is a terminal
}

type color string

const (
	red    color = "\x1b[31m"
	green  color = "\x1b[32m"
	yellow color = "\x1b[33m"
	bold   color = "\x1b[1m"
	dim    color = "\x1b[2m"
	reset  color = "\x1b[0m"
)

// textPage collects the text. Whatever of a manifest goes in is cleaned before.
type textPage struct {
	bytes.Buffer
	colored bool
	whole   bool // everything is shown
}

func (t *textPage) paint(c color, s string) string {
	if !t.colored || c == "" || s == "" {
		return s
	}
	return string(c) + s + string(reset)
}

func (t *textPage) line(indent int, c color, s string) {
	t.WriteString(strings.Repeat(" ", indent))
	t.WriteString(t.paint(c, s))
	t.WriteByte('\n')
}

// WriteText writes the changes for a terminal: what it comes to, images and risks, then the objects with their fields.
func (c Changes) WriteText(w io.Writer, options TextOptions) error {
	t := &textPage{colored: options.Color, whole: c.All}
	t.line(0, bold, c.Summary())
	if noise := c.Noise.summary(clean); noise != "" {
		t.line(0, dim, noise)
	}
	if len(c.Images) > 0 {
		t.line(0, "", "")
		t.line(0, bold, "Images")
		for _, image := range c.Images {
			repository, change := image.summary()
			t.line(2, "", fmt.Sprintf("%s: %s (%s)", clean(clip(repository, maxShown)), clean(clip(change, maxShown)), plural(image.Objects, "object")))
		}
	}
	if risks := c.loudRisks(); len(risks) > 0 {
		t.line(0, "", "")
		t.line(0, bold, "Risks")
		for _, r := range risks {
			t.wrapped(2, r.color(), r.textMark()+r.Message+": ", clipped(r.objects, textOthers))
		}
	}
	for _, b := range c.bundles() {
		t.line(0, "", "")
		t.object(*b)
	}
	_, err := w.Write(t.Bytes())
	return err
}

// clipped returns the first of a list, and how many more there are.
func clipped(list []string, limit int) []string {
	if more := len(list) - limit; more > 0 {
		return append(list[:limit:limit], fmt.Sprintf("… %d more", more))
	}
	return list
}

// wrapped writes a list, several items a line.
func (t *textPage) wrapped(indent int, c color, head string, items []string) {
	line := head
	for i, item := range items {
		if i < len(items)-1 {
			item += ", "
		}
		if len(line)+len(item) > textWidth && line != head && strings.TrimSpace(line) != "" {
			t.line(indent, c, strings.TrimRight(line, " "))
			line = "    "
		}
		line += item
	}
	t.line(indent, c, line)
}

func (t *textPage) object(b bundle) {
	file := ""
	if b.File != "" {
		file = t.paint(dim, "  "+clean(clip(b.File, maxShown)))
	}
	t.line(0, "", t.paint(b.Change.color(), b.Change.mark()+" ")+t.paint(bold, b.title())+file)
	if len(b.others) > 0 {
		t.wrapped(2, "", fmt.Sprintf("and %d more that changed alike: ", len(b.others)), b.otherNames())
	}
	for _, r := range b.Risks {
		if r.Kind == RiskImage && r.Level == Info {
			continue // the field says it
		}
		s := r.Message
		if len(r.Details) > 0 {
			s += ": " + clean(strings.Join(r.Details, ", "))
		}
		t.line(4, r.color(), r.textMark()+s)
	}
	for _, e := range b.entries {
		t.entry(e, b.limit())
	}
	for _, remark := range b.remarks {
		t.line(4, dim, remark.message+clean(clip(remark.words, maxShown)))
	}
}

// limit is how many lines of a field are shown.
func (b bundle) limit() int {
	if b.Change == Added || b.Change == Removed {
		return textWhole
	}
	return textLines
}

func (r Risk) color() color {
	switch r.Level {
	case Danger:
		return red
	case Warning:
		return yellow
	}
	return dim
}

func (r Risk) textMark() string {
	switch r.Level {
	case Danger:
		return "!! "
	case Warning:
		return "!  "
	}
	return "   "
}

func (t *textPage) entry(e entry, limit int) {
	if t.whole {
		limit = maxLines
	}
	indent := 4
	if e.heading != "" {
		head := t.paint(e.Change.color(), e.Change.mark()) + " " + clean(e.heading)
		if e.Change == Reordered {
			head += t.paint(dim, " (reordered)")
		}
		value, ok := e.inline(textInline)
		if e.short != "" {
			value, ok = clean(e.short), true
		} else if repository, change, is := e.image(); is {
			value, ok = clean(clip(repository+" "+change, maxShown)), true
		}
		if ok {
			head += ": " + value
		}
		t.line(indent, "", head)
		if where := e.where(); where != "" {
			t.line(indent+4, dim, clean(clip(where, maxShown)))
		}
		if ok {
			return
		}
		indent += 4
	}
	for _, line := range e.lines(limit) {
		switch text := clean(line.Text); line.Op {
		case LineRemoved:
			t.line(indent, red, "- "+text)
		case LineAdded:
			t.line(indent, green, "+ "+text)
		case LineNote:
			t.line(indent, dim, "  "+text)
		default:
			t.line(indent, "", "  "+text)
		}
	}
}

func (c Change) color() color {
	switch c {
	case Added:
		return green
	case Removed:
		return red
	}
	return yellow
}

// Summary counts the objects, in words of this package only: "1 added, 3 changed, 120 unchanged".
func (c Changes) Summary() string {
	if c.Empty() {
		return fmt.Sprintf("no changes in %s", plural(c.Counts.Unchanged, "object"))
	}
	if len(c.Objects) == 0 {
		return fmt.Sprintf("no changes but noise, in %s", plural(c.Noise.Objects, "object"))
	}
	var parts []string
	for _, count := range []struct {
		n    int
		what string
	}{
		{c.Counts.Added, "added"}, {c.Counts.Removed, "removed"}, {c.Counts.Changed, "changed"},
		{c.Counts.Renamed, "renamed"}, {c.Counts.Unchanged, "unchanged"},
	} {
		if count.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count.n, count.what))
		}
	}
	return strings.Join(parts, ", ")
}

// WriteJSON writes the changes as one indented JSON object: the fields of [Changes] as their tags name them.
func (c Changes) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(c)
}
