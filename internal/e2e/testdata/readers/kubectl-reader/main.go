// Kubectl lists the objects that `kubectl apply -f DIR` would apply: kind and name, one a line.
package main

import (
	"fmt"
	"os"

	"k8s.io/cli-runtime/pkg/resource"
)

func main() {
	err := resource.NewLocalBuilder().Unstructured().Path(false, os.Args[1]).Flatten().Do().
		Visit(func(info *resource.Info, err error) error {
			if err == nil {
				fmt.Println(info.Object.GetObjectKind().GroupVersionKind().Kind, info.Name)
			}
			return err
		})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
