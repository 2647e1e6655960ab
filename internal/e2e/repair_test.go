package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/testworld"
)

// repaired is what these tests read of `repair -o json`.
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

// TestRepairKilled kills a repair of an empty registry before each write in turn. Whatever the tag names is signed at any time, and the
// next run ends as an undisturbed one.
func TestRepairKilled(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	for name, referrers := range map[string]bool{"referrers": true, "fallback": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := &killer{current: newOlareg(t, referrers)}
			w := newWorld(t, bin, testworld.Serve(t, k).Host)
			first, second := w.twoReleases()
			repository, _, _ := strings.Cut(first.Reference, "@")
			for at := 1; ; at++ {
				cmd := exec.Command(bin, "repair", "--apply", "staging")
				cmd.Dir, cmd.Env = w.path("gitops"), w.env
				empty := newOlareg(t, referrers)
				k.set(empty, at, func() { _ = cmd.Process.Kill() })
				err := cmd.Run()
				var killed *exec.ExitError
				if err == nil {
					if at < 15 {
						t.Errorf("a repair wrote %d times", at-1)
					}
					break
				}
				if !errors.As(err, &killed) || killed.Exited() {
					t.Fatalf("write %d: not killed: %v", at, err)
				}
				k.set(empty, 0, nil)
				if _, _, err := w.try(".", "crane", "digest", "--insecure", repository+":staging"); err == nil && !w.signedBy("staging", repository+":staging") {
					t.Errorf("write %d: the tag names what is not signed", at)
				}
				w.command("gitops", bin, "repair", "--apply", "staging")
				w.command("gitops", bin, "verify", "live:staging")
				for _, artifact := range []hydrated{first, second} {
					if !w.signedBy("staging", artifact.Reference) {
						t.Errorf("write %d: %s is not signed", at, artifact.Reference)
					}
				}
				if again := decode[repaired](t, w.command("gitops", bin, "repair", "staging", "-o", "json")); len(again.Results[0].Findings) > 0 {
					t.Errorf("write %d: out of step: %+v", at, again.Results[0].Findings)
				}
			}
		})
	}
}
