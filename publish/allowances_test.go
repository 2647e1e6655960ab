package publish

import (
	"slices"
	"testing"

	"github.com/lockage/lockage/artifact"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/verify"
)

const clearSecret = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: db}, stringData: {password: hunter2}}\n" +
	"- {apiVersion: v1, kind: Secret, metadata: {name: other}, data: {image: " + image + "}}\n"

// TestSecretsAreRefusedBeforeTheFirstWrite: nothing of a refused stage stands in the registry.
func TestSecretsAreRefusedBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	job := w.job("g1", "")
	job.Stage.Package = pkg{clearSecret, &w.renders}
	job.Stage.AllowSecrets = []string{"db"}
	if out, err := publish(t.Context(), job, free); err == nil || out.Action != Failed {
		t.Fatalf("%s, %v", out.Action, err)
	}
	if tags, err := w.repository().Tags(t.Context(), ""); err != nil || len(tags) > 0 {
		t.Errorf("tags %v, %v", tags, err)
	}
}

// TestAllowancesTakenAreInTheProvenance looks for what the stage waived and needed, and for nothing else.
func TestAllowancesTakenAreInTheProvenance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	job := w.job("g1", "")
	job.Stage.Package = pkg{clearSecret, &w.renders}
	job.Stage.AllowSecrets = []string{"other", "db", "absent"}
	job.Stage.AllowNondeterminism, job.Stage.AssertImage = true, false
	w.run(job, Pushed)
	desc, err := w.repository().Resolve(t.Context(), artifact.Candidate("production", release))
	if err != nil {
		t.Fatal(err)
	}
	h, err := verify.Hydration(t.Context(), w.repository(), desc, job.Hydrator, job.Trunk)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"allowSecrets: db", "allowSecrets: other"}
	for _, s := range h.Statements {
		if s.PredicateType() != sign.PredicateProvenance {
			continue
		}
		provenance, err := sign.ParseProvenance(s.Predicate())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(provenance.Allowances, want) {
			t.Errorf("allowances %q, want %q", provenance.Allowances, want)
		}
		return
	}
	t.Error("no provenance")
}
