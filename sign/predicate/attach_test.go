package predicate_test

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// store is an artifact in a real registry.
func store(t *testing.T) (*oci.Repository, oci.Artifact) {
	t.Helper()
	repository := testworld.NewRegistry(t, registry.Options{}).Repository(t, "app")
	return repository, testworld.Push(t, repository, fstest.MapFS{"configmap-app.yaml": {Data: []byte("kind: ConfigMap\n")}}, nil)
}

// A statement is made anew only where what stated says less.
func TestAttachOnce(t *testing.T) {
	t.Parallel()
	repository, a := store(t)
	ada, grace := testworld.Key(t), testworld.Key(t)
	now := time.Date(2026, 3, 22, 12, 0, 0, 0, time.UTC)
	claim := sign.Claim{Pipeline: "app", Stage: "production", Release: "git-1", Repository: repository.Name()}
	approval := predicate.Approval{Claim: claim, Comment: "good", Time: now}
	waiver := predicate.Waiver{Claim: claim, Gate: "soak", GateDigest: "sha256:1", Reason: "outage", Expires: now.Add(time.Hour), Time: now}
	healthy := predicate.Health{Claim: claim, Time: now}
	var hold predicate.Hold
	approve := func(key *sign.Key, change func(*predicate.Approval)) bool {
		a2 := approval
		change(&a2)
		statement, err := predicate.NewStatement(a2, a.Descriptor.Digest)
		return attach(t, repository, a, key, statement, err, func(v sign.Verified) bool { return a2.StatedBy(v, hold) })
	}
	waive := func(change func(*predicate.Waiver)) bool {
		w := waiver
		change(&w)
		statement, err := predicate.NewStatement(w, a.Descriptor.Digest)
		return attach(t, repository, a, grace, statement, err, func(v sign.Verified) bool { return w.StatedBy(v, hold) })
	}
	health := func(at, since time.Time) bool {
		h := healthy
		h.Time = at
		statement, err := predicate.NewStatement(h, a.Descriptor.Digest)
		return attach(t, repository, a, ada, statement, err, func(v sign.Verified) bool { return h.StatedBy(v, since) })
	}
	tests := func(stated string) bool {
		statement := sign.NewSignature(a.Descriptor.Digest, sign.Claim{Repository: repository.Name()})
		statement.PredicateType, statement.Predicate = "https://acme.dev/tests/v1", []byte(stated)
		return attach(t, repository, a, ada, statement, nil, predicate.SamePredicate(statement))
	}
	later := now.Add(time.Minute)
	for i, step := range []struct {
		name string
		do   func() bool
		want bool
	}{
		{"first approval", func() bool { return approve(ada, func(*predicate.Approval) {}) }, true},
		{"the same later", func() bool { return approve(ada, func(a *predicate.Approval) { a.Time = later }) }, false},
		{"without comment", func() bool { return approve(ada, func(a *predicate.Approval) { a.Comment = "" }) }, false},
		{"other comment", func() bool { return approve(ada, func(a *predicate.Approval) { a.Comment = "very good" }) }, true},
		{"other release", func() bool { return approve(ada, func(a *predicate.Approval) { a.Release = "git-2" }) }, true},
		{"other key", func() bool { return approve(grace, func(*predicate.Approval) {}) }, true},
		{"first waiver", func() bool { return waive(func(*predicate.Waiver) {}) }, true},
		{"expires earlier", func() bool { return waive(func(w *predicate.Waiver) { w.Expires = later }) }, false},
		{"expires later", func() bool { return waive(func(w *predicate.Waiver) { w.Expires = now.Add(2 * time.Hour) }) }, true},
		{"gate changed", func() bool { return waive(func(w *predicate.Waiver) { w.GateDigest = "sha256:2" }) }, true},
		{"since a rollback", func() bool {
			hold.Since = later
			return approve(ada, func(a *predicate.Approval) { a.Time = later })
		}, true},
		{"again since then", func() bool { return approve(ada, func(a *predicate.Approval) { a.Time = later }) }, false},
		{"waived since then", func() bool {
			return waive(func(w *predicate.Waiver) { w.Time, w.Expires = later, now.Add(2*time.Hour) })
		}, true},
		{"other reason", func() bool { return waive(func(w *predicate.Waiver) { w.Reason = "fire" }) }, true},
		{"first health", func() bool { return health(now, now) }, true},
		{"health of one stay", func() bool { return health(later, now) }, false},
		{"health of the next stay", func() bool { return health(later, later) }, true},
		{"first result", func() bool { return tests(`{"result": "PASSED"}`) }, true},
		{"same result", func() bool { return tests(`{"result":"PASSED"}`) }, false},
		{"other result", func() bool { return tests(`{"result": "FAILED"}`) }, true},
	} {
		if got := step.do(); got != step.want {
			t.Errorf("%d, %s: attached is %v, want %v", i, step.name, got, step.want)
		}
	}
}

// attach reports whether the statement was attached, and checks that the registry has it afterwards.
func attach(t *testing.T, repository *oci.Repository, a oci.Artifact, key *sign.Key, statement sign.Statement, err error, stated func(sign.Verified) bool) bool {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	bundle, attached, err := predicate.Attach(t.Context(), repository, a.Descriptor, key, statement, stated)
	if err != nil {
		t.Fatal(err)
	}
	if desc, err := repository.Resolve(t.Context(), bundle.Referrer.String()); err != nil || desc.Digest != bundle.Referrer {
		t.Errorf("the registry has no %s: %v", bundle.Referrer, err)
	}
	return attached
}

func TestAttachFails(t *testing.T) {
	t.Parallel()
	repository, a := store(t)
	statement := sign.NewSignature("sha256:1", sign.Claim{})
	if _, attached, err := predicate.Attach(t.Context(), repository, a.Descriptor, testworld.Key(t), statement, nil); err == nil || attached {
		t.Errorf("a statement about another digest: attached %v, error %v", attached, err)
	}
}
