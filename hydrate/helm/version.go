package helm

// version is that of the Helm module that is linked. It is part of every input digest, so that an upgrade renders
// everything anew; a test compares it with go.mod.
const version = "v3.22.0"

// Version names the renderer and its version: "helm v3.22.0".
func (Renderer) Version() string { return "helm " + version }
