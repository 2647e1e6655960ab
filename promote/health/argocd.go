package health

import (
	"cmp"
	"reflect"

	"github.com/opencontainers/go-digest"
)

// The annotation by which somebody asks Argo CD to compare again; it is removed when that is done.
const annotationRefresh = "argocd.argoproj.io/refresh"

// source is a source of an Application, and the revision that it was compared at.
type source struct{ url, target, revision string }

// sources returns an Application's sources: spec.sources, or spec.source if that is empty.
func (o object) sources() []source {
	declared := at[[]any](o.fields, "spec", "sources")
	if len(declared) == 0 {
		return []source{{
			url:      o.str("spec", "source", "repoURL"),
			target:   o.str("spec", "source", "targetRevision"),
			revision: o.str("status", "sync", "revision"),
		}}
	}
	revisions := at[[]any](o.fields, "status", "sync", "revisions")
	all := make([]source, len(declared))
	for i, item := range declared {
		fields, _ := item.(map[string]any)
		all[i] = source{url: at[string](fields, "repoURL"), target: at[string](fields, "targetRevision")}
		if i < len(revisions) {
			all[i].revision, _ = revisions[i].(string)
		}
	}
	return all
}

// judgeApplication judges whether an Application has a digest synced and healthy.
func judgeApplication(o object, d digest.Digest) State {
	revision := ""
	for _, s := range o.sources() {
		if revision == "" || names(s.revision, d) {
			revision = s.revision
		}
	}
	j := judgement{object: o}
	j.failIf(!names(revision, d), "it is at %s", cmp.Or(revision, "nothing"))
	sync := o.str("status", "sync", "status")
	j.failIf(sync != "Synced", "sync status %s", cmp.Or(sync, "nothing"))
	health, message := o.str("status", "health", "status"), o.str("status", "health", "message")
	j.failIf(health != "Healthy", "health status %s", cmp.Or(health, "nothing"))
	j.failIf(health != "Healthy" && message != "", "%s", message)
	j.failIf(at[map[string]any](o.fields, "operation") != nil, "an operation is requested")
	switch phase := o.str("status", "operationState", "phase"); phase {
	case "", "Succeeded": // an Application that was in sync when it was made has no operation
	case "Failed", "Error":
		j.failIf(true, "the last operation ended as %s: %s", phase, o.str("status", "operationState", "message"))
	default:
		j.failIf(true, "an operation is %s", phase)
	}
	j.failIf(o.str("metadata", "annotations", annotationRefresh) != "", "a refresh is asked for")
	j.failIf(!o.comparedAsDeclared(), "its status is of an older spec")
	observed := at[int64](o.fields, "status", "observedGeneration")
	j.failIf(observed != 0 && observed < at[int64](o.fields, "metadata", "generation"), "its status is of an older generation")
	return j.state(revision, sync+", "+health)
}

// comparedAsDeclared reports whether the comparison was made with the sources and the destination of the spec. An
// Application's generation does not show it: it counts changes of the status too.
func (o object) comparedAsDeclared() bool {
	field := "source"
	if len(at[[]any](o.fields, "spec", "sources")) > 0 {
		field = "sources"
	}
	if !reflect.DeepEqual(bare(at[any](o.fields, "spec", field)), bare(at[any](o.fields, "status", "sync", "comparedTo", field))) {
		return false
	}
	// A cluster may be declared by name and compared by address: fields that both have must be the same.
	compared := at[map[string]any](o.fields, "status", "sync", "comparedTo", "destination")
	for key, declared := range at[map[string]any](o.fields, "spec", "destination") {
		if is, ok := compared[key]; ok && !reflect.DeepEqual(is, declared) {
			return false
		}
	}
	return true
}

// bare leaves out empty fields, which one side may have and the other not.
func bare(value any) any {
	switch v := value.(type) {
	case map[string]any:
		fields := map[string]any{}
		for key, field := range v {
			if kept := bare(field); kept != nil {
				fields[key] = kept
			}
		}
		if len(fields) > 0 {
			return fields
		}
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = bare(item)
		}
		if len(items) > 0 {
			return items
		}
	default:
		if value != "" && value != false {
			return value
		}
	}
	return nil
}
