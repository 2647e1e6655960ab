package diff

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	kjson "sigs.k8s.io/json"
)

// Bounds on texts that are treated as JSON.
const (
	maxJSON      = 4 << 20 // bytes
	maxJSONDepth = 64
)

// isJSON reports whether a text begins like a JSON map or list and is within bounds.
func isJSON(s string) bool {
	s = strings.TrimSpace(s)
	return s != "" && (s[0] == '{' || s[0] == '[') && len(s) <= maxJSON && depth(s) <= maxJSONDepth
}

// decodeJSON decodes a text that is a JSON map or list to the types that objects consist of. It refuses texts that lose
// something when decoded: a key given twice, or more than one document.
func decodeJSON(s string) (any, bool) {
	var value any
	decoder := json.NewDecoder(strings.NewReader(s))
	decoder.UseNumber()
	if !isJSON(s) || decoder.Decode(&value) != nil {
		return nil, false
	}
	strict, err := kjson.UnmarshalStrict([]byte(s), new(any))
	return mapScalars(value, number), err == nil && len(strict) == 0
}

// number converts a JSON number to the type that objects have. A number that would be written differently then stays as
// it was written, so that no difference is lost.
func number(scalar any) any {
	n, ok := scalar.(json.Number)
	if !ok {
		return scalar
	}
	if i, err := n.Int64(); err == nil && strconv.FormatInt(i, 10) == n.String() {
		return i
	}
	if f, err := n.Float64(); err == nil && strconv.FormatFloat(f, 'f', -1, 64) == n.String() {
		return f
	}
	return n
}

// indentJSON writes JSON maps and lists one value a line, and returns "" for anything else.
func indentJSON(s string) string {
	var b bytes.Buffer
	if !isJSON(s) || json.Indent(&b, []byte(strings.TrimSpace(s)), "", "  ") != nil {
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
