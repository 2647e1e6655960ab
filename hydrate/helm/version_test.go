package helm

import (
	"os/exec"
	"strings"
	"testing"
)

func TestVersionsAreThoseInGoMod(t *testing.T) {
	t.Parallel()
	for module, version := range map[string]string{"helm.sh/helm/v3": version3, "helm.sh/helm/v4": version4} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", module).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(out)); got != version {
			t.Errorf("go.mod requires %s %s, the input digest says %s", module, got, version)
		}
	}
}
