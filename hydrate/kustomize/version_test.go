package kustomize

import (
	"os/exec"
	"strings"
	"testing"
)

func TestVersionIsTheOneInGoMod(t *testing.T) {
	t.Parallel()
	for _, module := range []string{"sigs.k8s.io/kustomize/api", "sigs.k8s.io/kustomize/kyaml"} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", module).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(out)); got != version {
			t.Errorf("go.mod requires %s %s, the renderer names %s", module, got, version)
		}
	}
}
