package e2e

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/lockage/lockage/internal/testworld"
)

// argoCD returns the objects that Argo CD's repo-server reads for an Application.
func (w *world) argoCD(application string, args ...string) map[string]any {
	w.t.Helper()
	write(w.t, w.path("application.yaml"), application)
	output := w.command(".", "argocd-reader", append(append([]string{"-plain-http"}, args...), "application.yaml")...)
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
	checkout := c.path("checkout")
	c.command(".", "git", "clone", "-q", "--branch", "stage/production", c.path("gitops.git"), checkout)
	folder := filepath.Join(checkout, "apps/web/production/deploy")
	for _, beside := range []string{"attestations.jsonl", "hydrator.metadata", ".gitattributes"} {
		if _, err := os.Stat(filepath.Join(folder, beside)); err != nil {
			c.t.Errorf("nothing to leave out: %v", err)
		}
	}
	if got := c.argoCD(pages["application-git.yaml"], "-checkout", checkout); !reflect.DeepEqual(got, want) {
		c.t.Errorf("Argo CD reads from Git\n%v, not\n%v", got, want)
	}
	c.readByKubectl(folder)
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

// readByKubectl does the steps of kubectl's page, with kubectl's own loader for kubectl, and lets it read a checkout of the branch.
func (c *consumers) readByKubectl(checkout string) {
	c.t.Helper()
	const want = "Deployment web\nService web\n"
	shell := testworld.Steps(read(c.t, "../../docs/consumers/kubectl.md"))[0].Shell
	shell = other(c.t, shell, "kubectl apply --server-side -f", "kubectl-reader")
	if got := c.command("gitops", "bash", "-e", "-c", shell); !strings.HasSuffix(got, want) {
		c.t.Errorf("kubectl reads what was pulled as %s", got)
	}
	if got := c.command(".", "kubectl-reader", checkout); got != want {
		c.t.Errorf("kubectl reads from Git %s", got)
	}
}
