package e2e

import "strings"

// readByKyverno lets Kyverno's engine judge the objects of other pages, and others, by the policy of its page. It asks the registry.
func (c *consumers) readByKyverno() {
	c.t.Helper()
	write(c.t, c.path("kyverno.yaml"), c.page("kyverno")["kyverno.yaml"])
	source := strings.Split(c.page("flux")["flux.yaml"], "\n---\n")[1] + "\n"
	application := c.page("argo-cd")["application.yaml"]
	admits := func() {
		c.t.Helper()
		for what, object := range map[string]string{"OCIRepository": source, "Application": application} {
			if denial := c.kyverno(object); denial != "" {
				c.t.Errorf("Kyverno denies the %s of the page: %s", what, denial)
			}
		}
	}
	denies := func(object, message string) {
		c.t.Helper()
		if denial := c.kyverno(object); !strings.Contains(denial, message) {
			c.t.Errorf("want %q, got %q of\n%s", message, denial, object)
		}
	}
	admits()
	denies(other(c.t, source, fluxAsks, "ref: {tag: staging}"), "flux-asks-for-production")
	denies(other(c.t, source, "  "+fluxAsks+"\n", ""), "flux-asks-for-production")
	denies(other(c.t, source, fluxAsks, "ref: {tag: production, semver: '>=0'}"), "flux-asks-for-production")
	denies(other(c.t, application, "targetRevision: production", "targetRevision: staging"), "argo-cd-asks-for-production")
	another := "{repoURL: https://git.example.com/acme/other.git, targetRevision: production, path: .}"
	for _, also := range []string{
		"  sourceHydrator: {drySource: " + another + ", syncSource: {targetBranch: main, path: web}}",
		"operation: {sync: {source: " + another + "}}",
		"operation: {sync: {source: " + strings.Replace(another, "https://git.example.com/acme/other.git", "oci://"+c.registry+"/acme/other-manifests", 1) + "}}",
		"operation: {sync: {sources: [" + another + "]}}",
		"operation: {sync: {manifests: ['{}']}}",
	} {
		denies(strings.TrimSpace(application)+"\n"+also+"\n", "argo-cd-asks-for-production")
	}
	for _, one := range otherApplications(c.t, application) {
		denies(one, "argo-cd-asks-for-production")
	}

	ours, copied := c.registry+"/acme/web-manifests", c.registry+"/acme/copied-manifests"
	c.command(".", "crane", "copy", "--insecure", c.live.Reference, copied+":production")
	denies(other(c.t, source, ours, copied), "flux-promoted unverified image")
	denies(other(c.t, application, ours, copied), "argo-cd-promoted unverified image")
	staging := strings.TrimSpace(c.command(".", "crane", "digest", "--insecure", ours+":staging"))
	for _, digest := range []string{c.candidate.Digest, staging} { // of the hydrator, and of another stage's promoter
		c.command(".", "crane", "tag", "--insecure", ours+"@"+digest, "production")
		denies(source, "flux-promoted unverified image")
		denies(application, "argo-cd-promoted unverified image")
	}
	c.command(".", "crane", "tag", "--insecure", ours+"@"+c.live.Digest, "production")
	admits()
}

// kyverno returns why Kyverno refuses an object; "" if it does not.
func (c *consumers) kyverno(object string) string {
	c.t.Helper()
	write(c.t, c.path("object.yaml"), object)
	stdout, stderr, err := c.try(".", "kyverno", "apply", "kyverno.yaml", "--resource", "object.yaml", "--registry")
	if err == nil && strings.Contains(stdout, "pass: 3, fail: 0, warn: 0, error: 0") {
		return ""
	}
	return stdout + stderr
}
