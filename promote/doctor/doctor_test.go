package doctor

import (
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/hydrate/pipeline"
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
