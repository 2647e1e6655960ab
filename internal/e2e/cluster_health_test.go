package e2e

import (
	"path/filepath"
	"strings"

	"github.com/lockage/lockage/internal/testworld"
)

// deploy lets Flux deploy what is promoted, and nothing else, and asks for its health: of what becomes ready, of what fails, and of
// what the pipeline went back to.
func (c *consumers) deploy() {
	c.t.Helper()
	page := c.page("flux")["flux.yaml"]
	c.command(".", "kubectl", "delete", "applications", "--all", "--all-namespaces") // no controller would report their health
	c.apply(page)
	c.deployed("one")
	c.notHealthy("Kustomization.kustomize.toolkit.fluxcd.io flux-system/web-production:")
	c.askWithoutRights()
	c.readyIs("True", "NewReplicaSetAvailable")
	stdout := c.command("gitops", c.bin, "up", "--no-discover", "--health", "production", "--key", "../promote-production.key")
	if !strings.Contains(stdout, "OCIRepository.source.toolkit.fluxcd.io flux-system/web-production") || !strings.Contains(stdout, "\nhealth production  done\n") {
		c.t.Errorf("health of what is ready: %s", stdout)
	}

	c.apply(other(c.t, page, fluxAsks, "ref: {digest: "+c.candidate.Digest+"}"))
	eventually(func() bool { ready, _ := c.source().condition("Ready"); return ready == "False" })
	c.reconcile("kustomization", "web-production")
	c.deployed("one")
	c.apply(page)

	c.command("gitops", c.bin, "promote", "staging")
	c.command("gitops", c.bin, "promote", "production")
	c.reconcile("ocirepository", "web-production")
	c.deployed("two")
	c.readyIs("False", "ProgressDeadlineExceeded")
	c.notHealthy("health check failed")
	c.command("gitops", c.bin, "rollback", "production", "--reason", "not healthy")
	c.reconcile("ocirepository", "web-production")
	c.deployed("one")
	c.readyIs("True", "NewReplicaSetAvailable")
	c.command("gitops", c.bin, "attest", "--health", "production", "--key", "../promote-production.key", "--timeout", "1h")
}

// deployed waits until Flux has deployed a release.
func (c *consumers) deployed(release string) {
	c.t.Helper()
	eventually(func() bool {
		label, _, err := c.try(".", "kubectl", "-n", "web-production", "get", "deployment", "web", "-o", "jsonpath={.metadata.labels.release}")
		return err == nil && label == release
	})
}

// readyIs sets the Deployment's status, as the controller does that is not there.
func (c *consumers) readyIs(status, reason string) {
	c.t.Helper()
	generation := c.command(".", "kubectl", "-n", "web-production", "get", "deployment", "web", "-o", "jsonpath={.metadata.generation}")
	c.command(".", "kubectl", "-n", "web-production", "patch", "deployment", "web", "--subresource=status", "--type=merge", "-p",
		`{"status": {"observedGeneration": `+generation+`, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1, "conditions": [
			{"type": "Available", "status": "`+status+`", "reason": "MinimumReplicas"},
			{"type": "Progressing", "status": "`+status+`", "reason": "`+reason+`"}]}}`)
}

// notHealthy waits until production is not healthy for a reason.
func (c *consumers) notHealthy(reason string) {
	c.t.Helper()
	eventually(func() bool {
		stdout, stderr, err := c.try("gitops", c.bin, "attest", "--health", "production", "--key", "../promote-production.key", "--timeout-wait", "0")
		if exitOf(err) != 5 || !strings.Contains(stderr, "nothing was signed") {
			c.t.Fatalf("health of what is not ready: %v: %s%s", err, stdout, stderr)
		}
		return strings.Contains(stderr, reason)
	})
}

// askWithoutRights asks clusters that do not answer, and gives an account the rights of the page.
func (c *consumers) askWithoutRights() {
	c.t.Helper()
	ask := func(kubeconfig string, code int, want string) {
		c.t.Helper()
		_, stderr, err := c.try("gitops", c.bin, "attest", "--health", "production", "--key", "../promote-production.key", "--timeout-wait", "0", "--kubeconfig", kubeconfig)
		if exitOf(err) != code || !strings.Contains(strings.Join(strings.Fields(stderr), " "), want) {
			c.t.Errorf("want %d and %q, got %v: %s", code, want, err, stderr)
		}
	}
	ask("absent", 2, "stat absent: no such file or directory")
	write(c.t, c.path("gitops", "unreachable"), kubeconfigOf("https://"+freeAddress(c.t), "token"))
	ask("unreachable", 1, "connection refused")

	admin := c.command(".", "kubectl", "config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.server}")
	write(c.t, c.path("gitops", "stranger"), kubeconfigOf(admin, "unknown"))
	ask("stranger", 1, "Unauthorized")
	c.command(".", "kubectl", "-n", "ci", "create", "serviceaccount", "lockage")
	write(c.t, c.path("gitops", "account"), kubeconfigOf(admin, c.command(".", "kubectl", "-n", "ci", "create", "token", "lockage")))
	ask("account", 1, "is forbidden")
	for _, step := range testworld.Steps(read(c.t, filepath.Join("../../docs", "promotion.md"))) {
		if rights, ok := step.Files["health.yaml"]; ok {
			c.apply(rights)
		}
	}
	ask("account", 5, "nothing was signed")
	c.command(".", "kubectl", "delete", "clusterrolebinding,clusterrole", "lockage-health")
	c.command(".", "kubectl", "-n", "ci", "delete", "serviceaccount", "lockage")
}
