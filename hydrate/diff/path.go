package diff

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Path is the way to a field. Its text is `spec.template.spec.containers[name=app].image` or
// `metadata.labels["helm.sh/chart"]`.
type Path []step

// step is one step of a path: to the value of a key, or to an item of a list.
type step struct {
	name string // the key, or the text in the brackets: "name=app", "0"
	item bool
}

// key returns the path extended by a key. The receiver is not changed.
func (p Path) key(name string) Path { return append(p[:len(p):len(p)], step{name: name}) }

func (p Path) item(name string) Path { return append(p[:len(p):len(p)], step{name: name, item: true}) }

func (p Path) index(i int) Path { return p.item(strconv.Itoa(i)) }

func (p Path) String() string {
	var b strings.Builder
	for _, s := range p {
		switch {
		case s.item:
			b.WriteString("[" + s.name + "]")
		case isSimple(s.name, "_-$"):
			b.WriteString("." + s.name)
		default:
			b.WriteString("[" + strconv.Quote(s.name) + "]")
		}
	}
	return strings.TrimPrefix(b.String(), ".")
}

// isSimple reports whether a text consists of letters, digits and certain others, and so needs no quotes in a path.
func isSimple(s, others string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(others, r)
	})
}

// MarshalText writes the path as its text.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the text of a path.
func (p *Path) UnmarshalText(text []byte) error {
	const maxSteps = 1000 // far above what objects may be nested
	var err error
	*p, err = parseSteps(string(text), maxSteps)
	return err
}

// parseSteps reads the steps of a path or pattern.
func parseSteps(text string, limit int) (Path, error) {
	var p Path
	for text != "" {
		if len(p) == limit {
			return nil, fmt.Errorf("more than %d steps", limit)
		}
		if len(p) > 0 && text[0] != '[' {
			var dot bool
			if text, dot = strings.CutPrefix(text, "."); !dot {
				return nil, errors.New("a dot is missing")
			}
		}
		s, rest, err := parseStep(text)
		if err != nil {
			return nil, err
		}
		p, text = append(p, s), rest
	}
	return p, nil
}

// parseStep reads the first step of a text, without the dot before it.
func parseStep(text string) (s step, rest string, err error) {
	if strings.HasPrefix(text, `["`) {
		quoted, err := strconv.QuotedPrefix(text[1:])
		if err != nil {
			return s, "", errors.New("a quote is not closed")
		}
		key, err := strconv.Unquote(quoted)
		rest, closed := strings.CutPrefix(text[1+len(quoted):], "]")
		if err != nil || !closed {
			return s, "", errors.New("a bracket is not closed")
		}
		return step{name: key}, rest, nil
	}
	if strings.HasPrefix(text, "[") {
		// The value of a list's key may be quoted, and then contain brackets.
		end := strings.IndexByte(text, ']')
		if i := strings.IndexByte(text, '"'); i >= 0 && i < end {
			if quoted, err := strconv.QuotedPrefix(text[i:]); err == nil {
				end = i + len(quoted) + strings.IndexByte(text[i+len(quoted):], ']')
			}
		}
		if end < 2 {
			return s, "", errors.New("a bracket is not closed, or empty")
		}
		return step{name: text[1:end], item: true}, text[end+1:], nil
	}
	end := strings.IndexAny(text, ".[")
	if end < 0 {
		end = len(text)
	}
	if end == 0 {
		return s, "", errors.New("a key is empty")
	}
	return step{name: text[:end]}, text[end:], nil
}

// is reports whether the path consists of these keys.
func (p Path) is(keys ...string) bool { return len(p) == len(keys) && p.below(keys...) }

// below reports whether the path begins with these keys.
func (p Path) below(keys ...string) bool {
	return len(p) >= len(keys) && slices.EqualFunc(p[:len(keys)], keys, func(s step, key string) bool { return s == step{name: key} })
}

// lastKey returns the last key on the path: of the field itself, or of the list that contains it.
func (p Path) lastKey() string {
	for _, s := range slices.Backward(p) {
		if !s.item {
			return s.name
		}
	}
	return ""
}

func (p Path) items() []string {
	var names []string
	for _, s := range p {
		if s.item {
			names = append(names, s.name)
		}
	}
	return names
}

// general returns the path with a star for each list item.
func (p Path) general() Path {
	out := slices.Clone(p)
	for i := range out {
		if out[i].item {
			out[i].name = "*"
		}
	}
	return out
}

// pattern is a [Path] with wildcards: `*` within a step, and anySteps.
type pattern Path

// anySteps matches any number of steps.
var anySteps = step{name: "**"}

// Bounds on a pattern: each `**` multiplies the ways that a path can match by its length.
const (
	maxPatternSteps = 32
	maxAnySteps     = 2
)

// parsePattern reads the text of a path with `*` and `**`.
func parsePattern(text string) (pattern, error) {
	steps, err := parseSteps(text, maxPatternSteps)
	wild := 0
	for _, s := range steps {
		if s == anySteps {
			wild++
		}
	}
	switch {
	case err != nil:
	case len(steps) == 0:
		err = errors.New("it is empty")
	case wild > maxAnySteps:
		err = fmt.Errorf("more than %d times **", maxAnySteps)
	default:
		return pattern(steps), nil
	}
	return nil, fmt.Errorf("noise pattern %.200q: %w; write it like metadata.labels[\"example.com/*\"]", text, err)
}

// matches reports whether the pattern covers the path.
func (p pattern) matches(at Path) bool {
	if len(p) == 0 {
		return true
	}
	if p[0] == anySteps && p[1:].matches(at) {
		return true
	}
	if len(at) == 0 {
		return false
	}
	if p[0] == anySteps {
		return p.matches(at[1:])
	}
	return p[0].item == at[0].item && glob(p[0].name, at[0].name) && p[1:].matches(at[1:])
}

// glob reports whether s matches a text in which `*` means any characters.
func glob(text, s string) bool {
	part, text, wild := strings.Cut(text, "*")
	s, ok := strings.CutPrefix(s, part)
	for ok && wild {
		if part, text, wild = strings.Cut(text, "*"); !wild {
			return strings.HasSuffix(s, part)
		}
		_, s, ok = strings.Cut(s, part)
	}
	return ok && s == ""
}
