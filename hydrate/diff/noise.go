package diff

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds on patterns, and on how many of them are named to people.
const (
	maxPatterns = 200
	maxLabels   = 10
	maxLabel    = 60 // bytes
)

// DefaultNoise returns the patterns that are noise unless [Options] say otherwise: what charts stamp on every object of
// every version, and what controllers fill in. Selectors are not among them: there the same label decides what runs.
func DefaultNoise() []string {
	return []string{
		`**.metadata.labels["helm.sh/chart"]`,
		`**.metadata.labels.chart`, // as charts of Helm 2 wrote it, and some still do
		`**.metadata.labels["app.kubernetes.io/version"]`,
		`**.metadata.labels["app.kubernetes.io/managed-by"]`,
		`**.metadata.annotations["checksum/*"]`,
		`metadata.annotations["controller-gen.kubebuilder.io/version"]`, // on definitions of custom resources
		`metadata.annotations["operator.prometheus.io/version"]`,
		`**.caBundle`,
	}
}

// folder takes noise out of pairs and counts it.
type folder struct {
	patterns []pattern
	all      bool
	noise    Noise
	rules    []NoiseRule // one a pattern
}

func newFolder(options Options) (*folder, error) {
	texts := options.Noise
	if texts == nil {
		texts = DefaultNoise()
	}
	if len(texts) > maxPatterns {
		return nil, fmt.Errorf("%d noise patterns, more than %d; use * and ** in them", len(texts), maxPatterns)
	}
	f := &folder{all: options.All, noise: Noise{Rules: []NoiseRule{}}}
	var problems []error
	for _, text := range texts {
		p, err := parsePattern(text)
		if err != nil {
			problems = append(problems, err)
		}
		f.patterns = append(f.patterns, p)
		f.rules = append(f.rules, NoiseRule{Pattern: text})
	}
	return f, errors.Join(problems...)
}

// fold takes the noise out of the fields of an object and reports whether nothing else is left, in a quiet object. With
// all it marks the noise.
func (f *folder) fold(p *pair, quiet bool) bool {
	var rest []field
	met := map[int]bool{}
	for _, change := range p.fields {
		rule := f.rule(change)
		switch {
		case len(change.path) == 0 && !f.all:
			rest = append(rest, f.prune(change, met))
		case rule < 0:
			rest = append(rest, change)
		case f.all:
			change.noise = true
			rest = append(rest, change)
		default:
			f.noise.Fields++
			f.rules[rule].Fields++
			met[rule] = true
		}
	}
	for rule := range met {
		f.rules[rule].Objects++
	}
	p.fields = rest
	if len(rest) > 0 || !quiet {
		return false
	}
	f.noise.Objects++
	return true
}

// rule returns the index of the pattern that covers the change, or -1. Neither a whole object nor a field that the
// cluster refuses to change is noise; of a new or removed object the noise within is.
func (f *folder) rule(change field) int {
	if len(change.path) == 0 || change.immutable {
		return -1
	}
	return f.covering(slices.Concat(change.path, change.inside))
}

// covering returns the index of the pattern that covers the path, or -1.
func (f *folder) covering(at path) int {
	return slices.IndexFunc(f.patterns, func(p pattern) bool { return p.matches(at) })
}

// prune takes the noise out of an object that is new or removed.
func (f *folder) prune(whole field, met map[int]bool) field {
	var walk func(at path, value any) any
	walk = func(at path, value any) any {
		switch value := value.(type) {
		case map[string]any:
			out := make(map[string]any, len(value))
			for key, v := range value {
				here := at.to(key)
				if rule := f.covering(here); rule >= 0 {
					f.noise.Fields++
					f.rules[rule].Fields++
					met[rule] = true
					continue
				}
				left := walk(here, v)
				if m, ok := left.(map[string]any); ok && len(m) == 0 && splits(key, v) {
					continue
				}
				out[key] = left
			}
			return out
		case []any:
			out := make([]any, len(value))
			keys, _, keyed := keyed(at.key(), value, value)
			for i, item := range value {
				key := strconv.Itoa(i)
				if keyed {
					key = keys[i]
				}
				out[i] = walk(at.toItem(key), item)
			}
			return out
		}
		return value
	}
	whole.was, whole.now = walk(nil, whole.was), walk(nil, whole.now)
	return whole
}

// counted returns the noise with the rules that matched.
func (f *folder) counted() Noise {
	for _, rule := range f.rules {
		if rule.Fields > 0 {
			f.noise.Rules = append(f.noise.Rules, rule)
		}
	}
	return f.noise
}

// summary says what was folded, in one line, or "" if nothing was: "12 objects changed only in noise (helm.sh/chart 12)".
// The names of rules are written by quote.
func (n Noise) summary(quote func(string) string) string {
	if n.Fields == 0 {
		return ""
	}
	var rules []string
	for i, rule := range n.Rules {
		if i == maxLabels {
			rules = append(rules, fmt.Sprintf("… %d more", len(n.Rules)-i))
			break
		}
		rules = append(rules, fmt.Sprintf("%s %d", quote(clip(rule.label(), maxLabel)), rule.Objects))
	}
	s := plural(n.Fields, "field") + " of noise folded (" + strings.Join(rules, ", ") + ")"
	if n.Objects > 0 {
		s = plural(n.Objects, "object") + " changed only in noise; " + s
	}
	return s
}

// label returns the last key of the pattern, which is what people call it by.
func (r NoiseRule) label() string {
	p, err := parsePattern(r.Pattern)
	if err != nil {
		return r.Pattern
	}
	return path(p).key()
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
