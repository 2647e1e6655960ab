package health

import (
	"cmp"

	"github.com/opencontainers/go-digest"
)

// judgeFlux judges whether an OCIRepository has fetched a digest, or a Kustomization has applied it and found it healthy.
func judgeFlux(o object, d digest.Digest) State {
	revision := o.str("status", "artifact", "revision")
	if o.kind.kind == kustomization.kind {
		revision = o.str("status", "lastAppliedRevision")
	}
	j := judgement{object: o}
	j.failIf(!names(revision, d), "it is at %s", cmp.Or(revision, "nothing"))
	ready, reconciling := o.condition("Ready"), o.condition("Reconciling")
	message := at[string](ready, "message")
	j.failIf(at[string](ready, "status") != "True", "Ready is %s: %s", cmp.Or(at[string](ready, "status"), "nothing"), cmp.Or(message, "nothing"))
	// A condition need not name its generation; the status as a whole does.
	generation, observed := at[int64](o.fields, "metadata", "generation"), at[int64](ready, "observedGeneration")
	j.failIf(at[int64](o.fields, "status", "observedGeneration") < generation || observed != 0 && observed < generation,
		"its status is of an older generation")
	j.failIf(at[string](reconciling, "status") == "True", "it is reconciling: %s", cmp.Or(at[string](reconciling, "message"), "nothing"))
	j.failIf(at[bool](o.fields, "spec", "suspend"), "it is suspended")
	return j.state(revision, "Ready: "+message)
}

// condition returns the first condition of a type; nil for none.
func (o object) condition(kind string) map[string]any {
	for _, item := range at[[]any](o.fields, "status", "conditions") {
		if fields, _ := item.(map[string]any); at[string](fields, "type") == kind {
			return fields
		}
	}
	return nil
}

// sourceRef returns the OCIRepository that a Kustomization applies, if it applies one.
func (o object) sourceRef() (Name, bool) {
	if o.str("spec", "sourceRef", "kind") != ociRepository.kind {
		return Name{}, false
	}
	return Name{cmp.Or(o.str("spec", "sourceRef", "namespace"), o.name().Namespace), o.str("spec", "sourceRef", "name")}, true
}

// checksHealth reports whether a Kustomization's Ready means healthy, and not only applied.
func (o object) checksHealth() bool {
	return at[bool](o.fields, "spec", "wait") || len(at[[]any](o.fields, "spec", "healthChecks")) > 0
}
