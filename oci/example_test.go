package oci_test

import (
	"fmt"
	"testing/fstest"

	"github.com/lockage/lockage/oci"
)

// The same files make the same artifact, whatever machine packs them.
func ExamplePack() {
	tree := fstest.MapFS{
		"apps/deployment.yaml": {Data: []byte("kind: Deployment\n")},
		"namespace.yaml":       {Data: []byte("kind: Namespace\n"), Mode: 0o600},
	}
	artifact, err := oci.Pack(tree, map[string]string{oci.AnnotationStage: "test"})
	if err != nil {
		panic(err)
	}
	fmt.Println(artifact.Descriptor.MediaType)
	fmt.Println(artifact.ContentDigest)
	// Output:
	// application/vnd.oci.image.manifest.v1+json
	// sha256:f73b363148f47491ea0fa8de6ea117333d776e0e6535d096b8256f3cc6573daa
}

func ExampleSplitReference() {
	for _, reference := range []string{"ghcr.io/acme/app", "localhost:5000/app:test", "oci-layout:out:test"} {
		name, tag, err := oci.SplitReference(reference)
		fmt.Printf("%s %q %v\n", name, tag, err)
	}
	_, _, err := oci.SplitReference("https://ghcr.io/acme/app")
	fmt.Println(err)
	// Output:
	// ghcr.io/acme/app "" <nil>
	// localhost:5000/app "test" <nil>
	// oci-layout:out "test" <nil>
	// repository "https://ghcr.io/acme/app": write HOST[:PORT]/PATH, without a scheme
}
