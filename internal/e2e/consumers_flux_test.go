package e2e

import (
	"slices"
	"strings"
)

// fluxState is what Flux's source-controller makes of an OCIRepository.
type fluxState struct {
	Ready, Verified, Message, Revision string
	Files                              []string
}

// flux returns what Flux's source-controller makes of the OCIRepository among manifests: itself in a cluster, else its code.
func (w *world) flux(manifests string) fluxState {
	w.t.Helper()
	if w.cluster {
		return w.fluxInCluster(manifests)
	}
	write(w.t, w.path("flux.yaml"), manifests)
	return decode[fluxState](w.t, w.command(".", "flux-reader", "flux.yaml"))
}

func (c *consumers) readByFlux(shapes map[string][]string) {
	c.t.Helper()
	manifest := c.page("flux")["flux.yaml"]
	if got := c.flux(manifest); got.Ready != "True" || got.Verified != "True" || got.Revision != "production@"+c.live.Digest ||
		!slices.Equal(got.Files, []string{"deployment-web.yaml", "service-web.yaml"}) {
		c.t.Errorf("Flux refuses what was promoted: %+v", got)
	}
	if got := c.flux(other(c.t, manifest, fluxAsks, "ref: {digest: "+c.live.Digest+"}")); got.Ready != "True" || got.Verified != "True" {
		c.t.Errorf("Flux refuses the digest of what was promoted: %+v", got)
	}
	for what, ref := range map[string]string{
		"a candidate by digest": "ref: {digest: " + c.candidate.Digest + "}",
		"a candidate by tag":    "ref: {tag: " + c.candidate.Tags[0] + "}",
		"another stage":         "ref: {tag: staging}",
	} {
		if got := c.flux(other(c.t, manifest, fluxAsks, ref)); got.Ready != "False" || got.Verified != "False" || got.Files != nil ||
			!strings.Contains(got.Message, "no matching signatures") {
			c.t.Errorf("Flux and %s: %+v", what, got)
		}
	}
	// The bytes of what is live, which nobody signed where they are now.
	c.command(".", "crane", "copy", "--insecure", c.live.Reference, c.registry+"/acme/copied-manifests:production")
	copied := other(c.t, manifest, c.registry+"/acme/web-manifests", c.registry+"/acme/copied-manifests")
	if got := c.flux(copied); got.Ready != "False" || got.Verified != "False" || got.Files != nil ||
		!strings.Contains(got.Message, "no matching signatures were found for '"+c.registry+"/acme/copied-manifests:production'") {
		c.t.Errorf("Flux and an artifact without a signature: %+v", got)
	}
	rendered := c.trusting("hydrator")
	if got := c.flux(other(c.t, rendered, fluxAsks, "ref: {digest: "+c.candidate.Digest+"}")); got.Verified != "True" {
		c.t.Errorf("Flux finds no signature of the hydrator either, so that its refusals prove nothing: %+v", got)
	}
	for reference, files := range shapes {
		repository, digest, _ := strings.Cut(reference, "@")
		asked := other(c.t, rendered, c.registry+"/acme/web-manifests", repository)
		if got := c.flux(other(c.t, asked, fluxAsks, "ref: {digest: "+digest+"}")); got.Verified != "True" || !slices.Equal(got.Files, files) {
			c.t.Errorf("%s: Flux reads %+v", reference, got)
		}
	}
}

// trusting returns the page's manifests for Flux with another public key of the GitOps repository.
func (c *consumers) trusting(name string) string {
	c.t.Helper()
	text := func(path ...string) string {
		return strings.ReplaceAll(strings.TrimSpace(read(c.t, c.path(path...))), "\n", "\n    ")
	}
	return other(c.t, c.page("flux")["flux.yaml"], text("promote-production.pub"), text("gitops", "keys", name+".pub"))
}
