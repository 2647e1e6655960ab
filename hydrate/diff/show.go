package diff

import (
	"bytes"
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lockage/lockage/internal/terminal"
)

// maxShown is how many bytes of a string of one line are shown to people.
const maxShown = 300

// lines returns the change as lines of YAML, removed and added, at most limit of them.
func (f FieldChange) lines(limit int) []Line {
	out := f.Lines
	if out == nil {
		before, after := f.Before, f.After
		if b, ok := before.(string); ok {
			if a, ok := after.(string); ok {
				before, after = shorten(b, a, maxShown)
			}
		}
		if f.Change != Added {
			out = appendYAML(out, LineRemoved, before)
		}
		if f.Change != Removed {
			out = appendYAML(out, LineAdded, after)
		}
	}
	if len(out) > limit {
		more := len(out) - limit
		out = append(out[:limit:limit], Line{LineNote, "… " + plural(more, "more line")})
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
		out = append(out, Line{op, clip(line, maxLine)})
	}
	return out
}

// inline returns the values of a change that fits a line, "1 → 2", and whether it does.
func (f FieldChange) inline(limit int) (string, bool) {
	list := f.lines(limit)
	var parts []string
	length := 0
	for _, line := range list {
		if line.Op == LineNote || line.Op == LineSame {
			return "", false
		}
		text := clean(line.Text)
		parts = append(parts, text)
		length += len(text)
	}
	removed, added := len(list) > 0 && list[0].Op == LineRemoved, len(list) > 0 && list[len(list)-1].Op == LineAdded
	switch {
	case length > limit || f.Lines != nil:
		return "", false
	case len(parts) == 1, len(parts) == 2 && removed && added:
		return strings.Join(parts, " → "), true
	}
	return "", false
}

// clean writes what a terminal obeys or an eye misses as an escape.
func clean(s string) string { return terminal.Escape(s, "\t") }

// mark is the sign of a change in front of a name.
func (c Change) mark() string {
	switch c {
	case Added:
		return "+"
	case Removed:
		return "-"
	case Renamed:
		return ">"
	}
	return "~"
}

// title names an object for people, cleaned.
func (o ObjectChange) title() string {
	s := o.String()
	if o.Change == Renamed {
		s += " (was " + o.BeforeName + ")"
	}
	return clean(clip(s, maxShown))
}
