package e2e

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/testworld"
)

// argoCD returns the objects that Argo CD's repo-server reads for an Application, after a cluster has accepted that.
func (w *world) argoCD(application string) map[string]any {
	w.t.Helper()
	write(w.t, w.path("application.yaml"), application)
	if w.cluster {
		write(w.t, w.path("application.yaml"), w.command(".", "kubectl", "apply", "-f", "application.yaml", "-o", "yaml"))
	}
	output := w.command(".", "argocd-reader", "-plain-http", "application.yaml")
	return objects(w.t, strings.ReplaceAll(output, "\n", "\n---\n"))
}

func (c *consumers) readByArgoCD(shapes map[string][]string) {
	c.t.Helper()
	pages := c.page("argo-cd")
	want := objects(c.t, c.command("gitops", c.bin, "pull", "live:production"))
	if len(want) != 2 {
		c.t.Fatalf("live are %v", want)
	}
	if got := c.argoCD(pages["application.yaml"]); !reflect.DeepEqual(got, want) {
		c.t.Errorf("Argo CD reads from the registry\n%v, not\n%v", got, want)
	}
	if got := c.argoCD(other(c.t, pages["application-git.yaml"], "https://git.example.com/acme/gitops.git", "file://"+c.path("gitops.git"))); !reflect.DeepEqual(got, want) {
		c.t.Errorf("Argo CD reads from Git\n%v, not\n%v", got, want)
	}
	c.readByKubectl()
	for reference, files := range shapes {
		repository, digest, _ := strings.Cut(reference, "@")
		want := objects(c.t, c.command("gitops", c.bin, "pull", reference))
		if (len(want) == 2) == (len(files) == 0) {
			c.t.Errorf("%s has the objects %v", reference, want)
		}
		asked := other(c.t, pages["application.yaml"], c.registry+"/acme/web-manifests", repository)
		if got := c.argoCD(other(c.t, asked, "targetRevision: production", "targetRevision: "+digest)); !reflect.DeepEqual(got, want) {
			c.t.Errorf("%s: Argo CD reads\n%v, not\n%v", reference, got, want)
		}
	}
}

// readByKubectl does the steps of kubectl's page, and gives kubectl a checkout of the branch. Without a cluster, kubectl's own loader
// takes its place.
func (c *consumers) readByKubectl() {
	c.t.Helper()
	checkout := c.path("checkout")
	c.command(".", "git", "clone", "-q", "--branch", "stage/production", c.path("gitops.git"), checkout)
	folder := filepath.Join(checkout, "apps/web/production/deploy")
	for _, beside := range []string{"attestations.jsonl", "hydrator.metadata", ".gitattributes"} {
		if _, err := os.Stat(filepath.Join(folder, beside)); err != nil {
			c.t.Errorf("nothing to leave out: %v", err)
		}
	}
	shell := testworld.Steps(read(c.t, "../../docs/consumers/kubectl.md"))[0].Shell
	read, pulled, branch := []string{"kubectl-reader"}, "Deployment web\nService web\n", "Deployment web\nService web\n"
	if c.cluster {
		read = []string{"kubectl", "apply", "-o", "name", "-f"}
		pulled, branch = "deployment.apps/web serverside-applied\nservice/web serverside-applied\n", "deployment.apps/web\nservice/web\n"
	} else {
		shell = other(c.t, shell, "kubectl apply --server-side -f", "kubectl-reader")
	}
	if got := c.command("gitops", "bash", "-e", "-c", shell); !strings.HasSuffix(got, pulled) {
		c.t.Errorf("kubectl reads what was pulled as %s", got)
	}
	if got := c.command(".", read[0], append(read[1:], folder)...); got != branch {
		c.t.Errorf("kubectl reads from Git %s", got)
	}
	if c.cluster {
		c.command(".", "kubectl", "delete", "-f", folder)
	}
}

// TestArgoCDWebhook lets Argo CD's own handler take what notify sends: it refreshes the Applications of the stage, and no other.
func TestArgoCDWebhook(t *testing.T) {
	t.Parallel()
	bin := requireReaders(t, "argocd-reader")
	c := newConsumers(t, bin, startOlareg(t))
	address, pages := freeAddress(t), c.page("argo-cd")
	args := []string{"-webhook", address, "-secret", password}
	for name, manifest := range map[string]string{
		"from-git": pages["application-git.yaml"],
		"live":     pages["application.yaml"],
		"another":  other(t, pages["application.yaml"], "targetRevision: production", "targetRevision: another"),
		"image":    other(t, pages["application.yaml"], "/acme/web-manifests", "/acme/web"),
	} {
		write(t, c.path(name+".yaml"), other(t, manifest, "name: web-production,", "name: "+name+","))
		args = append(args, c.path(name+".yaml"))
	}
	hook := exec.Command("argocd-reader", args...)
	if err := hook.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = hook.Process.Kill()
		_ = hook.Wait()
	})
	refreshed := func() string {
		response, err := http.Get("http://" + address + "/refreshed")
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		names, _ := io.ReadAll(response.Body)
		return string(names)
	}
	eventually(func() bool { return refreshed() == "" })

	c.command("gitops", "git", "remote", "set-url", "origin", "https://git.example.com/acme/gitops.git")
	c.command("gitops", "git", "config", "url."+c.path("gitops.git")+".insteadOf", "https://git.example.com/acme/gitops.git")
	write(t, c.path("gitops", "lockage.yaml"), read(t, c.path("gitops", "lockage.yaml"))+
		"notify: [{argocd: \"http://"+address+"/api/webhook\", secret: env://ARGOCD_WEBHOOK_SECRET}]\n")
	c.pushGitOps("notify")
	promote := func(stage, secret string) string {
		env := c.env
		defer func() { c.env = env }()
		c.env = append(slices.Clone(env), "ARGOCD_WEBHOOK_SECRET="+secret)
		_, stderr, err := c.try("gitops", c.bin, "promote", stage)
		if err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		return stderr
	}
	if warned := promote("staging", "wrong"); !strings.Contains(warned, "was not notified: it answers 400 Bad Request: compare the secret") {
		t.Errorf("a wrong secret: %s", warned)
	}
	if warned := promote("production", password); warned != "" {
		t.Error(warned)
	}
	eventually(func() bool { return refreshed() == "from-git\nlive\n" })
}
