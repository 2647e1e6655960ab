package diff

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/lockage/lockage/internal/terminal"
)

// What is shown around a change in long texts.
const (
	contextLines = 3
	contextBytes = 128 // in a long line
)

// Line is one line of a comparison of texts.
type Line struct {
	Op   LineOp `json:"op"`
	Text string `json:"text"`
}

// LineOp is what happened to a line.
type LineOp string

// The marks of lines. LineNote is a remark of this package, mostly for lines left out.
const (
	LineSame    LineOp = " "
	LineRemoved LineOp = "-"
	LineAdded   LineOp = "+"
	LineNote    LineOp = "@"
)

func (op LineOp) mark() string {
	if op == LineNote {
		return " "
	}
	return string(op)
}

// shown returns the change with values to show: texts compared by lines, hidden values described.
func (f FieldChange) shown() FieldChange {
	if before, after, ok := f.texts(); ok {
		if f.Lines = compareTexts(before, after); f.Lines != nil {
			f.Before, f.After = nil, nil
		}
		return f
	}
	show := func(scalar any) any {
		if scalar, ok := scalar.(hidden); ok {
			return scalar.String()
		}
		return scalar
	}
	f.Before, f.After = mapScalars(f.Before, show), mapScalars(f.After, show)
	return f
}

// compareTexts compares two texts line by line. It returns nil if both have one line and are not JSON.
func compareTexts(before, after string) []Line {
	if strings.Contains(before, "\n") || strings.Contains(after, "\n") {
		return compareLines(before, after)
	}
	before, after = indentJSON(before), indentJSON(after)
	if before == "" || after == "" || before == after {
		return nil
	}
	return append([]Line{{LineNote, "JSON, indented for reading"}}, compareLines(before, after)...)
}

func compareLines(before, after string) []Line {
	before, hadEnd := strings.CutSuffix(before, "\n")
	after, hasEnd := strings.CutSuffix(after, "\n")
	out := hunks(strings.Split(before, "\n"), strings.Split(after, "\n"))
	switch {
	case hadEnd && !hasEnd:
		out = append(out, Line{LineNote, "newline at the end removed"})
	case hasEnd && !hadEnd:
		out = append(out, Line{LineNote, "newline at the end added"})
	}
	return out
}

// hunks returns the lines that differ and some around them.
func hunks(before, after []string) []Line {
	var out []Line
	add := func(op LineOp, list []string) {
		for _, line := range list {
			out = append(out, Line{op, line})
		}
	}
	done := 0 // lines of before that are written or skipped
	found := gaps(before, after)
	for i, g := range found {
		from := max(done, g.a0-contextLines)
		if from > done {
			out = append(out, Line{LineNote, "… " + plural(from-done, "line") + " the same"})
		}
		add(LineSame, before[from:g.a0])
		if g.a1-g.a0 == 1 && g.b1-g.b0 == 1 {
			old, current := shorten(before[g.a0], after[g.b0])
			out = append(out, Line{LineRemoved, old}, Line{LineAdded, current})
		} else {
			add(LineRemoved, before[g.a0:g.a1])
			add(LineAdded, after[g.b0:g.b1])
		}
		end := len(before)
		if i+1 < len(found) {
			end = found[i+1].a0
		}
		done = min(end, g.a1+contextLines)
		add(LineSame, before[g.a1:done])
	}
	return out
}

// lines returns the change as lines of YAML, removed and added.
func (f FieldChange) lines() []Line {
	out := slices.Clip(f.Lines)
	if out == nil {
		if before, after, ok := f.texts(); ok {
			f.Before, f.After = shorten(before, after)
		}
		if f.Change != Added {
			out = appendYAML(out, LineRemoved, f.Before)
		}
		if f.Change != Removed {
			out = appendYAML(out, LineAdded, f.After)
		}
	}
	return out
}

func appendYAML(out []Line, op LineOp, value any) []Line {
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(value), encoder.Close()); err != nil {
		return append(out, Line{LineNote, "not shown: " + err.Error()})
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(b.String(), "\n"), "\n") {
		out = append(out, Line{op, line})
	}
	return out
}

// inline returns the values of a change that fits a line, "1 → 2", and whether it fits.
func (f FieldChange) inline(limit int) (string, bool) {
	var ops string
	var parts []string
	for _, line := range f.lines() {
		ops += string(line.Op)
		parts = append(parts, clean(line.Text))
	}
	fits := f.Lines == nil && (ops == "-" || ops == "+" || ops == "-+") && len(strings.Join(parts, "")) <= limit
	return strings.Join(parts, " → "), fits
}

// maxShown bounds the bytes of a string of one line that are shown to people.
const maxShown = 300

// clean escapes what a terminal obeys or an eye misses.
func clean(s string) string { return terminal.Escape(s, "\t") }

// clip cuts a text after limit bytes, at a character, and appends the number of bytes cut.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes more)", s[:end], len(s)-end)
}

// shorten takes off two different texts what both begin and end with, but for some text around the difference.
func shorten(a, b string) (shortA, shortB string) {
	prefix, suffix := shared(a, b)
	cut := func(s string) string {
		from, to := max(0, prefix-contextBytes), min(len(s), len(s)-suffix+contextBytes)
		for from > 0 && !utf8.RuneStart(s[from]) {
			from--
		}
		for to < len(s) && !utf8.RuneStart(s[to]) {
			to++
		}
		out := s[from:to]
		if from > 0 {
			out = "…" + out
		}
		if to < len(s) {
			out += "…"
		}
		return out
	}
	return cut(a), cut(b)
}

// atMost returns the first items of a list, and the number of the others as the last item.
func atMost(list []string, limit int) []string {
	if more := len(list) - limit; more > 0 {
		return append(list[:limit:limit], fmt.Sprintf("… %d more", more))
	}
	return list
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
