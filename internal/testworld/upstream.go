package testworld

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Upstream returns the program of upstream that LOCKAGE_NAME names. Without it, the test is skipped, but in end-to-end runs it
// fails.
func Upstream(t testing.TB, name string) string {
	t.Helper()
	variable := "LOCKAGE_" + strings.ToUpper(name)
	program := os.Getenv(variable)
	switch {
	case program == "" && os.Getenv("LOCKAGE_E2E") == "1":
		t.Fatalf("LOCKAGE_E2E=1, but no %[1]s: set %[2]s to the binary that `internal/e2e/tools.sh %[1]s` builds", name, variable)
	case program == "":
		t.Skipf("%s does not name the upstream %s binary", variable, name)
	}
	return program
}

// Objects decodes a stream of YAML documents as Kubernetes' clients do, lists unwrapped, by kind, namespace and name.
func Objects(t testing.TB, stream io.Reader) map[string]any {
	t.Helper()
	objects := map[string]any{}
	var add func(raw []byte)
	add = func(raw []byte) {
		var head struct{ Items json.RawMessage }
		if err := json.Unmarshal(raw, &head); err == nil && head.Items != nil {
			list := new(unstructured.UnstructuredList)
			if err := list.UnmarshalJSON(raw); err != nil {
				t.Fatalf("%v: %s", err, raw)
			}
			for _, item := range list.Items {
				add(must(json.Marshal(item.Object))(t))
			}
			return
		}
		u := new(unstructured.Unstructured)
		if err := u.UnmarshalJSON(raw); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		key := fmt.Sprint(u.GroupVersionKind(), u.GetNamespace(), "/", u.GetName())
		if u.GetName() == "" {
			key += string(raw)
		}
		if other := objects[key]; other != nil && (u.GetKind() != "CustomResourceDefinition" || !reflect.DeepEqual(other, u.Object)) {
			t.Fatalf("%s occurs twice", key)
		}
		objects[key] = u.Object
	}
	for decoder := yaml.NewYAMLOrJSONDecoder(stream, 4096); ; {
		var raw runtime.RawExtension
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatal(err)
		}
		if len(raw.Raw) > 0 && string(raw.Raw) != "null" {
			add(raw.Raw)
		}
	}
}
