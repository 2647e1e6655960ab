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
	textLines  = 120 // of one field
	textInline = 100 // bytes of a change that stands in the line of its path
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

// WriteText writes the changes for a terminal: objects with their risks and fields, then images, and what it comes to.
func (c Changes) WriteText(w io.Writer, options TextOptions) error {
	t := &textPage{colored: options.Color}
	for _, o := range c.Objects {
		t.object(o)
	}
	if len(c.Images) > 0 {
		t.line(0, bold, "Images")
		for _, image := range c.Images {
			repository, change := image.summary()
			t.line(2, "", fmt.Sprintf("%s: %s (%s)", clean(clip(repository, maxShown)), clean(clip(change, maxShown)), plural(image.Objects, "object")))
		}
		t.WriteByte('\n')
	}
	t.line(0, bold, c.summary())
	if noise := c.Noise.summary(clean); noise != "" {
		t.line(0, dim, noise)
	}
	_, err := w.Write(t.Bytes())
	return err
}

func (t *textPage) object(o ObjectChange) {
	file := ""
	if o.File != "" {
		file = t.paint(dim, "  "+clean(clip(o.File, maxShown)))
	}
	t.line(0, "", t.paint(o.Change.color(), o.Change.mark()+" ")+t.paint(bold, o.title())+file)
	for _, r := range o.Risks {
		s := r.Message
		if len(r.Details) > 0 {
			s += ": " + clean(strings.Join(r.Details, ", "))
		}
		switch r.Level {
		case Danger:
			t.line(4, red, "!! "+s)
		case Warning:
			t.line(4, yellow, "!  "+s)
		default:
			t.line(4, dim, "   "+s)
		}
	}
	for _, f := range o.Fields {
		t.field(f)
	}
	if o.Omitted > 0 {
		t.line(4, dim, "… "+plural(o.Omitted, "more field"))
	}
	t.WriteByte('\n')
}

func (t *textPage) field(f FieldChange) {
	indent := 4
	if f.Path != "" {
		head := t.paint(f.Change.color(), f.Change.mark()) + " " + clean(f.Path)
		if f.Change == Reordered {
			head += t.paint(dim, " (reordered)")
		}
		if value, ok := f.inline(textInline); ok {
			t.line(indent, "", head+": "+value)
			return
		}
		t.line(indent, "", head)
		indent += 4
	}
	for _, line := range f.lines(textLines) {
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

// summary counts the objects: "1 added, 3 changed, 120 unchanged".
func (c Changes) summary() string {
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
