package verify_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// declare adds identities to the pipeline app: the promoter, and one for each kind that cannot be used.
func (s *scene) declare(promoter *sign.Key) {
	s.t.Helper()
	text := string(s.files["app.yaml"].Data)
	text = strings.Replace(text, "stages:", `  promoter: {key: keys/promoter.pub}
  lost: {key: keys/lost.pub}
  keyless: {issuer: https://accounts.example.com, subject: ada@example.com}
sigstore: {trustedRoot: keys/root.json}
stages:`, 1)
	s.files["app.yaml"] = &fstest.MapFile{Data: []byte(text)}
	s.files["keys/promoter.pub"] = &fstest.MapFile{Data: promoter.PublicKey().PEM()}
	var err error
	if s.pipelines, err = pipeline.Load(s.files, nil, "app.yaml", "other.yaml"); err != nil {
		s.t.Fatal(err)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	promoter := testworld.Key(t)
	attested := func(predicateType string, change func(*sign.Claim)) func(*scene, *hydration) []sign.Statement {
		return func(s *scene, h *hydration) []sign.Statement {
			claim := h.claim
			change(&claim)
			statement := sign.NewSignature(s.push(h).Digest, claim)
			statement.PredicateType = predicateType
			return []sign.Statement{statement}
		}
	}
	same := func(*sign.Claim) {}
	for name, test := range map[string]struct {
		statements func(*scene, *hydration) []sign.Statement
		identities []string
		reason     string // of the denial; "" for none
	}{
		"signed":               {attested(sign.PredicateSignature, same), []string{"promoter", "hydrator"}, ""},
		"not signed":           {nil, []string{"promoter"}, "no signature by promoter; not signed by promoter"},
		"another statement":    {attested("https://lockage.dev/promotion/v1", same), []string{"promoter"}, "no signature by promoter"},
		"for another stage":    {attested(sign.PredicateSignature, func(c *sign.Claim) { c.Stage = "staging" }), []string{"promoter"}, `stage "staging" instead`},
		"for another pipeline": {attested(sign.PredicateSignature, func(c *sign.Claim) { c.Pipeline = "other" }), []string{"promoter"}, `pipeline "other"`},
		"for another release":  {attested(sign.PredicateSignature, func(c *sign.Claim) { c.Release = "git-" + older }), []string{"promoter"}, `release "git-` + older},
		"for another place":    {attested(sign.PredicateSignature, func(c *sign.Claim) { c.Repository = "example.com/x" }), []string{"promoter"}, `repository "example.com/x"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.declare(promoter)
			h := s.honest("production")
			desc := s.publish(h)
			if test.statements != nil {
				for _, statement := range test.statements(s, h) {
					if _, err := sign.Attest(t.Context(), h.repository, desc, promoter, statement); err != nil {
						t.Fatal(err)
					}
				}
			}
			r := s.request()
			r.Identities = test.identities
			report, err := verify.Artifact(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got := report.Checks.Reason(); (report.Result == policy.Pass) != (test.reason == "") || !strings.Contains(got, test.reason) {
				t.Errorf("%s: %s", report.Result, got)
			}
		})
	}
}

func TestIdentityThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	current, err := lock.Current(s.files, "locks/app")
	if err != nil {
		t.Fatal(err)
	}
	expand := func() pipeline.Expanded {
		declared, err := s.pipelines[0].Expand("production", current.Lock, s.files)
		if err != nil {
			t.Fatal(err)
		}
		return declared
	}
	if _, err := verify.Identity(s.files, expand(), pipeline.RolePromoter); !errors.Is(err, verify.ErrIdentity) || !strings.Contains(err.Error(), "nobody is trusted to promote") {
		t.Errorf("no promoter: %v", err)
	}
	promoter := testworld.Key(t)
	s.declare(promoter)
	v, err := verify.Identity(s.files, expand(), pipeline.RolePromoter)
	if err != nil {
		t.Fatal(err)
	}
	own, former := v.Trusts(promoter.Identity())
	if other, _ := v.Trusts(s.key.Identity()); !own || former || other {
		t.Errorf("promoter: trusts itself %v, as former %v, the hydrator %v", own, former, other)
	}
	for name, words := range map[string]string{"lost": "keys/lost.pub", "keyless": "keys/root.json", "nobody": "not declared"} {
		_, err := verify.Identity(s.files, expand(), "hydrator", name)
		if !errors.Is(err, verify.ErrIdentity) || !strings.Contains(err.Error(), "identities."+name) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
