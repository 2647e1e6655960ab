package testworld

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// Judge is a program of upstream that renders what we render.
type Judge struct {
	Program string
	Env     []string // beside the test's own
}

// Objects runs the program and returns the objects that it prints, or what it says if it fails. A document without a kind is an error.
func (j Judge) Objects(t testing.TB, args ...string) (map[string]any, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), j.Program, args...)
	cmd.Env = append(append(os.Environ(), "HOME="+t.TempDir()), j.Env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %s", cmd, stderr.String())
	}
	return decode(bytes.NewReader(out))
}

// Compare reports where our files differ from what the program prints, and if only one of both fails. It leaves out what
// the program itself prints differently in a second run. It returns how many objects the program prints.
func (j Judge) Compare(t testing.TB, ours func() (iter.Seq2[string, []byte], error), args ...string) (objects int) {
	t.Helper()
	want, wantErr := j.Objects(t, args...)
	files, err := ours()
	if wantErr != nil || err != nil {
		if wantErr == nil || err == nil {
			t.Errorf("upstream says: %v\nwe say: %v", wantErr, err)
		} else {
			t.Logf("both fail:\n%v\n%v", wantErr, err)
		}
		return 0
	}
	var all bytes.Buffer
	count := 0
	for name, data := range files {
		count++
		fmt.Fprintf(&all, "---\n# %s\n%s", name, data)
	}
	got := Objects(t, &all)
	if len(want) != len(got) || len(got) != count {
		t.Errorf("%d objects in %d files, upstream has %d", len(got), count, len(want))
	}
	objects = len(want)
	if reflect.DeepEqual(want, got) {
		return objects
	}
	again, err := j.Objects(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	dropRandom(t, want, again, got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects differ (-upstream +lockage):\n%.4000s", diff)
	}
	return objects
}

// dropRandom leaves out the fields that differ between two runs of upstream, and as many objects with random names as it has
// of their kind.
func dropRandom(t testing.TB, want, again, ours map[string]any) {
	t.Helper()
	kind := func(key string) string { return key[:strings.LastIndex(key, "/")] }
	renamed := map[string]int{}
	for key, object := range want {
		if other, there := again[key]; !there {
			t.Logf("random name: %s", key)
			renamed[kind(key)]++
			delete(want, key)
		} else if !reflect.DeepEqual(object, other) {
			t.Logf("random fields: %s", key)
			dropFields(object, other, ours[key])
		}
	}
	for key := range ours {
		if _, there := want[key]; !there && renamed[kind(key)] > 0 {
			renamed[kind(key)]--
			delete(ours, key)
		}
	}
}

// dropFields empties the fields of a and ours in which a and b differ.
func dropFields(a, b, ours any) {
	switch a := a.(type) {
	case map[string]any:
		b, _ := b.(map[string]any)
		ours, _ := ours.(map[string]any)
		for key, value := range a {
			switch _, there := ours[key]; {
			case !there || reflect.DeepEqual(value, b[key]):
			case reflect.TypeOf(value) == reflect.TypeOf(b[key]) && nested(value):
				dropFields(value, b[key], ours[key])
			default:
				a[key], ours[key] = nil, nil
			}
		}
	case []any:
		b, _ := b.([]any)
		ours, _ := ours.([]any)
		for i := range min(len(a), len(b), len(ours)) {
			switch {
			case reflect.DeepEqual(a[i], b[i]):
			case nested(a[i]):
				dropFields(a[i], b[i], ours[i])
			default:
				a[i], ours[i] = nil, nil
			}
		}
	}
}

func nested(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// Objects decodes a stream of YAML documents as Kubernetes' clients do, lists unwrapped, by kind, namespace and name.
func Objects(t testing.TB, stream io.Reader) map[string]any {
	t.Helper()
	return must(decode(stream))(t)
}

func decode(stream io.Reader) (objects map[string]any, err error) {
	objects = map[string]any{}
	for decoder := yaml.NewYAMLOrJSONDecoder(stream, 4096); ; {
		var raw runtime.RawExtension
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		if len(raw.Raw) > 0 && string(raw.Raw) != "null" {
			if err := addObjects(objects, raw.Raw); err != nil {
				return nil, err
			}
		}
	}
}

// addObjects decodes an object, or a list of them.
func addObjects(objects map[string]any, raw []byte) error {
	var head struct{ Items json.RawMessage }
	if err := json.Unmarshal(raw, &head); err == nil && head.Items != nil {
		list := new(unstructured.UnstructuredList)
		if err := list.UnmarshalJSON(raw); err != nil {
			return fmt.Errorf("%w: %s", err, raw)
		}
		for _, item := range list.Items {
			one, err := json.Marshal(item.Object)
			if err != nil {
				return err
			}
			if err := addObjects(objects, one); err != nil {
				return err
			}
		}
		return nil
	}
	u := new(unstructured.Unstructured)
	if err := u.UnmarshalJSON(raw); err != nil {
		return fmt.Errorf("%w: %s", err, raw)
	}
	key := fmt.Sprint(u.GroupVersionKind(), u.GetNamespace(), "/", u.GetName())
	if u.GetName() == "" {
		key += string(raw)
	}
	if other := objects[key]; other != nil && (u.GetKind() != "CustomResourceDefinition" || !reflect.DeepEqual(other, u.Object)) {
		return fmt.Errorf("%s occurs twice", key)
	}
	objects[key] = u.Object
	return nil
}
