package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci/registry"
)

// promotable makes the demo's pipeline one that can be promoted, with a promoter's key for each stage and a live ref.
func (w *world) promotable() {
	w.t.Helper()
	pipeline := w.path("gitops", "lockage.yaml")
	text := strings.NewReplacer(
		"identities:\n", "identities:\n  promoter: {key: \"keys/promote-{stage}.pub\"}\n",
		"sign:\n", "sign:\n  promoter: {key: \"../promote-{stage}.key\"}\n",
		"stages:\n", "mirror: {path: \"apps/codeai/{stage}/deploy\"}\nstages:\n",
	).Replace(read(w.t, pipeline))
	write(w.t, pipeline, text)
	for _, stage := range []string{"staging", "test", "review", "production"} {
		w.command(".", w.bin, "keys", "generate", "promote-"+stage)
		write(w.t, w.path("gitops", "keys", "promote-"+stage+".pub"), read(w.t, w.path("promote-"+stage+".pub")))
	}
	w.pushGitOps("promoters")
}

// signedBy reports whether stock cosign finds a reference signed by a stage's promoter.
func (w *world) signedBy(stage, reference string) bool {
	w.t.Helper()
	_, _, err := w.try(".", "cosign", w.cosign("verify", "--new-bundle-format=true", "--key", w.path("promote-"+stage+".pub"), reference)...)
	return err == nil
}

// TestPromoterSignature has cosign distinguish what was promoted to production from everything else.
func TestPromoterSignature(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	for _, kind := range registries {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, bin, kind.start(t))
			w.promotable()
			stages := w.hydrate()
			repository, _, _ := strings.Cut(stages[0].Reference, "@")
			is := func(stage, reference string, want bool) {
				t.Helper()
				if got := w.signedBy(stage, reference); got != want {
					t.Errorf("cosign with promote-%s.pub on %s: %t", stage, reference, got)
				}
			}
			production := stages[3].Reference
			is("production", production, false)
			for _, stage := range []string{"staging", "test", "review"} {
				w.refused("gitops", bin, "promote", "production")
				is("production", production, false)
				w.command("gitops", bin, "promote", stage)
			}
			w.command("gitops", bin, "promote", "production", "--dry-run")
			is("production", production, false)
			w.command("gitops", bin, "promote", "production")
			is("production", production, true)
			is("production", repository+":production", true)
			for _, stage := range stages[:3] {
				is(stage.Stage, repository+":"+stage.Stage, true)
				is("production", stage.Reference, false)
				is(stage.Stage, production, false)
			}
		})
	}
}

// TestPromotionKilled kills a promotion before each write to the registry in turn. Whatever the tag names
// is signed at any time, and the next run ends as an undisturbed one.
func TestPromotionKilled(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	open := func(dir string) *registry.Registry {
		return registry.New(registry.Options{Dir: dir, WithoutReferrers: true})
	}
	start := t.TempDir()
	current := open(start)
	k := &killer{current: current}
	w := newWorld(t, bin, testworld.Serve(t, k).Host)
	w.promotable()
	stages := w.hydrate()
	repository, _, _ := strings.Cut(stages[0].Reference, "@")
	bare := w.path("gitops.git")
	_ = current.Close()
	kept := w.path("kept")
	copyAll(t, start, filepath.Join(kept, "registry"))
	copyAll(t, bare, filepath.Join(kept, "gitops.git"))

	for at := 1; ; at++ {
		dir := t.TempDir()
		copyAll(t, filepath.Join(kept, "registry"), dir)
		if err := os.RemoveAll(bare); err != nil {
			t.Fatal(err)
		}
		copyAll(t, filepath.Join(kept, "gitops.git"), bare)
		cmd := exec.Command(bin, "promote", "staging")
		cmd.Dir, cmd.Env = w.path("gitops"), w.env
		current = open(dir)
		k.set(current, at, func() { _ = cmd.Process.Kill() })
		err := cmd.Run()
		var killed *exec.ExitError
		if err == nil {
			if at < 10 {
				t.Errorf("a promotion wrote %d times", at-1)
			}
			break
		}
		if !errors.As(err, &killed) || killed.Exited() {
			t.Fatalf("write %d: not killed: %v", at, err)
		}
		k.set(current, 0, nil)
		if _, _, err := w.try(".", "crane", "digest", "--insecure", repository+":staging"); err == nil && !w.signedBy("staging", repository+":staging") {
			t.Errorf("write %d: the tag names what is not signed", at)
		}
		w.command("gitops", bin, "promote", "staging")
		w.command("gitops", bin, "verify", repository+":staging", "--identity", "promoter")
		history := decode[struct {
			Results []struct{ Promotions []struct{ Sequence int } }
		}](t, w.command("gitops", bin, "history", "staging", "-o", "json"))
		if len(history.Results) != 1 || len(history.Results[0].Promotions) != 1 {
			t.Errorf("write %d: history is %+v", at, history)
		}
		if !w.signedBy("staging", repository+":staging") {
			t.Errorf("write %d: what is live is not signed", at)
		}
		_ = current.Close()
	}
}

func copyAll(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
