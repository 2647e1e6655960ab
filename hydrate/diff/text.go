package diff

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
)

// Bounds on the text output.
const (
	textInline = 100 // bytes of a change in the line of its path
	textWidth  = 96  // bytes of a line that lists names
	textOthers = 12  // objects that share a risk
)

// TextOptions configures text.
type TextOptions struct {
	Color bool // with ANSI colours; the caller knows whether w is a terminal
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

// textPage collects the text. Words of manifests are cleaned before they are added.
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

// WriteText writes the changes for a terminal: the summary, images and risks, then the objects with their fields.
func (c Changes) WriteText(w io.Writer, options TextOptions) error {
	t := &textPage{colored: options.Color}
	t.line(0, bold, c.Summary())
	if noise := c.Noise.summary(clean); noise != "" {
		t.line(0, dim, noise)
	}
	if len(c.Images) > 0 {
		t.line(0, "", "")
		t.line(0, bold, "Images")
	}
	for _, image := range c.Images {
		repository, change := image.summary()
		t.line(2, "", fmt.Sprintf("%s: %s (%s)", clean(repository), clean(change), plural(image.Objects, "object")))
	}
	risks := c.loudRisks()
	if len(risks) > 0 {
		t.line(0, "", "")
		t.line(0, bold, "Risks")
	}
	for _, r := range risks {
		mark, color := r.textMark()
		t.wrapped(2, color, mark+r.Message+": ", atMost(r.objects, textOthers))
	}
	for _, b := range c.bundles() {
		t.line(0, "", "")
		t.object(*b)
	}
	_, err := w.Write(t.Bytes())
	return err
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
		if r.inFields() {
			continue
		}
		mark, color := r.textMark()
		s := mark + r.Message
		if len(r.Details) > 0 {
			s += ": " + clean(strings.Join(r.Details, ", "))
		}
		t.line(4, color, s)
	}
	for _, e := range b.entries {
		t.entry(e)
	}
	if b.remark != "" {
		t.line(4, dim, b.remark)
	}
}

func (r Risk) textMark() (string, color) {
	switch r.Level {
	case Danger:
		return "!! ", red
	case Warning:
		return "!  ", yellow
	}
	return "   ", dim
}

func (t *textPage) entry(e entry) {
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
			value, ok = clean(repository+" "+change), true
		}
		if ok {
			head += ": " + value
		}
		t.line(indent, "", head)
		if where := e.where(); where != "" {
			t.line(indent+4, dim, clean(where))
		}
		if ok {
			return
		}
		indent += 4
	}
	colors := map[LineOp]color{LineRemoved: red, LineAdded: green, LineNote: dim}
	for _, line := range e.lines() {
		t.line(indent, colors[line.Op], line.Op.mark()+" "+clean(line.Text))
	}
}

func (c Change) color() color {
	return cmp.Or(map[Change]color{Added: green, Removed: red}[c], yellow)
}
