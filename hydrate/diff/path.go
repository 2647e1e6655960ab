package diff

import (
	"fmt"
	"strconv"
	"strings"
)

// step is one step of a path: to the value of a key, or to an item of a list.
type step struct {
	name string // the key, or what stands in the brackets: "name=app", "0"
	item bool
}

type path []step

// to returns the path one step further down. The receiver is not changed.
func (p path) to(name string) path { return append(p[:len(p):len(p)], step{name: name}) }

func (p path) toItem(name string) path {
	return append(p[:len(p):len(p)], step{name: name, item: true})
}

func (p path) String() string {
	var b strings.Builder
	for _, s := range p {
		b.WriteString(s.String())
	}
	return strings.TrimPrefix(b.String(), ".")
}

func (s step) String() string {
	switch {
	case s.item:
		return "[" + s.name + "]"
	case isSimple(s.name):
		return "." + s.name
	default:
		return "[" + strconv.Quote(s.name) + "]"
	}
}

// isSimple reports whether a key or the value of one stands in a path without quotes.
func isSimple(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '$'
	})
}

// is reports whether the path consists of these keys.
func (p path) is(keys ...string) bool { return len(p) == len(keys) && p.below(keys...) }

// below reports whether the path begins with these keys.
func (p path) below(keys ...string) bool {
	if len(p) < len(keys) {
		return false
	}
	for i, key := range keys {
		if p[i].item || p[i].name != key {
			return false
		}
	}
	return true
}

// key returns the last key on the path: of the field itself, or of the list that holds it.
func (p path) key() string {
	for i := len(p) - 1; i >= 0; i-- {
		if !p[i].item {
			return p[i].name
		}
	}
	return ""
}

// pattern is a compiled pattern of paths. anySteps stands for any number of steps.
type pattern []step

var anySteps = step{name: "**"}

// Bounds on a pattern: each `**` multiplies the ways that a path can match by its length.
const (
	maxPatternSteps = 32
	maxAnySteps     = 2
)

// parsePattern reads what [path.String] writes, with `*` and `**`.
func parsePattern(text string) (pattern, error) {
	steps, why := parseSteps(text, maxPatternSteps)
	anys := 0
	for _, s := range steps {
		if s == anySteps {
			anys++
		}
	}
	switch {
	case why != "":
	case len(steps) == 0:
		why = "it is empty"
	case anys > maxAnySteps:
		why = fmt.Sprintf("more than %d times **", maxAnySteps)
	default:
		return pattern(steps), nil
	}
	return nil, fmt.Errorf("noise pattern %.200q: %s; write it like metadata.labels[\"example.com/*\"]", text, why)
}

// parsePath reads what [path.String] writes, and reports whether it is that.
func parsePath(text string) (path, bool) {
	const maxSteps = 1000 // far above what objects may be nested
	p, why := parseSteps(text, maxSteps)
	return p, why == ""
}

// parseSteps reads the steps of a path or pattern, or says what is wrong with it.
func parseSteps(text string, limit int) (p path, why string) {
	fail := func(why string) (path, string) { return nil, why }
	rest := text
	for rest != "" {
		if len(p) == limit {
			return fail(fmt.Sprintf("more than %d steps", limit))
		}
		switch {
		case strings.HasPrefix(rest, `["`):
			quoted, err := strconv.QuotedPrefix(rest[1:])
			if err != nil {
				return fail("a quote is not closed")
			}
			key, err := strconv.Unquote(quoted)
			if err != nil || !strings.HasPrefix(rest[1+len(quoted):], "]") {
				return fail("a bracket is not closed")
			}
			p, rest = append(p, step{name: key}), rest[len(quoted)+2:]
		case rest[0] == '[':
			// The value of a list's key may be quoted, and then hold brackets.
			end := strings.IndexByte(rest, ']')
			if i := strings.IndexByte(rest, '"'); i >= 0 && i < end {
				if quoted, err := strconv.QuotedPrefix(rest[i:]); err == nil {
					end = i + len(quoted) + strings.IndexByte(rest[i+len(quoted):], ']')
				}
			}
			if end < 2 {
				return fail("a bracket is not closed, or empty")
			}
			p, rest = append(p, step{name: rest[1:end], item: true}), rest[end+1:]
		default:
			if len(p) > 0 {
				if rest[0] != '.' {
					return fail("a dot is missing")
				}
				rest = rest[1:]
			}
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			if end == 0 {
				return fail("a key is empty")
			}
			p, rest = append(p, step{name: rest[:end]}), rest[end:]
		}
	}
	return p, ""
}

// matches reports whether the pattern covers the path.
func (p pattern) matches(at path) bool {
	if len(p) == 0 {
		return true
	}
	if p[0] == anySteps {
		for i := range len(at) + 1 {
			if p[1:].matches(at[i:]) {
				return true
			}
		}
		return false
	}
	return len(at) > 0 && p[0].item == at[0].item && glob(p[0].name, at[0].name) && p[1:].matches(at[1:])
}

// glob reports whether s matches a text in which `*` stands for any characters.
func glob(text, s string) bool {
	parts := strings.Split(text, "*")
	if len(parts) == 1 {
		return text == s
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, last)
}
