// Package demo holds the repositories that `lockage demo` plays with: the source repository of an application with a
// realistic Helm chart, and a GitOps repository that deploys it to four stages. The end-to-end tests use them too.
package demo

import (
	"embed"
	"io/fs"
)

// These names are placeholders in the GitOps repository's files for values that Prepare fills in.
const (
	// Registry is the host of the artifact repository in lockage.yaml; replace it by the registry's host and port.
	Registry = "registry.demo.invalid"

	// ChartPath is the chart's folder in the source repository: the lock's packaging.sourcePath.
	ChartPath = "k8s/helm"

	// LockDir is the folder of the locks in the GitOps repository.
	LockDir = "warehouses/codeai/builds"

	// PublicKey is where the GitOps repository expects the hydrator's public key.
	PublicKey = "keys/hydrator.pub"

	// PrivateKeyVariable is the environment variable that lockage.yaml names as the hydrator's key.
	PrivateKeyVariable = "HYDRATOR_KEY"

	// PromoterPublicKey and PromoterVariable are those of the promoter, in the demonstration only.
	PromoterPublicKey = "keys/promoter.pub"
	PromoterVariable  = "PROMOTER_KEY"
)

//go:embed all:source
var source embed.FS

//go:embed all:gitops
var gitOps embed.FS

// Source returns the files of the application's source repository.
func Source() fs.FS { return sub(source, "source") }

// GitOps returns the files of the GitOps repository: pipeline file, values and variables of four stages. Locks and keys
// are not among them; they are made when the demo runs.
func GitOps() fs.FS { return sub(gitOps, "gitops") }

// sub opens a folder that is embedded above, so that it cannot fail.
func sub(files embed.FS, dir string) fs.FS {
	tree, err := fs.Sub(files, dir)
	if err != nil {
		panic(err)
	}
	return tree
}
