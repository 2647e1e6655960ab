package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repaired is what TestRegistryLost reads of `repair -o json`.
type repaired struct {
	Results []struct {
		Findings []struct {
			What, Mend string
			Done       bool
		}
	}
}

// twoReleases promotes two releases to staging, and returns the artifacts.
func (w *world) twoReleases() (first, second hydrated) {
	w.t.Helper()
	w.promotable()
	first = w.hydrate()[0]
	w.command("gitops", w.bin, "promote", "staging")
	values := w.path("source", "k8s", "helm", "values.yaml")
	write(w.t, values, read(w.t, values)+"\n# another\n")
	w.release()
	second = w.hydrate()[0]
	w.command("gitops", w.bin, "promote", "staging")
	return first, second
}

// TestRegistryLost deletes the folder of a registry in the middle of a pipeline's life. Git puts back what is and was live, digest for
// digest, stock cosign accepts it, and promotion goes on.
func TestRegistryLost(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	registry := newDistribution(t)
	w := newWorld(t, bin, registry.addr)
	first, second := w.twoReleases()
	repository, _, _ := strings.Cut(first.Reference, "@")

	registry.stop()
	if err := os.RemoveAll(filepath.Join(filepath.Dir(registry.conf), "store")); err != nil {
		t.Fatal(err)
	}
	registry.start()
	w.refused(".", "crane", "digest", "--insecure", repository+":staging")
	w.command("gitops", bin, "repair", "--apply")
	if got := strings.TrimSpace(w.command(".", "crane", "digest", "--insecure", repository+":staging")); !strings.HasSuffix(second.Reference, got) {
		t.Errorf("live is %s, was %s", got, second.Reference)
	}
	for _, artifact := range []hydrated{first, second} {
		w.command(".", "crane", "validate", "--insecure", "--remote", artifact.Reference)
		w.judgeSignatures(artifact)
		if !w.signedBy("staging", artifact.Reference) {
			t.Errorf("%s is not signed by the promoter", artifact.Reference)
		}
	}
	w.command("gitops", bin, "verify", "live:staging")
	w.hydrate()
	if r := decode[repaired](t, w.command("gitops", bin, "repair", "staging", "-o", "json")).Results[0]; len(r.Findings) > 0 {
		t.Errorf("out of step: %+v", r.Findings)
	}
	w.command("gitops", bin, "promote", "test")
	w.command("gitops", bin, "rollback", "staging")
	if got := w.command(".", "crane", "digest", "--insecure", repository+":staging"); !strings.HasSuffix(first.Reference, strings.TrimSpace(got)) {
		t.Errorf("rolled back to %s, was %s", got, first.Reference)
	}
}
