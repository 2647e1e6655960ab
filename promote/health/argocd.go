package health

import (
	"fmt"
	"reflect"

	"github.com/opencontainers/go-digest"
)

// The annotation by which somebody asks Argo CD to compare again; it is removed when that is done.
const annotationRefresh = "argocd.argoproj.io/refresh"

// source is where an Application's objects come from, and the revision that it was compared at.
type source struct{ url, target, revision string }

// sources lists an Application's sources: spec.source, or spec.sources in its place.
func (o object) sources() []source {
	declared := o.list("spec", "sources")
	if len(declared) == 0 {
		return []source{{
			url:      o.str("spec", "source", "repoURL"),
			target:   o.str("spec", "source", "targetRevision"),
			revision: o.str("status", "sync", "revision"),
		}}
	}
	revisions := o.list("status", "sync", "revisions")
	all := make([]source, len(declared))
	for i, item := range declared {
		fields, _ := item.(map[string]any)
		all[i] = source{url: str(fields, "repoURL"), target: str(fields, "targetRevision")}
		if i < len(revisions) {
			all[i].revision, _ = revisions[i].(string)
		}
	}
	return all
}

// judgeApplication says whether an Application has a digest synced and healthy.
func judgeApplication(o object, d digest.Digest) State {
	var against []string
	fail := func(format string, args ...any) { against = append(against, fmt.Sprintf(format, args...)) }

	revision, found := "", false
	for _, s := range o.sources() {
		if revision == "" || names(s.revision, d) {
			revision = s.revision
		}
		found = found || names(s.revision, d)
	}
	if !found {
		fail("it is at %s", orNothing(revision))
	}
	sync, health := o.str("status", "sync", "status"), o.str("status", "health", "status")
	if sync != "Synced" {
		fail("sync status %s", orNothing(sync))
	}
	if health != "Healthy" {
		fail("health status %s", orNothing(health))
		if message := o.str("status", "health", "message"); message != "" {
			fail("%s", message)
		}
	}
	if o.table("operation") != nil {
		fail("an operation is requested")
	}
	switch phase := o.str("status", "operationState", "phase"); phase {
	case "", "Succeeded": // without one it was in sync when it was made
	case "Failed", "Error":
		fail("the last operation ended as %s: %s", phase, o.str("status", "operationState", "message"))
	default:
		fail("an operation is %s", phase)
	}
	if o.str("metadata", "annotations", annotationRefresh) != "" {
		fail("a refresh is asked for")
	}
	if !o.comparedAsDeclared() {
		fail("its status is of an older spec")
	}
	if observed := o.number("status", "observedGeneration"); observed != 0 && observed < o.number("metadata", "generation") {
		fail("its status is of an older generation")
	}
	if o.str("metadata", "deletionTimestamp") != "" {
		fail("it is being deleted")
	}
	return o.state(revision, sync+", "+health, against)
}

// comparedAsDeclared tells whether the comparison was made with the sources and the destination of the spec. An
// Application's generation cannot tell: it counts changes of the status too.
func (o object) comparedAsDeclared() bool {
	field := "source"
	if len(o.list("spec", "sources")) > 0 {
		field = "sources"
	}
	if !reflect.DeepEqual(bare(o.field("spec", field)), bare(o.field("status", "sync", "comparedTo", field))) {
		return false
	}
	// A cluster may be declared by name and compared by address: what both sides tell must be the same.
	compared := o.table("status", "sync", "comparedTo", "destination")
	for key, declared := range o.table("spec", "destination") {
		if is, told := compared[key]; told && !reflect.DeepEqual(is, declared) {
			return false
		}
	}
	return true
}

// bare leaves out fields without content, which one side may have and the other not.
func bare(value any) any {
	switch v := value.(type) {
	case map[string]any:
		fields := map[string]any{}
		for key, field := range v {
			if kept := bare(field); kept != nil {
				fields[key] = kept
			}
		}
		if len(fields) == 0 {
			return nil
		}
		return fields
	case []any:
		if len(v) == 0 {
			return nil
		}
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = bare(item)
		}
		return items
	case string:
		if v == "" {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return value
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
