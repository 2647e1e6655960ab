package diff_test

import (
	"log"
	"os"
	"testing/fstest"

	"github.com/lockage/lockage/hydrate/diff"
)

func Example() {
	tree := func(image string) fstest.MapFS {
		return fstest.MapFS{"deployment-web.yaml": {Data: []byte(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {helm.sh/chart: ` + image + `}}
spec: {template: {spec: {containers: [{name: app, image: ` + image + `}]}}}
`)}}
	}
	before, err := diff.Read(tree("web:v1"))
	if err != nil {
		log.Fatal(err)
	}
	after, err := diff.Read(tree("web:v2"))
	if err != nil {
		log.Fatal(err)
	}
	changes, err := diff.Compare(before, after, diff.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := changes.WriteText(os.Stdout, diff.TextOptions{}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 1 changed
	// 1 field of noise folded (helm.sh/chart 1)
	//
	// Images
	//   web: v1 → v2 (1 object)
	//
	// ~ Deployment.apps web  deployment-web.yaml
	//     ~ spec.template.spec.containers[name=app].image: web v1 → v2
}
