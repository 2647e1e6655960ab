package publish

import (
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

const clearSecret = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: db}, stringData: {password: hunter2}}\n" +
	"- {apiVersion: v1, kind: Secret, metadata: {name: other}, data: {image: " + image + "}}\n"

// TestSecretsAreRefusedBeforeTheFirstWrite: nothing of a refused stage is in the registry.
func TestSecretsAreRefusedBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	job := w.job(g(1), "")
	job.Package = pkg{clearSecret, &w.renders}
	job.Options.AllowSecrets = []string{"db"}
	if out, err := try(t, job); err == nil || out.Action != Failed {
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
	job := w.job(g(1), "")
	job.Package = pkg{clearSecret, &w.renders}
	job.Options.AllowSecrets = []string{"other", "db", "absent"}
	job.Options.AllowNondeterminism, job.Options.AssertImage = true, hydrate.AssertNothing
	w.run(job, Pushed)
	want := []string{"allowSecrets: db", "allowSecrets: other"}
	if got := w.provenance(job).Allowances; !slices.Equal(got, want) {
		t.Errorf("allowances %q, want %q", got, want)
	}
}

// dependent is a package with a chart that was fetched for it.
type dependent struct{ pkg }

func (d dependent) Inputs() []hydrate.Input {
	return append(d.pkg.Inputs(), hydrate.Input{Kind: hydrate.InputDependency, Path: "pkg:helm/redis@20.0.1", SHA256: sha256.Sum256([]byte("redis"))})
}

func TestFetchedChartsAreInTheProvenance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	job := w.job(g(1), "")
	job.Package = dependent{pkg{clearSecret, &w.renders}}
	job.Options.AllowSecrets = []string{"other", "db"}
	w.run(job, Pushed)
	dependencies := w.provenance(job).Dependencies
	chart := dependencies[slices.IndexFunc(dependencies, func(d sign.ResourceDescriptor) bool { return d.Name == "chart" })]
	if want := digest.FromString("redis").Encoded(); chart.URI != "pkg:helm/redis@20.0.1" || chart.Digest["sha256"] != want {
		t.Errorf("chart %+v", chart)
	}
}

// provenance is what the hydrator stated of the job's candidate.
func (w *world) provenance(job *stage) sign.Provenance {
	t := w.t
	t.Helper()
	desc, err := w.repository().Resolve(t.Context(), oci.CandidateTag("production", release))
	if err != nil {
		t.Fatal(err)
	}
	h, err := verify.Hydration(t.Context(), w.repository(), desc, job.hydrator, job.run.policyRef)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range h.Statements {
		if provenance, err := s.Provenance(); err == nil {
			return provenance
		}
	}
	t.Fatal("no provenance")
	return sign.Provenance{}
}
