package evidence_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

func TestStatementsAreProven(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := s.push("manifests", "hello")
	s.state(p, "ci", tests)
	s.state(p, "sre", predicate.TypeApproval)
	s.keys["stranger"] = testworld.Key(t)
	s.state(p, "stranger", tests)
	facts := s.collect(s.request(p, attested(t, "robot"), gate(t, "approval", policy.Approval{By: []string{"release-managers", "sre"}})))

	if got, want := proven(facts.Artifact.Statements), "ci "+tests+", sre "+predicate.TypeApproval; got != want {
		t.Errorf("proven are %s, want %s", got, want)
	}
	if facts.Artifact.Digest != p.desc.Digest || facts.Artifact.Repository != p.repository.Name() {
		t.Errorf("the subject is %s in %s", facts.Artifact.Digest, facts.Artifact.Repository)
	}
	var reasons []string
	for _, r := range facts.Artifact.Rejected {
		reasons = append(reasons, r.Reason)
		if strings.Contains(r.Reason, "not signed by") && r.Referrer == "" {
			t.Error("the rejected statement has no referrer")
		}
	}
	if all := strings.Join(reasons, "\n"); len(reasons) != 1 || !strings.Contains(all, "not signed by") {
		t.Errorf("rejected for %q", reasons)
	}

	if ci := facts.Identities["ci"].Author(); ci != facts.Identities["robot"].Author() || ci != s.keys["ci"].Identity().Author() {
		t.Errorf("keys of ci and robot are %s and %s", facts.Identities["ci"], facts.Identities["robot"])
	}
	if id, ok := facts.Identities["vault"]; ok {
		t.Errorf("vault is %s, and nothing can be verified with it", id)
	}
	if facts.Release != release || facts.Commit != commit || facts.Pipeline != "app" || facts.Stage != "production" || facts.Now.IsZero() {
		t.Errorf("facts are about %s %s of %s/%s at %s", facts.Release, facts.Commit, facts.Pipeline, facts.Stage, facts.Now)
	}
}

// Nothing is read that no gate asks for, and nothing twice.
func TestOnlyWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := s.push("manifests", "hello")
	s.state(p, "ci", tests)

	s.collect(s.request(p))
	if got := s.Requests(""); len(got) > 0 {
		t.Errorf("without a gate, asked %v", got)
	}

	waivable := s.request(p)
	waivable.Declared.Waivers.By = []string{"ci"}
	if got := proven(s.collect(waivable).Artifact.Statements); got != "ci "+tests {
		t.Errorf("where the order can be waived, proven are %q", got)
	}

	s.Forget()
	facts := s.collect(s.request(p, gate(t, "window", policy.Window{Allow: []string{"Mon 09:00-10:00"}}), gate(t, "file", "approved")))
	if got := s.Requests(""); len(got) > 0 {
		t.Errorf("without a gate on statements, asked %v", got)
	}
	if facts.Objects != nil || facts.Diff != nil {
		t.Error("objects were decoded, and no gate asks for them")
	}

	by := []string{"ci"}
	s.collect(s.request(p, attested(t, by...), attested(t, by...), gate(t, "image", policy.ImageGate{By: by}),
		gate(t, "attestation", policy.Attestation{Type: tests, Subject: "image", By: by})))
	for _, list := range []string{"/manifests/referrers/" + p.desc.Digest.String(), "/web/referrers/" + s.image.Digest.String(), "/web/manifests/sha256-" + s.image.Digest.Encoded() + ".sig"} {
		if got := s.Requests(list); len(got) != 1 {
			t.Errorf("%s: asked %v, want one request", list, got)
		}
	}
}

func namedImage(t *testing.T, of string) pipeline.Gate {
	t.Helper()
	return gate(t, "image", policy.ImageGate{By: []string{"ci"}, Of: of})
}

func TestImage(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := s.push("manifests", "hello")
	image := s.push("web", "an image")
	s.state(image, "ci", sign.PredicateSignature)
	claim := sign.Claim{Repository: image.repository.Name()}
	for _, identity := range []string{"sre", "ci"} {
		testworld.SignImage(t, image.repository, image.desc, s.keys[identity], claim)
	}
	gate := gate(t, "image", policy.ImageGate{By: []string{"ci"}})
	facts := s.collect(s.request(p, gate))
	if got := proven(facts.Images[0].Statements); got != "ci "+sign.PredicateSignature {
		t.Errorf("proven are %s", got)
	}
	if n := len(facts.Images[0].Signatures); n != 2 {
		t.Errorf("%d older signatures, want 2", n)
	}
	if facts.Images[0].Digest != image.desc.Digest || facts.Images[0].Repository != image.repository.Name() {
		t.Errorf("the image is %s in %s", facts.Images[0].Digest, facts.Images[0].Repository)
	}

	// Further images are read too, unless the gate names one.
	sidecar := s.push("sidecar", "another image")
	s.state(sidecar, "ci", sign.PredicateSignature)
	r := s.request(p, gate)
	r.Lock.Others = []lock.NamedImage{{Name: "side", Image: lock.Image{Ref: sidecar.repository.Name() + ":v1", Digest: sidecar.desc.Digest}}}
	if facts := s.collect(r); len(facts.Images) != 2 || facts.Images[1].Name != "side" || proven(facts.Images[1].Statements) != "ci "+sign.PredicateSignature {
		t.Errorf("images are %+v", facts.Images)
	}
	r.Declared.Gates[0].Condition = namedImage(t, "image").Condition
	if facts := s.collect(r); len(facts.Images[0].Statements) != 1 || len(facts.Images[1].Statements) != 0 {
		t.Errorf("images are %+v", facts.Images)
	}

	// A registry that fails is not taken for one without signatures.
	for _, part := range []string{"/web/referrers/", ".sig", "/manifests/referrers/"} {
		s.Refuse(http.StatusInternalServerError, func(r *http.Request) bool { return strings.Contains(r.URL.Path, part) })
		if _, err := evidence.Collect(t.Context(), s.request(p, gate, attested(t, "ci"))); err == nil {
			t.Errorf("%s fails, and evidence was collected", part)
		}
	}
	s.Intercept(nil)

	// An image that is not there has no signatures.
	r = s.request(p, gate)
	r.Lock.Image.Digest = digest.FromString("nothing")
	if facts := s.collect(r); len(facts.Images[0].Statements)+len(facts.Images[0].Signatures) > 0 {
		t.Errorf("proven are %v", facts.Images[0])
	}
}

// What is attested in another stage is proven by that stage's identities too, under names of their own.
func TestOtherStages(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p, theirs, older := s.push("manifests", "production"), s.push("manifests", "test"), s.push("manifests", "older")
	s.health(theirs, "promote-test", "test")
	s.health(theirs, "promote-production", "test")
	s.health(older, "promote-test", "test")
	s.state(theirs, "ci", tests)
	s.state(theirs, "promote-test", tests)

	r := s.request(p, gate(t, "soak", policy.Soak{Stage: "test", For: "2h", Healthy: true}),
		gate(t, "attestation", policy.Attestation{Type: tests, Subject: "stage:test", By: []string{"ci"}}),
		gate(t, "soak", policy.Soak{Stage: "staging", For: "1h"}))
	if got := policy.NeedsOf(r.Declared.Gates).Stages(); !cmp.Equal(got, []string{"staging", "test"}) {
		t.Errorf("gates ask about %v", got)
	}
	spans := []policy.Span{
		{Artifact: predicate.Artifact{Release: "git-older", Digests: oci.Digests{Digest: older.desc.Digest, Content: older.tree.ContentDigest()}}},
		{Artifact: predicate.Artifact{Release: release, Digests: oci.Digests{Digest: theirs.desc.Digest, Content: theirs.tree.ContentDigest()}}},
	}
	r.Stages["test"] = evidence.Stage{Declared: s.declared("test"), Artifact: theirs.desc.Digest, Live: spans}
	facts := s.collect(r)

	if got, want := proven(facts.Health["test"]), "promoter "+predicate.TypeHealth+", test/promoter "+predicate.TypeHealth; got != want {
		t.Errorf("health by %s, want %s", got, want)
	}
	if got := s.Requests("/referrers/" + theirs.desc.Digest.String()); len(got) != 1 {
		t.Errorf("of an artifact that two gates ask about, asked %v", got)
	}
	if got := s.Requests(older.desc.Digest.String()); len(got) > 0 {
		t.Errorf("of another release's content, asked %v", got)
	}
	if test := facts.Identities["test/promoter"].Author(); test == facts.Identities["promoter"].Author() || test != s.keys["promote-test"].Identity().Author() {
		t.Errorf("keys are %v", facts.Identities)
	}
	if got := facts.Stages["test"]; got.Digest != theirs.desc.Digest || !strings.Contains(proven(got.Statements), "ci "+tests+", ") {
		t.Errorf("of stage test, proven are %s", proven(got.Statements))
	}
	if diff := cmp.Diff(spans, facts.Live["test"]); diff != "" {
		t.Error(diff)
	}
	if facts.Live["staging"] != nil || len(facts.Health["staging"]) > 0 {
		t.Errorf("staging has a history: %v", facts.Live["staging"])
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.files["approved/"+release+".yaml"] = &fstest.MapFile{Data: []byte("yes")}
	facts := s.collect(s.request(s.push("manifests", "hello"), gate(t, "file", "approved/"+release+".yaml"),
		gate(t, "file", "approved/other.yaml"), gate(t, "file", "approved")))
	want := map[string]bool{"approved/" + release + ".yaml": true, "approved/other.yaml": false, "approved": false}
	if diff := cmp.Diff(want, facts.Exists); diff != "" {
		t.Error(diff)
	}

	r := s.request(s.push("manifests", "hello"), gate(t, "file", "approved/x"))
	r.Files = failing{s.files, "approved/x"}
	if _, err := evidence.Collect(t.Context(), r); err == nil {
		t.Error("a file that cannot be read is taken for one that is not there")
	}
}

// failing has a file that cannot be read.
type failing struct {
	fs.FS
	name string
}

func (f failing) Open(name string) (fs.File, error) {
	if name == f.name {
		return nil, errors.New("connection lost")
	}
	return f.FS.Open(name)
}

func TestObjects(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p, live := s.push("manifests", "hello"), s.push("manifests", "good day")
	r := s.request(p, gate(t, "cel", `liveObjects.size() == 0 || diff.counts.changed < 3`))
	r.Live = func(context.Context) (*oci.Tree, error) { return live.tree, nil }
	facts := s.collect(r)
	if len(facts.Objects) != 2 || len(facts.LiveObjects) != 2 {
		t.Fatalf("%d objects, %d live", len(facts.Objects), len(facts.LiveObjects))
	}
	want := map[string]any{"replicas": int64(3), "weight": 0.5, "big": int64(9223372036854775807), "bigger": uint64(9223372036854775808)}
	if diff := cmp.Diff(want, facts.Objects[1]["spec"]); diff != "" {
		t.Error(diff)
	}
	changes, _ := facts.Diff.(map[string]any)
	if diff := cmp.Diff(map[string]any{"added": json.Number("0"), "removed": json.Number("0"), "changed": json.Number("1"), "renamed": json.Number("0"), "unchanged": json.Number("1")}, changes["counts"]); diff != "" {
		t.Error(diff)
	}

	// Where nothing is live, everything is new.
	r.Live = nil
	facts = s.collect(r)
	changes, _ = facts.Diff.(map[string]any)
	if counts, _ := changes["counts"].(map[string]any); facts.LiveObjects != nil || counts["added"] != json.Number("2") {
		t.Errorf("live objects %v, counts %v", facts.LiveObjects, counts)
	}

	r = s.request(p, gate(t, "cel", `objects.size() == 2`))
	r.Live = func(context.Context) (*oci.Tree, error) { return nil, errors.New("read without need") }
	if facts = s.collect(r); facts.Diff != nil || facts.LiveObjects != nil {
		t.Error("the expression names objects only")
	}
}

func TestIdentitiesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := s.push("manifests", "hello")
	for name, c := range map[string]struct {
		data string
		want error
	}{
		"no such file": {"", verify.ErrIdentity},
		"no key":       {"hello", verify.ErrIdentity},
		"too large":    {strings.Repeat("a", 100<<10), verify.ErrIdentity},
	} {
		delete(s.files, "keys/sre.pub")
		if c.data != "" {
			s.files["keys/sre.pub"] = &fstest.MapFile{Data: []byte(c.data)}
		}
		_, err := evidence.Collect(t.Context(), s.request(p, attested(t, "ci")))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "identities.sre") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	r := s.request(p, attested(t, "ci"))
	r.Files = failing{s.files, "keys/ci.pub"}
	if _, err := evidence.Collect(t.Context(), r); err == nil || errors.Is(err, verify.ErrIdentity) {
		t.Errorf("error is %v, want one of reading", err)
	}
}

func TestNobodyToTrust(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := s.push("manifests", "hello")
	s.state(p, "ci", tests)
	r := s.request(p, attested(t, "release-managers"))
	r.Declared.Identities = map[string]pipeline.Identity{"release-managers": {Key: "kms://keys/managers"}}
	facts := s.collect(r)
	if len(facts.Artifact.Statements) > 0 || len(facts.Identities) > 0 || len(facts.Artifact.Rejected) != 1 {
		t.Errorf("proven are %s, rejected %v", proven(facts.Artifact.Statements), facts.Artifact.Rejected)
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	stages := []pipeline.Expanded{s.declared("test"), s.declared("production")}
	for identity, want := range map[string][]evidence.Role{
		"promote-test": {{Name: "promoter", Stage: "test"}},
		"hydrator":     {{Name: "hydrator", Stage: "test"}, {Name: "hydrator", Stage: "production"}},
		"ci":           nil,
	} {
		got, err := evidence.Roles(s.files, s.keys[identity].Identity().Author(), stages...)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", identity, got, err, want)
		}
	}
	file := s.declared("test").Identities["hydrator"].Key
	s.files[file] = &fstest.MapFile{Data: append(s.keys["sre"].PublicKey().PEM(), s.files[file].Data...)}
	if got, err := evidence.Roles(s.files, s.keys["hydrator"].Identity().Author(), stages[0]); err != nil || len(got) != 1 {
		t.Errorf("a key that was replaced: %v, %v", got, err)
	}
}

// TestNotEverybodyAppliesIt is of an object that some program leaves out: gates see it, and again without it.
func TestNotEverybodyAppliesIt(t *testing.T) {
	t.Parallel()
	objects, err := hydrate.Objects([]hydrate.Manifest{{Data: []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: a}")},
		{Data: []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: b, annotations: {config.kubernetes.io/local-config: x}}")}})
	if err != nil {
		t.Fatal(err)
	}
	var f policy.Facts
	if err := evidence.AddObjects(&f, objects, objects[:1]); err != nil {
		t.Fatal(err)
	}
	added := func(changes any) any { return changes.(map[string]any)["counts"].(map[string]any)["added"] }
	if len(f.Objects) != 2 || added(f.Diff) != json.Number("1") || f.Applied == nil || len(f.Applied.Objects) != 1 || len(f.Applied.LiveObjects) != 1 ||
		added(f.Applied.Diff) != json.Number("0") || !strings.HasPrefix(f.Applied.Without, "Pod b: kustomize, Flux and Config Sync leave it out") {
		t.Errorf("%+v", f)
	}
	f = policy.Facts{}
	if err := evidence.AddObjects(&f, objects[:1], nil); err != nil || f.Applied != nil {
		t.Errorf("%v, %+v", err, f.Applied)
	}
}
