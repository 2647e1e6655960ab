// Package demo holds the repositories that `lockage demo` plays with: the source repository of an application with a
// realistic Helm chart, and a GitOps repository that deploys it to four stages. The end-to-end tests use them too.
package demo

import (
	"embed"
	"io/fs"
)

// These names are placeholders in the GitOps repository's files for values that Prepare fills in.
const (
	Registry  = "registry.demo.invalid"    // host of the artifact repository in lockage.yaml, for the registry's host and port
	ChartPath = "k8s/helm"                 // the chart's folder in the source repository: the lock's packaging.sourcePath
	LockDir   = "warehouses/codeai/builds" // folder of the locks in the GitOps repository

	PublicKey          = "keys/hydrator.pub" // file of the hydrator's public key in the GitOps repository
	PrivateKeyVariable = "HYDRATOR_KEY"      // environment variable that lockage.yaml names as the hydrator's key

	// The promoter's are in the demonstration only.
	PromoterPublicKey = "keys/promoter.pub"
	PromoterVariable  = "PROMOTER_KEY"
)

//go:embed all:source all:gitops
var files embed.FS

// Source returns the files of the application's source repository.
func Source() fs.FS { return sub("source") }

// GitOps returns the files of the GitOps repository: pipeline file, values and variables of four stages. Prepare adds locks
// and keys.
func GitOps() fs.FS { return sub("gitops") }

func sub(dir string) fs.FS {
	tree, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the folders are embedded
	}
	return tree
}
