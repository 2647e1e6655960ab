package verify_test

import (
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// TestStates changes one fact of an entry at a time: its provenance does not say that any more.
func TestStates(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	h := s.honest("production")
	e := s.entry(h, s.push(h))
	key := testworld.Key(t)
	statement, err := sign.NewProvenance(e.Digest, verify.Provenance(e, "registry.test/acme/app", 1, nil))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := sign.Sign(t.Context(), key, statement)
	if err != nil {
		t.Fatal(err)
	}
	verified, _ := testworld.Verifier(t, "hydrator", key).Verify(e.Digest, []sign.Bundle{bundle})
	if len(verified) != 1 || !verify.States(verified[0], e) {
		t.Fatalf("a provenance does not say what it was made from: %v", verified)
	}
	other, commit := digest.FromString("other"), "0123456789012345678901234567890123456789"
	for name, change := range map[string]func(e *ledger.Entry){
		"pipeline":      func(e *ledger.Entry) { e.Pipeline = "other" },
		"stage":         func(e *ledger.Entry) { e.Stage = "other" },
		"release":       func(e *ledger.Entry) { e.Release = "git-" + commit },
		"repository":    func(e *ledger.Entry) { e.Repository = "registry.test/other" },
		"content":       func(e *ledger.Entry) { e.Content = other },
		"files":         func(e *ledger.Entry) { e.Files = "0123456789012345678901234567890123456789" },
		"input":         func(e *ledger.Entry) { e.Input = other },
		"image":         func(e *ledger.Entry) { e.Image = other },
		"no image":      func(e *ledger.Entry) { e.Image = "" },
		"source commit": func(e *ledger.Entry) { e.Source.Commit = commit },
		"source":        func(e *ledger.Entry) { e.Source.URL = "https://example.com/other.git" },
		"GitOps commit": func(e *ledger.Entry) { e.GitOps.Commit = commit },
		"GitOps":        func(e *ledger.Entry) { e.GitOps.URL = "https://example.com/other.git" },
	} {
		changed := e
		change(&changed)
		if verify.States(verified[0], changed) {
			t.Errorf("a provenance says another %s", name)
		}
	}
}
