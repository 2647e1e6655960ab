package health

import (
	"fmt"

	"github.com/opencontainers/go-digest"
)

// judgeRepository says whether an OCIRepository has fetched a digest.
func judgeRepository(o object, d digest.Digest) State {
	return judgeFlux(o, o.str("status", "artifact", "revision"), d)
}

// judgeKustomization says whether a Kustomization has applied a digest, and found it healthy.
func judgeKustomization(o object, d digest.Digest) State {
	return judgeFlux(o, o.str("status", "lastAppliedRevision"), d)
}

func judgeFlux(o object, revision string, d digest.Digest) State {
	var against []string
	fail := func(format string, args ...any) { against = append(against, fmt.Sprintf(format, args...)) }
	if !names(revision, d) {
		fail("it is at %s", orNothing(revision))
	}
	status, message, observed := o.condition("Ready")
	if status != "True" {
		fail("Ready is %s: %s", orNothing(status), orNothing(message))
	}
	// A condition need not say of which generation it is; the status as a whole does.
	generation := o.number("metadata", "generation")
	if overall := o.number("status", "observedGeneration"); overall < generation || observed != 0 && observed < generation {
		fail("its status is of an older generation")
	}
	if status, message, _ := o.condition("Reconciling"); status == "True" {
		fail("it is reconciling: %s", orNothing(message))
	}
	if o.flag("spec", "suspend") {
		fail("it is suspended")
	}
	if o.str("metadata", "deletionTimestamp") != "" {
		fail("it is being deleted")
	}
	return o.state(revision, "Ready: "+message, against)
}

// sourceRef is the OCIRepository that a Kustomization applies, if it applies one.
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

// checksHealth tells whether a Kustomization's Ready says more than applied.
func (o object) checksHealth() bool {
	return o.flag("spec", "wait") || len(o.list("spec", "healthChecks")) > 0
}
