package diff

import (
	"errors"
	"fmt"
	"strings"
)

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

// glob reports whether s matches a text in which `*` means any characters.
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
