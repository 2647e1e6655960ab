package diff

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate"
)

// Bounds on patterns, and on how many of them are named to people.
const (
	maxPatterns = 200
	maxLabels   = 10
	maxLabel    = 60 // bytes
)

// DefaultNoise returns the patterns of what is noise by default: the versions and checksums that charts write on every object,
// and `caBundle`, which controllers fill in. Without patterns of the user's they fold only what cannot matter: see [usual].
func DefaultNoise() []string {
	return []string{
		`**.metadata.labels["helm.sh/chart"]`,
		`**.metadata.labels.chart`, // of charts for Helm 2, and some later ones
		`**.metadata.labels["app.kubernetes.io/version"]`,
		`**.metadata.annotations["checksum/*"]`,
		`metadata.annotations["controller-gen.kubebuilder.io/version"]`, // on definitions of custom resources
		`metadata.annotations["operator.prometheus.io/version"]`,
		`**.caBundle`,
	}
}

// noiseFilter removes noise from comparisons and counts it.
type noiseFilter struct {
	patterns []pattern
	usual    *usual // nil for patterns of the user's, which fold whatever they match
	all      bool
	noise    Noise // with a rule for each pattern
}

func newNoiseFilter(options Options, objects ...[]hydrate.Object) (*noiseFilter, error) {
	texts := options.Noise
	var own *usual
	if texts == nil {
		texts, own = DefaultNoise(), &usual{objects: objects, known: map[string]bool{}}
	}
	if len(texts) > maxPatterns {
		return nil, fmt.Errorf("%d noise patterns, more than %d; use * and ** in them", len(texts), maxPatterns)
	}
	n := &noiseFilter{usual: own, all: options.All, noise: Noise{Rules: []NoiseRule{}}}
	var problems []error
	for _, text := range texts {
		p, err := parsePattern(text)
		problems = append(problems, err)
		n.patterns = append(n.patterns, p)
		n.noise.Rules = append(n.noise.Rules, NoiseRule{Pattern: text})
	}
	return n, errors.Join(problems...)
}

// fold removes noise from the fields of an object and reports whether no other field is left, if the object is quiet. With
// all it marks the noise instead.
func (n *noiseFilter) fold(c *comparison, quiet bool) bool {
	var rest []FieldChange
	met := map[int]bool{} // rules
	for _, f := range c.fields {
		if whole := len(f.Path) == 0; whole && !n.all {
			f.Before, f.After = n.prune(c, nil, f.Before, met), n.prune(c, nil, f.After, met)
		} else if rule := n.rule(c, f); !whole && rule >= 0 && !c.immutable(f) {
			if !n.all {
				n.count(rule, met)
				continue
			}
			f.Noise = true
		}
		rest = append(rest, f)
	}
	for rule := range met {
		n.noise.Rules[rule].Objects++
	}
	c.fields = rest
	if len(rest) > 0 || !quiet {
		return false
	}
	n.noise.Objects++
	return true
}

// rule returns the index of the pattern by which a change of an object is noise, or -1.
func (n *noiseFilter) rule(c *comparison, f FieldChange) int {
	at := slices.Concat(f.Path, f.Inside)
	rule := slices.IndexFunc(n.patterns, func(p pattern) bool { return p.matches(at) })
	if rule >= 0 && n.usual != nil && !n.usual.folds(c, f) {
		return -1
	}
	return rule
}

func (n *noiseFilter) count(rule int, met map[int]bool) {
	n.noise.Fields++
	n.noise.Rules[rule].Fields++
	met[rule] = true
}

// prune returns a value of a new or removed object without the noise in it.
func (n *noiseFilter) prune(c *comparison, at Path, value any, met map[int]bool) any {
	switch value := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, v := range value {
			here := at.key(key)
			if rule := n.rule(c, FieldChange{Path: here, After: v}); rule >= 0 {
				n.count(rule, met)
				continue
			}
			left := n.prune(c, here, v, met)
			if m, ok := left.(map[string]any); ok && len(m) == 0 && splits(key, v) {
				continue
			}
			out[key] = left
		}
		return out
	case []any:
		out := make([]any, len(value))
		keys, _, keyed := sharedKeys(at.lastKey(), value, value)
		for i, item := range value {
			here := at.index(i)
			if keyed {
				here = at.item(keys[i])
			}
			out[i] = n.prune(c, here, item, met)
		}
		return out
	}
	return value
}

// summary returns what was folded in one line, or "" for nothing: "12 objects changed only in noise (helm.sh/chart 12)".
// Names of rules are written by quote.
func (n Noise) summary(quote func(string) string) string {
	if n.Fields == 0 {
		return ""
	}
	var rules []string
	for _, rule := range n.Rules {
		rules = append(rules, fmt.Sprintf("%s %d", quote(clip(rule.label(), maxLabel)), rule.Objects))
	}
	s := plural(n.Fields, "field") + " of noise folded (" + strings.Join(atMost(rules, maxLabels), ", ") + ")"
	if n.Objects > 0 {
		s = plural(n.Objects, "object") + " changed only in noise; " + s
	}
	return s
}

// label returns the last key of the pattern, by which people know it.
func (r NoiseRule) label() string {
	p, err := parsePattern(r.Pattern)
	if err != nil {
		return r.Pattern
	}
	return Path(p).lastKey()
}
