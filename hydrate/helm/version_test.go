package helm

import (
	"os/exec"
	"strings"
	"testing"
)

func TestVersionIsTheOneInGoMod(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", "helm.sh/helm/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != version3 {
		t.Errorf("go.mod requires helm %s, the input digest says %s", got, version3)
	}
}
