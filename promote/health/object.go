package health

import (
	"strings"

	"github.com/opencontainers/go-digest"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/sign/predicate"
)

// object is an object of a cluster. Fields that are absent, or of another type than they should have, are empty.
type object struct {
	kind
	fields map[string]any
}

func (o object) str(path ...string) string { return str(o.fields, path...) }

func str(fields map[string]any, path ...string) string {
	s, _, _ := unstructured.NestedString(fields, path...)
	return s
}

func (o object) flag(path ...string) bool {
	b, _, _ := unstructured.NestedBool(o.fields, path...)
	return b
}

func (o object) number(path ...string) int64 {
	n, _, _ := unstructured.NestedInt64(o.fields, path...)
	return n
}

func (o object) list(path ...string) []any {
	value, _, _ := unstructured.NestedFieldNoCopy(o.fields, path...)
	items, _ := value.([]any)
	return items
}

func (o object) table(path ...string) map[string]any {
	value, _, _ := unstructured.NestedFieldNoCopy(o.fields, path...)
	fields, _ := value.(map[string]any)
	return fields
}

func (o object) name() Name {
	return Name{o.str("metadata", "namespace"), o.str("metadata", "name")}
}

// state is what the object comes to. It is ready when there is nothing against it.
func (o object) state(revision, status string, against []string) State {
	if len(against) > 0 {
		status = strings.Join(against, ", ")
	}
	n := o.name()
	return State{
		Source: predicate.Source{
			Kind: o.String(), Namespace: n.Namespace, Name: n.Name,
			Revision: terminal.Words(revision, maxWords), Status: terminal.Words(status, maxWords),
		},
		Ready: len(against) == 0,
	}
}

// condition is the status of a condition of some type, and its message.
func (o object) condition(kind string) (status, message string, generation int64) {
	for _, item := range o.list("status", "conditions") {
		fields, _ := item.(map[string]any)
		if str(fields, "type") != kind {
			continue
		}
		observed, _, _ := unstructured.NestedInt64(fields, "observedGeneration")
		return str(fields, "status"), str(fields, "message"), observed
	}
	return "", "", 0
}

// names tells whether a revision is the digest, by itself or behind a tag and @.
func names(revision string, d digest.Digest) bool {
	_, after, tagged := strings.Cut(revision, "@")
	return revision == d.String() || tagged && after == d.String()
}

// sameRepository compares the URL of a source with a repository's name.
func sameRepository(url, repository string) bool {
	name, ok := strings.CutPrefix(url, "oci://")
	return ok && strings.TrimSuffix(name, "/") == repository
}

func (o object) field(path ...string) any {
	value, _, _ := unstructured.NestedFieldNoCopy(o.fields, path...)
	return value
}
