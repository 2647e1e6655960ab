package doctor

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/forge"
)

func TestOwned(t *testing.T) {
	t.Parallel()
	for rules, want := range map[string]bool{
		"":                                false,
		"# apps/shop/lockage.yaml @team":  false,
		"/apps/shop/lockage.yaml":         false, // nobody is named
		"/apps/shop/lockage.yaml @team":   true,
		"lockage.yaml @team":              true,
		"/apps/ @team":                    true,
		"apps/** @team":                   true,
		"* @team":                         true,
		"/warehouses/ @bot\n*.md @writer": false,
	} {
		if got := owned(rules, "apps/shop/lockage.yaml"); got != want {
			t.Errorf("%q: %t", rules, got)
		}
	}
}

// An identity without a key is compared by issuer and subject.
func TestKeyOf(t *testing.T) {
	t.Parallel()
	declared := pipeline.Expanded{Identities: map[string]pipeline.Identity{
		"promoter": {Issuer: "https://issuer.example.com", Subject: "ci"},
		"hydrator": {Key: "keys/none.pub"},
		"kms":      {Key: "awskms://x"},
	}}
	if got, err := keyOf(fstest.MapFS{}, declared, "promoter"); err != nil || got != "ci of https://issuer.example.com" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := keyOf(fstest.MapFS{}, declared, "kms"); err != nil || got != "" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := keyOf(fstest.MapFS{}, declared, "hydrator"); err == nil {
		t.Error("a missing key was accepted")
	}
}

// TestJudged has rules that allow too much, one at a time.
func TestJudged(t *testing.T) {
	t.Parallel()
	main, live := branch{"main", true}, branch{name: "live/web/production"}
	safe := forge.Protection{Covered: true, Pushers: []string{"bot"}}
	for want, test := range map[string]struct {
		of    branch
		rules forge.Protection
	}{
		"pushers":            {live, safe},
		"unprotected-branch": {live, forge.Protection{Anybody: true, Force: true, Delete: true}},
		"pushed-by-anybody":  {live, forge.Protection{Covered: true, Anybody: true}},
		"pushed-past-review": {main, forge.Protection{Covered: true, Anybody: true}},
		"force-push":         {live, forge.Protection{Covered: true, Force: true}},
		"deletion":           {live, forge.Protection{Covered: true, Delete: true}},
		"rebase":             {main, forge.Protection{Covered: true, Rebase: true}},
	} {
		found := judged("forge/acme/env", []branch{main, live}, []forge.Protection{{Covered: true}, {Covered: true, Rebase: true}})
		if len(found) != 0 {
			t.Errorf("nothing is wrong: %v", found)
		}
		found = judged("forge/acme/env", []branch{test.of}, []forge.Protection{test.rules})
		if len(found) != 1 || found[0].Finding != want || (found[0].Next == "") != (found[0].Severity == Good) {
			t.Errorf("%s: %+v", want, found)
		}
	}
	var many []string
	for i := range 10 {
		many = append(many, fmt.Sprint(i))
	}
	if got := listed(slices.Clone(many)); got != "0, 1, 2, 3, 4, 5 and 4 more" {
		t.Error(got)
	}
}

// TestSigned has artifacts with signatures in both forms, in one of them, and in none.
func TestSigned(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bundles, signatures int
		older               bool
		want                map[string]Severity // of what is not ok
	}{
		"both":                    {2, 1, true, nil},
		"a bundle":                {2, 1, false, map[string]Severity{"cosign-2": Warning}}, // as keyless signing with Rekor v2 leaves it
		"the older form":          {0, 0, true, map[string]Severity{"cosign-3": Bad}},
		"it, and other bundles":   {1, 0, true, map[string]Severity{"cosign-3": Bad, "flux": Bad}},
		"none":                    {0, 0, false, map[string]Severity{"cosign-3": Bad, "cosign-2": Bad, "flux": Bad, "kyverno": Bad}},
		"none, and other bundles": {1, 0, false, map[string]Severity{"cosign-3": Bad, "cosign-2": Bad, "flux": Bad, "kyverno": Bad}},
	} {
		found := map[string]Severity{}
		for _, f := range signed("x", c.bundles, c.bundles, c.signatures, c.older) {
			if f.Severity != Good {
				found[f.Finding] = f.Severity
			}
			if (f.Severity == Good) != (f.Next == "") {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if !maps.Equal(found, c.want) {
			t.Errorf("%s: %v, not %v", name, found, c.want)
		}
	}
}
