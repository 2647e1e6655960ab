package e2e

import (
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/testworld"
)

// docs runs the step of a page whose shell begins with a text, in a folder. Pairs are texts of the page and their values here.
func (w *world) docs(page, begin, folder string, pairs ...string) {
	w.t.Helper()
	root := w.path("trusted-root.json")
	write(w.t, root, `{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`)
	pairs = append(pairs, "ghcr.io/acme/shop-manifests", w.registry+"/acme/codeai-manifests", "lockage verify", w.bin+" verify",
		"cosign verify ", "cosign verify --allow-http-registry --trusted-root "+root+" ",
		"cosign verify-attestation ", "cosign verify-attestation --allow-http-registry --trusted-root "+root+" ")
	found := 0
	for _, step := range testworld.Steps(read(w.t, "../../"+page)) {
		if strings.HasPrefix(step.Shell, begin) {
			found++
			w.command(folder, "bash", "-e", "-o", "pipefail", "-c", strings.NewReplacer(pairs...).Replace(step.Shell))
		}
	}
	if found != 1 {
		w.t.Errorf("%s: %d steps begin with %q", page, found, begin)
	}
}

// statement finds the bundle of an exported proof whose command has a text.
func (w *world) statement(commands []string, text string) string {
	w.t.Helper()
	for _, command := range commands {
		if _, after, found := strings.Cut(command, "--bundle "); found && strings.Contains(command, text) {
			return strings.Fields(after)[0]
		}
	}
	w.t.Fatalf("no command has %q: %q", text, commands)
	return ""
}

// roots makes, as a page says, the trusted root and signing config of a timestamp authority, and extends that trusted root.
func (w *world) roots(s *sigstore) {
	w.t.Helper()
	write(w.t, w.path("roots", "tsa.pem"), read(w.t, s.path("tsa.pem")))
	write(w.t, w.path("roots", "keys", "empty"), "")
	w.docs("docs/identities.md", "cosign trusted-root create", "roots", "https://tsa.example.com", s.clock)
	one := read(w.t, w.path("roots", "keys", "trusted_root.json"))
	write(w.t, w.path("roots", "new_root.json"), read(w.t, w.path("gitops", "keys", "trusted_root.json")))
	w.docs("docs/identities.md", "jq -s", "roots")
	type root struct{ TimestampAuthorities, CertificateAuthorities []any }
	before, after := decode[root](w.t, one), decode[root](w.t, read(w.t, w.path("roots", "keys", "trusted_root.json")))
	if len(before.TimestampAuthorities) != 1 || len(after.TimestampAuthorities) != 2 || len(after.CertificateAuthorities) != 1 {
		w.t.Errorf("trusted root: %+v, extended: %+v", before, after)
	}
	if config := read(w.t, w.path("roots", "keys", "signing_config.json")); !strings.Contains(config, s.clock) {
		w.t.Errorf("signing config: %s", config)
	}
}

// TestDocs has cosign do what pages show of it for keys.
func TestDocs(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	w := newWorld(t, bin, startOlareg(t))
	w.promotable()
	copied := testworld.Serve(t, newOlareg(t, true)).Host + "/acme/codeai-manifests"
	pipeline := w.path("gitops", "lockage.yaml")
	write(t, pipeline, read(t, pipeline)+"copies: ["+copied+"]\n")

	w.pushGitOps("copies")
	w.hydrate()
	w.command("gitops", bin, "promote", "staging")
	commit := strings.TrimSpace(w.command("source", "git", "rev-parse", "HEAD"))
	w.command("gitops", bin, "copy", "live:staging", copied)
	commands := w.proven("staging", 5)
	w.eachCosign(func() {
		w.docs("docs/artifact.md", "cosign verify", "gitops", "$C", commit)
		w.docs("docs/promotion.md", "cosign verify", "gitops", "promote-production", "promote-staging", ":production", ":staging")
		w.docs("docs/copies.md", "lockage verify registry.example.com", "gitops", "registry.example.com/acme/shop-manifests", copied,
			":production", ":staging", "keys/promoter.pub", "keys/promote-staging.pub")
		w.docs("docs/copies.md", "cosign verify-blob-attestation --new-bundle-format --trusted-root trusted_root.json \\\n  --insecure", "proof",
			"statements/03-promotion-v1.sigstore.json", w.statement(commands, "lockage.dev/promotion"))
	})
}
