package kustomize

const (
	// version is that of the kustomize modules (api and kyaml) that are linked. It is part of every input digest, so that
	// an upgrade renders everything anew; a test compares it with go.mod.
	version = "v0.21.2"

	// release is the release of the kustomize program that is made of these modules, as `buildMetadata: [managedByLabel]`
	// writes it into objects.
	release = "v5.8.1"
)

// Version names the renderer and its version: "kustomize v0.21.2".
func (Renderer) Version() string { return "kustomize " + version }
