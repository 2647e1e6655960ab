package diff

import (
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	t.Parallel()
	image := Path{}.key("spec").key("containers").item("name=app").key("image")
	label := Path{}.key("spec").key("template").key("metadata").key("labels").key("helm.sh/chart")
	for _, test := range []struct {
		pattern string
		at      Path
		want    bool
	}{
		{"spec.containers[name=app].image", image, true},
		{"spec.containers[*].image", image, true},
		{"spec.containers[name=b*].image", image, false},
		{"spec.containers", image, true},
		{"spec.containers.image", image, false},
		{"containers", image, false},
		{"spec.container", image, false},
		{"spec.*[*].im*ge", image, true},
		{"**.image", image, true},
		{"**.spec.**.image", image, true},
		{"**", image, true},
		{"spec[*]", image, false},
		{`**.metadata.labels["helm.sh/chart"]`, label, true},
		{`**.metadata.labels["helm.sh/*"]`, label, true},
		{`**.labels["*/chart"]`, label, true},
		{`metadata.labels["helm.sh/chart"]`, label, false},
		{`a[name="x]y"].b`, Path{}.key("a").item(`name="x]y"`).key("b"), true},
		{"a*b*c", Path{}.key("abc"), true},
		{"a*a", Path{}.key("a"), false},
	} {
		p, err := parsePattern(test.pattern)
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		if got := p.matches(test.at); got != test.want {
			t.Errorf("%s matches %v: %t", test.pattern, test.at, got)
		}
	}
}

func TestPatternErrors(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"":                        "it is empty",
		"a..b":                    "a key is empty",
		"a.":                      "a key is empty",
		`a["b`:                    "a quote is not closed",
		`a["b"`:                   "a bracket is not closed",
		"a[b":                     "a bracket is not closed",
		"a[]":                     "a bracket is not closed, or empty",
		"a[0]b":                   "a dot is missing",
		"**.a.**.b.**":            "more than 2 times **",
		strings.Repeat("a.", 33):  "more than 32 steps",
		"metadata.labels[\"a\"]b": "a dot is missing",
	} {
		if _, err := parsePattern(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want it to say %q", pattern, err, want)
		}
	}
}

// FuzzPattern checks that what a path is written as is a pattern that covers it, whatever its keys are.
func FuzzPattern(f *testing.F) {
	f.Add("spec", "helm.sh/chart", "name")
	f.Add("a*", `"]`, "[")
	f.Add("", "\x00", "é")
	f.Fuzz(func(t *testing.T, first, second, value string) {
		item, ok := keyText(value)
		if !ok || first == "**" || second == "**" {
			return
		}
		at := Path{}.key(first).key(second).item("name=" + item)
		p, err := parsePattern(at.String())
		if err != nil {
			t.Fatalf("%v: %v", at, err)
		}
		if !p.matches(at) || !p.matches(at.key("below")) {
			t.Errorf("%v does not cover itself", at)
		}
		_, _ = parsePattern(value)
	})
}
