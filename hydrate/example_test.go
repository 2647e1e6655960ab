package hydrate_test

import (
	"context"
	"fmt"
	"log"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
)

// greeting is a package of one template.
type greeting struct{}

func (greeting) Inputs() []hydrate.Input { return []hydrate.Input{{Path: "greeting.yaml"}} }

func (greeting) Render(_ context.Context, r hydrate.Request) (hydrate.Rendered, error) {
	text := "kind: ConfigMap\napiVersion: v1\ndata: {greeting: 'yes', image: app@sha256:11}\nmetadata: {namespace: " + r.Namespace + ", name: " + r.ReleaseName + "}\n"
	return hydrate.Rendered{Manifests: []hydrate.Manifest{{Source: "greeting.yaml", Document: 1, Data: []byte(text)}}}, nil
}

// A stage is rendered to a tree of files that is ordered and encoded in one way, whatever the renderer printed.
func ExampleStage_Render() {
	stage := hydrate.Stage{
		Lock:    lock.File{Lock: lock.Lock{Image: lock.Image{Ref: "app", Digest: "sha256:11"}}},
		Package: greeting{},
		Options: hydrate.Options{
			Request: hydrate.Request{ReleaseName: "hello", Namespace: "shop"},
			Layout:  hydrate.PerObject,
		},
	}
	rendering, err := stage.Render(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for name, data := range rendering.Tree.Files() {
		fmt.Printf("%s:\n%s", name, data)
	}
	// Output:
	// configmap-hello.yaml:
	// apiVersion: v1
	// data:
	//   greeting: "yes"
	//   image: app@sha256:11
	// kind: ConfigMap
	// metadata:
	//   name: hello
	//   namespace: shop
}
