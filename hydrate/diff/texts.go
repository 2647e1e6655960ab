package diff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds on what is kept of texts.
const (
	maxString     = 4096    // bytes of a string
	maxLines      = 1000    // of a comparison of two texts
	maxLine       = 1024    // bytes of a line in it
	contextLines  = 3       // shown around a change
	maxJSON       = 4 << 20 // bytes of JSON that is indented for reading
	maxJSONDepth  = 64
	maxLinesInput = 200_000 // of a text that is compared line by line
)

// report returns the field as it is shown.
func (f field) report() FieldChange {
	c := FieldChange{Path: f.path.String(), Inside: f.inside.String(), Change: f.change, Noise: f.noise}
	was, text := f.was.(string)
	now, texts := f.now.(string)
	if text && texts {
		if c.Lines = compareTexts(was, now); c.Lines == nil {
			c.Before, c.After = shorten(was, now, maxString)
		}
		return c
	}
	c.Before, c.After = shown(f.was), shown(f.now)
	return c
}

// shown returns a copy of value to show: long strings cut, hidden values by their description.
func shown(value any) any {
	switch value := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, v := range value {
			out[key] = shown(v)
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, v := range value {
			out[i] = shown(v)
		}
		return out
	case string:
		return clip(value, maxString)
	case hidden:
		return value.String()
	}
	return value
}

// clip cuts a text off after limit bytes and says how much is missing.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	head := s[:limit]
	for !utf8.RuneStart(s[len(head)]) {
		head = head[:len(head)-1]
	}
	return fmt.Sprintf("%s… (%d bytes more)", head, len(s)-len(head))
}

// shorten cuts two texts that differ to what differs, with some of what stands around it, if one is longer than limit.
func shorten(a, b string, limit int) (shortA, shortB string) {
	if len(a) <= limit && len(b) <= limit {
		return a, b
	}
	prefix, suffix := shared(a, b)
	context := limit / 8
	cut := func(s string) string {
		from, to := max(0, prefix-context), min(len(s), len(s)-suffix+context)
		for from > 0 && !utf8.RuneStart(s[from]) {
			from--
		}
		for to < len(s) && !utf8.RuneStart(s[to]) {
			to++
		}
		out := clip(s[from:to], limit)
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

// compareTexts compares two texts line by line. It returns nil if both are of one line and no JSON.
func compareTexts(was, now string) []Line {
	if !strings.Contains(was, "\n") && !strings.Contains(now, "\n") {
		o, n := indented(was), indented(now)
		if o == "" || n == "" || o == n {
			return nil
		}
		return append([]Line{{LineNote, "JSON, indented for reading"}}, compareLines(o, n)...)
	}
	return compareLines(was, now)
}

func compareLines(was, now string) []Line {
	o, oldEnds := lines(was)
	n, newEnds := lines(now)
	out := hunks(o, n)
	switch {
	case oldEnds && !newEnds:
		out = append(out, Line{LineNote, "newline at the end removed"})
	case newEnds && !oldEnds:
		out = append(out, Line{LineNote, "newline at the end added"})
	}
	if len(out) > maxLines {
		more := len(out) - maxLines
		out = append(out[:maxLines:maxLines], Line{LineNote, fmt.Sprintf("… %d more lines", more)})
	}
	return out
}

// lines splits a text and says whether its last line ends in a newline.
func lines(s string) ([]string, bool) {
	body, ends := strings.CutSuffix(s, "\n")
	return strings.SplitN(body, "\n", maxLinesInput), ends
}

// hunks returns the lines that differ and some around them.
func hunks(was, now []string) []Line {
	numbers := map[string]int{}
	number := func(list []string) []int {
		out := make([]int, len(list))
		for i, line := range list {
			n, met := numbers[line]
			if !met {
				n = len(numbers)
				numbers[line] = n
			}
			out[i] = n
		}
		return out
	}
	var out []Line
	add := func(op LineOp, list []string) {
		for _, line := range list {
			out = append(out, Line{op, clip(line, maxLine)})
		}
	}
	done := 0 // lines of old that are written or skipped
	found := gaps(number(was), number(now))
	for i, g := range found {
		from := max(done, g.a0-contextLines)
		if from > done {
			out = append(out, Line{LineNote, "… " + plural(from-done, "line") + " the same"})
		}
		add(LineSame, was[from:g.a0])
		if g.a1-g.a0 == 1 && g.b1-g.b0 == 1 {
			o, n := shorten(was[g.a0], now[g.b0], maxLine)
			out = append(out, Line{LineRemoved, o}, Line{LineAdded, n})
		} else {
			add(LineRemoved, was[g.a0:g.a1])
			add(LineAdded, now[g.b0:g.b1])
		}
		end := len(was)
		if i+1 < len(found) {
			end = found[i+1].a0
		}
		done = min(end, g.a1+contextLines)
		add(LineSame, was[g.a1:done])
	}
	return out
}

// indented returns JSON maps and lists one value a line, and "" for anything else.
func indented(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || s[0] != '{' && s[0] != '[' || len(s) > maxJSON || depth(s) > maxJSONDepth {
		return ""
	}
	var b bytes.Buffer
	if json.Indent(&b, []byte(s), "", "  ") != nil {
		return ""
	}
	return b.String()
}

// depth returns how deep brackets are nested in JSON.
func depth(s string) int {
	deepest, level, quoted := 0, 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}
