package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/demo"
)

// TestImage builds the container image, pulls it into an OCI layout, unpacks it, and renders a stage in it as its user, who sees
// nothing but its files, a repository and /proc.
func TestImage(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the image is the one for linux/amd64")
	}
	w := newWorld(t, bin, startOlareg(t))
	w.env = append(w.env, "TMPDIR="+t.TempDir())
	script, err := filepath.Abs("../../packaging/image.sh")
	if err != nil {
		t.Fatal(err)
	}
	build := func(tag string) string {
		return strings.TrimSpace(w.command(".", script, w.registry+"/lockage:"+tag, bin))
	}
	image := build("1.2.3")
	if again := build("1.2.3"); again != image || !strings.Contains(image, "@sha256:") {
		t.Errorf("the same program is %s and then %s", image, again)
	}
	var config struct {
		Architecture, OS string
		Config           struct {
			User, WorkingDir string
			Entrypoint, Env  []string
		}
	}
	if err := json.Unmarshal([]byte(w.command(".", "crane", "config", "--platform", "linux/amd64", image)), &config); err != nil {
		t.Fatal(err)
	}
	if c := config.Config; config.Architecture != "amd64" || c.User != "65532:65532" || c.WorkingDir != "/work" || !slices.Equal(c.Entrypoint, []string{"/lockage"}) {
		t.Errorf("the image's configuration is %+v", config)
	}
	w.command(".", "crane", "pull", "--format=oci", "--platform", "linux/amd64", image, w.path("layout"))
	if _, err := os.Stat(w.path("layout", "oci-layout")); err != nil {
		t.Error(err)
	}
	root := w.path("root")
	for _, dir := range []string{root, root + "/proc", root + "/work"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.command(".", "sh", "-e", "-c", `crane export --platform linux/amd64 "$1" - | tar -x -C "$2"; cp -r gitops source "$2/work"`, "sh", image, root)
	if files := strings.Fields(w.command(".", "ls", root)); !slices.Equal(files, []string{"lockage", "proc", "tmp", "work"}) {
		t.Errorf("the image holds %q", files)
	}
	inside := func(args ...string) (string, error) {
		cmd := exec.Command("unshare", append([]string{
			"--user", "--map-user=65532", "--map-group=65532", "--mount", "--pid", "--fork", "--mount-proc", "--root=" + root, "--wd=/work/gitops", "/lockage",
		}, args...)...)
		cmd.Env = config.Config.Env
		output, err := cmd.CombinedOutput()
		return string(output), err
	}
	if output, err := inside("version"); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	// The lock names the source repository by its path, which is another one for the container.
	lock := root + "/work/gitops/" + demo.LockDir + "/current.yaml"
	write(t, lock, strings.ReplaceAll(read(t, lock), w.path("source"), "/work/source"))
	for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "-m", "The container's paths"}} {
		w.command("root/work/gitops", "git", args...)
	}
	if output, err := inside("render", "staging"); err != nil || !strings.Contains(output, "kind: Deployment") {
		t.Errorf("%v\n%s", err, output)
	}
	// The program knows certificate authorities: without any, Go reports that it has none.
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	w.command("root/work/gitops", "git", "remote", "set-url", "origin", server.URL+"/acme/gitops.git")
	if output, err := inside("status"); err == nil || !strings.Contains(output, "unknown authority") {
		t.Errorf("an unknown certificate: %v\n%s", err, output)
	}
}
