package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci/registry"
)

// TestExportedProof has stock cosign run the commands that are written beside the statements of a promotion, and refuse a
// manifest that was changed.
func TestExportedProof(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	w := newWorld(t, bin, startOlareg(t))
	w.promotable()
	w.command("gitops", bin, "hydrate")
	w.command("gitops", bin, "promote", "staging")
	commands := w.proven("staging", 5)
	dir := w.path("proof")
	write(t, filepath.Join(dir, "artifact", "manifest.json"), "{}")
	w.eachCosign(func() {
		if _, _, err := w.try("proof", "sh", "-c", commands[0]); err == nil {
			t.Errorf("cosign verifies another manifest: %s", commands[0])
		}
	})
}

// proven exports what proves the newest promotion of a stage, and has cosign run the commands there.
func (w *world) proven(stage string, atLeast int) (commands []string) {
	w.t.Helper()
	file, dir := w.path("proof.tar"), w.path("proof")
	w.command("gitops", w.bin, "history", stage, "--export", file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.command(".", "tar", "-C", dir, "-xf", file)
	for _, block := range strings.Split(read(w.t, filepath.Join(dir, "VERIFY.md")), "```sh\n")[1:] {
		command, _, _ := strings.Cut(block, "\n```")
		commands = append(commands, command)
	}
	if len(commands) < atLeast {
		w.t.Fatalf("only %d commands", len(commands))
	}
	w.eachCosign(func() {
		for _, command := range commands {
			w.command("proof", "sh", "-c", command)
		}
	})
	return commands
}

// TestCopyVerifies has stock cosign verify a copy, by the promoter's key, that no first registry backs.
func TestCopyVerifies(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	w := newWorld(t, bin, startOlareg(t))
	w.promotable()
	w.command("gitops", bin, "hydrate")
	w.command("gitops", bin, "promote", "staging")
	second := testworld.NewRegistry(t, registry.Options{})
	to := fmt.Sprintf("%s/acme/copy", second.Host)
	var copied struct {
		Results []struct{ Digest, Reference string }
	}
	if err := json.Unmarshal([]byte(w.command("gitops", bin, "copy", "live:staging", to, "-o", "json")), &copied); err != nil {
		t.Fatal(err)
	}
	if !w.signedBy("staging", to+":staging") || !w.signedBy("staging", to+"@"+copied.Results[0].Digest) {
		t.Error("cosign finds no signature by the promoter at the copy")
	}
	if w.signedBy("production", to+":staging") {
		t.Error("cosign finds a signature by another promoter")
	}
}
