package verify_test

import (
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// TestGives compares hydrations at one GitOps commit, where all that is read of that is equal: a chart repository may have replaced
// an archive between them.
func TestGives(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	e := s.entry(s.honest("staging"), s.push(s.honest("staging")))
	hydration := func(on bool, options string, charts ...string) policy.Hydration {
		p := verify.Provenance(e, "registry.test/acme/app", 1, nil)
		p.File, p.Options = "app.yaml", []byte(options)
		for i := 0; i < len(charts); i += 2 {
			p.Dependencies = append(p.Dependencies, sign.ResourceDescriptor{
				Name: verify.DependencyChart, URI: charts[i], Digest: sign.DigestSet(digest.FromString(charts[i+1])),
			})
		}
		statement, err := sign.NewProvenance(e.Digest, p)
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := sign.Sign(t.Context(), s.key, statement)
		if err != nil {
			t.Fatal(err)
		}
		verified, _ := testworld.Verifier(t, "hydrator", s.key).Verify(e.Digest, []sign.Bundle{bundle})
		return policy.Hydration{Statements: verified, OnPolicyRef: map[string]bool{gitOps: on}}
	}
	made := verify.Made{Stage: "production", Commit: gitOps, Hydration: hydration(true, "{}", "redis", "1", "postgres", "1")}
	for name, test := range map[string]struct {
		other policy.Hydration
		want  bool
		says  string
	}{
		"equal":                  {hydration(true, "{}", "postgres", "1", "redis", "1"), true, ""},
		"a chart less":           {hydration(true, "{}", "redis", "1"), true, ""}, // what the stages declare decides
		"another chart":          {hydration(true, "{}", "redis", "1", "postgres", "2"), false, "chart postgres is another one"},
		"not on the policy ref":  {hydration(false, "{}", "redis", "1", "postgres", "1"), false, ""},
		"never hydrated":         {policy.Hydration{}, false, ""},
		"one of two, the second": {policy.Hydration{Statements: append(hydration(true, "{}", "redis", "2").Statements, hydration(true, "{}", "redis", "1").Statements...), OnPolicyRef: map[string]bool{gitOps: true}}, true, ""},
	} {
		ok, difference, _, err := made.Gives(t.Context(), "staging", test.other, testworld.History{gitOps}, "app.yaml")
		if err != nil || ok != test.want || difference != test.says {
			t.Errorf("%s: %v, %q, %v", name, ok, difference, err)
		}
	}
	made.Hydration = hydration(true, "", "redis", "1")
	if ok, difference, _, err := made.Gives(t.Context(), "staging", made.Hydration, testworld.History{gitOps}, "app.yaml"); err != nil || ok || difference != "the provenance does not say what was read" {
		t.Errorf("nobody says what was read: %v, %q, %v", ok, difference, err)
	}
}
