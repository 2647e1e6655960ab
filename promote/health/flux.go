package health

import "github.com/opencontainers/go-digest"

// judgeRepository judges whether an OCIRepository has fetched a digest.
func judgeRepository(o object, d digest.Digest) State {
	return judgeFlux(o, o.str("status", "artifact", "revision"), d)
}

// judgeKustomization judges whether a Kustomization has applied a digest, and found it healthy.
func judgeKustomization(o object, d digest.Digest) State {
	return judgeFlux(o, o.str("status", "lastAppliedRevision"), d)
}

func judgeFlux(o object, revision string, d digest.Digest) State {
	j := judgement{object: o}
	j.failIf(!names(revision, d), "it is at %s", orNothing(revision))
	ready, reconciling := o.condition("Ready"), o.condition("Reconciling")
	message := at[string](ready, "message")
	j.failIf(at[string](ready, "status") != "True", "Ready is %s: %s", orNothing(at[string](ready, "status")), orNothing(message))
	// A condition need not name its generation; the status as a whole does.
	generation, observed := at[int64](o.fields, "metadata", "generation"), at[int64](ready, "observedGeneration")
	j.failIf(at[int64](o.fields, "status", "observedGeneration") < generation || observed != 0 && observed < generation,
		"its status is of an older generation")
	j.failIf(at[string](reconciling, "status") == "True", "it is reconciling: %s", orNothing(at[string](reconciling, "message")))
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
	if o.str("spec", "sourceRef", "kind") != ociRepository().kind {
		return Name{}, false
	}
	n := Name{o.str("spec", "sourceRef", "namespace"), o.str("spec", "sourceRef", "name")}
	if n.Namespace == "" {
		n.Namespace = o.name().Namespace
	}
	return n, true
}

// checksHealth reports whether a Kustomization's Ready means healthy, and not only applied.
func (o object) checksHealth() bool {
	return at[bool](o.fields, "spec", "wait") || len(at[[]any](o.fields, "spec", "healthChecks")) > 0
}
