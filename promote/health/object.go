package health

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/sign/predicate"
)

// object is an object of a cluster.
type object struct {
	kind
	fields map[string]any
}

// at returns a field of an object; the zero value if it is absent or of another type.
func at[T any](fields map[string]any, path ...string) T {
	value, _, _ := unstructured.NestedFieldNoCopy(fields, path...)
	field, _ := value.(T)
	return field
}

func (o object) str(path ...string) string { return at[string](o.fields, path...) }

func (o object) name() Name {
	return Name{o.str("metadata", "namespace"), o.str("metadata", "name")}
}

// judgement collects what speaks against an object.
type judgement struct {
	object
	against []string
}

// failIf notes an objection if it is true.
func (j *judgement) failIf(objection bool, format string, args ...any) {
	if objection {
		j.against = append(j.against, fmt.Sprintf(format, args...))
	}
}

// state returns the object's state: ready if nothing speaks against it.
func (j *judgement) state(revision, status string) State {
	j.failIf(j.str("metadata", "deletionTimestamp") != "", "it is being deleted")
	if len(j.against) > 0 {
		status = strings.Join(j.against, ", ")
	}
	n := j.name()
	return State{
		Source: predicate.Source{
			Kind: j.String(), Namespace: n.Namespace, Name: n.Name,
			Revision: terminal.Words(revision, maxWords), Status: terminal.Words(status, maxWords),
		},
		Ready: len(j.against) == 0,
	}
}

// names reports whether a revision is the digest, by itself or after a tag and @.
func names(revision string, d digest.Digest) bool {
	_, after, tagged := strings.Cut(revision, "@")
	return revision == d.String() || tagged && after == d.String()
}

// sameRepository reports whether the URL of a source is that of a repository.
func sameRepository(url, repository string) bool {
	name, ok := strings.CutPrefix(url, "oci://")
	return ok && strings.TrimSuffix(name, "/") == repository
}
