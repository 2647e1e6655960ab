package evidence_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

const (
	commit  = "1111111111111111111111111111111111111111"
	release = "git-" + commit
	tests   = "https://acme.dev/ui-tests/v1"
)

// scene is a real registry with an artifact and an application image, and the keys of the policy ref.
type scene struct {
	*testworld.Registry
	t     *testing.T
	files fstest.MapFS
	keys  map[string]*sign.Key // by identity
	lock  lock.Lock
	image ocispec.Descriptor
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{Registry: testworld.NewRegistry(t, registry.Options{}), t: t, files: fstest.MapFS{}, keys: map[string]*sign.Key{}}
	for _, name := range []string{"hydrator", "ci", "sre", "promote-production", "promote-test"} {
		s.identity(name)
	}
	image := s.push("web", "an image")
	s.image = image.desc
	s.lock = testworld.Lock(commit)
	s.lock.Image = lock.Image{Ref: s.Host + "/acme/web:v1", Digest: image.desc.Digest}
	return s
}

func (s *scene) identity(name string) {
	s.keys[name] = testworld.Key(s.t)
	s.files["keys/"+name+".pub"] = &fstest.MapFile{Data: s.keys[name].PublicKey().PEM()}
}

// declared is a stage with gates, as it is expanded.
func (s *scene) declared(stage string, gates ...pipeline.Gate) pipeline.Expanded {
	return pipeline.Expanded{
		Pipeline: "app", Stage: stage, Repository: s.Host + "/acme/manifests", Gates: gates,
		Identities: map[string]pipeline.Identity{
			"hydrator":         {Key: "keys/hydrator.pub"},
			"promoter":         {Key: "keys/promote-" + stage + ".pub"},
			"ci":               {Key: "keys/ci.pub"},
			"robot":            {Key: "keys/ci.pub"}, // another name of the same key
			"sre":              {Key: "keys/sre.pub"},
			"release-managers": {Issuer: "https://accounts.example.com", SubjectRegexp: ".*"},
			"vault":            {Key: "kms://keys/vault"},
		},
	}
}

// pushed is an artifact in the registry.
type pushed struct {
	repository *oci.Repository
	desc       ocispec.Descriptor
	tree       *oci.Tree
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {replicas: 3, weight: 0.5, big: 9223372036854775807, bigger: 9223372036854775808}
`

// push makes an artifact of one object, in a repository of its own content.
func (s *scene) push(repository, greeting string) pushed {
	s.t.Helper()
	r := s.Repository(s.t, repository)
	a := testworld.Push(s.t, r, fstest.MapFS{
		"deployment-web.yaml": {Data: []byte(deployment)},
		"configmap-web.yaml":  {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {greeting: " + greeting + "}\n")},
	}, nil)
	manifest, err := r.ReadArtifact(s.t.Context(), a.Descriptor.Digest.String())
	if err != nil {
		s.t.Fatal(err)
	}
	tree, err := r.Pull(s.t.Context(), manifest)
	if err != nil {
		s.t.Fatal(err)
	}
	return pushed{r, manifest.Descriptor, tree}
}

// state attaches a statement of some type by an identity.
func (s *scene) state(p pushed, identity, predicateType string) digest.Digest {
	s.t.Helper()
	statement := sign.NewSignature(p.desc.Digest, sign.Claim{Pipeline: "app", Stage: "production", Release: release, Repository: p.repository.Name()})
	statement.PredicateType = predicateType
	statement.Predicate = []byte(`{"by":"` + identity + `"}`)
	return testworld.Attest(s.t, p.repository, p.desc, s.keys[identity], statement).Digest()
}

func (s *scene) request(p pushed, gates ...pipeline.Gate) evidence.Request {
	return evidence.Request{
		Declared: s.declared("production", gates...), Lock: s.lock, Candidate: p.desc, Tree: p.tree,
		Files: s.files, Client: testworld.Client(), Now: time.Date(2026, 3, 22, 12, 0, 0, 0, time.UTC), Stages: map[string]evidence.Stage{},
	}
}

func (s *scene) collect(r evidence.Request) policy.Facts {
	s.t.Helper()
	s.Forget()
	facts, err := evidence.Collect(s.t.Context(), r)
	if err != nil {
		s.t.Fatal(err)
	}
	return facts
}

// proven are identity and type of statements, sorted.
func proven(statements []sign.Verified) string {
	var all []string
	for _, v := range statements {
		all = append(all, v.Identity()+" "+v.PredicateType())
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// gate makes a gate of its declaration.
func gate(t testing.TB, kind string, declared any) pipeline.Gate {
	t.Helper()
	text, err := json.Marshal(map[string]any{"gates": []any{map[string]any{kind: declared}}})
	if err != nil {
		t.Fatal(err)
	}
	doc, problems := strictyaml.Parse("gates.yaml", text)
	if doc == nil {
		t.Fatal(problems)
	}
	gates, _, err := pipeline.ParseGates(policy.Kinds(), doc, "production", lock.Lock{ReleaseID: release, GitCommit: commit}, fstest.MapFS{})
	if err != nil {
		t.Fatal(err)
	}
	return gates[0]
}

func attested(t testing.TB, by ...string) pipeline.Gate {
	t.Helper()
	return gate(t, "attestation", policy.Attestation{Type: tests, By: by})
}

func (s *scene) health(p pushed, identity, stage string) {
	s.t.Helper()
	statement, err := predicate.NewStatement(predicate.Health{Claim: sign.Claim{
		Pipeline: "app", Stage: stage, Release: release, Repository: p.repository.Name(),
	}}, p.desc.Digest)
	if err != nil {
		s.t.Fatal(err)
	}
	testworld.Attest(s.t, p.repository, p.desc, s.keys[identity], statement)
}
