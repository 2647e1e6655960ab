package policy_test

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

const (
	sourceCommit = "1111111111111111111111111111111111111111"
	gitOpsCommit = "2222222222222222222222222222222222222222"
	image        = digest.Digest("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	lockFile     = digest.Digest("sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")
)

// scene is an artifact in a real registry: only real signatures give what policy judges.
type scene struct {
	t          *testing.T
	repository *oci.Repository
	artifact   oci.Artifact
	key        *sign.Key
	claim      sign.Claim
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, repository: testworld.NewRegistry(t, registry.Options{}).Repository(t, "app"), key: testworld.Key(t)}
	s.claim = sign.Claim{Pipeline: "app", Stage: "production", Release: "git-" + sourceCommit, Repository: s.repository.Name()}
	s.artifact = testworld.Push(t, s.repository, fstest.MapFS{"configmap-app.yaml": {Data: []byte("kind: ConfigMap\n")}}, nil)
	return s
}

// provenance is what an honest hydrator says.
func (s *scene) provenance() sign.Provenance {
	return sign.Provenance{
		Claim:   s.claim,
		Meaning: lockFile,
		Dependencies: []sign.ResourceDescriptor{
			sign.GitCommit(policy.DependencySource, "https://github.com/acme/app.git", sourceCommit),
			sign.GitCommit(policy.DependencyGitOps, "https://github.com/acme/gitops.git", gitOpsCommit),
			sign.GitCommit(policy.DependencyPolicy, "https://github.com/acme/gitops.git", gitOpsCommit),
			sign.Image("image", "ghcr.io/acme/app", image),
		},
	}
}

func (s *scene) sign(key *sign.Key, claim sign.Claim) {
	s.t.Helper()
	s.attest(key, sign.NewSignature(s.artifact.Descriptor.Digest, claim))
}

func (s *scene) prove(key *sign.Key, p sign.Provenance) {
	s.t.Helper()
	statement, err := sign.NewProvenance(s.artifact.Descriptor.Digest, p)
	if err != nil {
		s.t.Fatal(err)
	}
	s.attest(key, statement)
}

func (s *scene) attest(key *sign.Key, statement sign.Statement) {
	s.t.Helper()
	testworld.Attest(s.t, s.repository, s.artifact.Descriptor, key, statement)
}

func (s *scene) expectation() policy.Expectation {
	return policy.Expectation{
		Claim:  s.claim,
		Source: sourceCommit,
		Lock:   lockFile,
		Images: map[digest.Digest]string{image: "ghcr.io/acme/app"},
	}
}

// evidence is what the hydrator's key proves.
func (s *scene) evidence() policy.Evidence {
	s.t.Helper()
	ev := policy.Evidence{
		Digests: oci.Digests{Digest: s.artifact.Descriptor.Digest, Content: s.artifact.ContentDigest},
		Annotations: map[string]string{
			oci.AnnotationPipeline:              s.claim.Pipeline,
			oci.AnnotationStage:                 s.claim.Stage,
			oci.AnnotationRelease:               s.claim.Release,
			oci.AnnotationContentDigest:         s.artifact.ContentDigest.String(),
			"org.opencontainers.image.revision": "sha1:" + sourceCommit,
		},
		DiffID: s.artifact.ContentDigest,
		Hydration: policy.Hydration{
			PolicyRef:   "origin@main",
			OnPolicyRef: map[string]bool{gitOpsCommit: true},
		},
	}
	var err error
	ev.Statements, ev.Rejected, err = sign.Verify(s.t.Context(), s.repository, s.artifact.Descriptor, testworld.Verifier(s.t, "hydrator", s.key))
	if err != nil {
		s.t.Fatal(err)
	}
	return ev
}

func TestHonestArtifactPasses(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.sign(s.key, s.claim)
	s.prove(s.key, s.provenance())
	if v := policy.Artifact(s.expectation(), s.evidence()); v.Result() != policy.Pass || len(v) != 8 {
		t.Errorf("%d checks: %s", len(v), v.Reason())
	}
}

// Of several provenances one has to pass every check by itself: a digest can be hydrated from many commits.
func TestOneOfSeveralProvenancesIsEnough(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.sign(s.key, s.claim)
	off := s.provenance()
	off.Dependencies[1] = sign.GitCommit(policy.DependencyGitOps, "https://github.com/acme/gitops.git", strings.Repeat("9", 40))
	s.prove(s.key, off)
	s.prove(s.key, s.provenance())
	if v := policy.Artifact(s.expectation(), s.evidence()); v.Result() != policy.Pass {
		t.Error(v.Reason())
	}
}

// Two provenances that are each half right do not add up to one that is.
func TestHalvesOfProvenanceDoNotAddUp(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.sign(s.key, s.claim)
	off := s.provenance()
	off.Dependencies[1] = sign.GitCommit(policy.DependencyGitOps, "https://github.com/acme/gitops.git", strings.Repeat("9", 40))
	s.prove(s.key, off)
	other := s.provenance()
	other.Stage = "staging"
	s.prove(s.key, other)
	if v := policy.Artifact(s.expectation(), s.evidence()); v.Result() == policy.Pass {
		t.Error("passed")
	}
}

func TestDenied(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		arrange func(s *scene)
		expect  func(e *policy.Expectation)
		find    func(ev *policy.Evidence)
		check   string // that fails
		reason  string
	}{
		"unsigned": {
			arrange: func(s *scene) { s.prove(s.key, s.provenance()) },
			check:   "signature", reason: "no signature",
		},
		"signed by a stranger": {
			arrange: func(s *scene) {
				s.sign(testworld.Key(s.t), s.claim)
				s.prove(s.key, s.provenance())
			},
			check: "signature", reason: "not signed by hydrator",
		},
		"signed for another stage": {
			arrange: func(s *scene) {
				claim := s.claim
				claim.Stage = "staging"
				s.sign(s.key, claim)
				s.prove(s.key, s.provenance())
			},
			check: "signature", reason: `stage "staging" instead of "production"`,
		},
		"signed for another repository": {
			arrange: func(s *scene) {
				claim := s.claim
				claim.Repository = "ghcr.io/evil/app"
				s.sign(s.key, claim)
				s.prove(s.key, s.provenance())
			},
			check: "signature", reason: "repository",
		},
		"signed in the name of another repository": {
			arrange: func(s *scene) {
				statement := sign.NewSignature(s.artifact.Descriptor.Digest, s.claim)
				statement.Subject.Name = "ghcr.io/evil/app"
				s.attest(s.key, statement)
				s.prove(s.key, s.provenance())
			},
			check: "signature", reason: "its subject is ghcr.io/evil/app",
		},
		"without provenance": {
			arrange: func(s *scene) { s.sign(s.key, s.claim) },
			check:   "provenance", reason: "no provenance",
		},
		"provenance by a stranger": {
			arrange: func(s *scene) {
				s.sign(s.key, s.claim)
				s.prove(testworld.Key(s.t), s.provenance())
			},
			check: "provenance", reason: "no provenance",
		},
		"provenance of another pipeline": {
			arrange: func(s *scene) {
				s.sign(s.key, s.claim)
				p := s.provenance()
				p.Pipeline = "other"
				s.prove(s.key, p)
			},
			check: "provenance", reason: `pipeline "other"`,
		},
		"another source commit":     {expect: func(e *policy.Expectation) { e.Source = strings.Repeat("3", 40) }, check: "source", reason: "the lock says"},
		"lock rewritten":            {expect: func(e *policy.Expectation) { e.Lock = image }, check: "lock", reason: "rewritten"},
		"image not in provenance":   {expect: func(e *policy.Expectation) { e.Images[lockFile] = "ghcr.io/acme/sidecar" }, check: "image", reason: "sidecar"},
		"commit off the policy ref": {find: func(ev *policy.Evidence) { ev.OnPolicyRef = nil }, check: "policy-ref", reason: "not on origin@main"},
		"annotation of a stage":     {find: func(ev *policy.Evidence) { ev.Annotations[oci.AnnotationStage] = "staging" }, check: "annotations", reason: "staging"},
		"annotation of content":     {find: func(ev *policy.Evidence) { ev.Annotations[oci.AnnotationContentDigest] = "" }, check: "annotations", reason: "content-digest"},
		"other content":             {find: func(ev *policy.Evidence) { ev.DiffID = image }, check: "content", reason: "its config says"},
		"content was not read":      {find: func(ev *policy.Evidence) { ev.Content, ev.DiffID = "", "" }, check: "content", reason: ""},
		"nothing asked for":         {expect: func(e *policy.Expectation) { e.Claim = sign.Claim{} }, check: "signature", reason: "instead of"},
		"asked for another stage":   {expect: func(e *policy.Expectation) { e.Claim.Stage = "staging" }, check: "signature", reason: "stage"},
		"asked for another release": {expect: func(e *policy.Expectation) { e.Claim.Release = "git-x" }, check: "provenance", reason: "release"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			if c.arrange == nil {
				s.sign(s.key, s.claim)
				s.prove(s.key, s.provenance())
			} else {
				c.arrange(s)
			}
			e, ev := s.expectation(), s.evidence()
			ev.Annotations = maps.Clone(ev.Annotations)
			if c.expect != nil {
				c.expect(&e)
			}
			if c.find != nil {
				c.find(&ev)
			}
			v := policy.Artifact(e, ev)
			if v.Result() != policy.Fail {
				t.Fatal("passed")
			}
			for _, got := range v {
				if got.Check == c.check {
					if got.Result != policy.Fail || !strings.Contains(got.Reason, c.reason) {
						t.Errorf("%s: %s, %q; want a failure that says %q", got.Check, got.Result, got.Reason, c.reason)
					}
					return
				}
			}
			t.Errorf("no check %s: %+v", c.check, v)
		})
	}
}

func TestLockWithoutImage(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.sign(s.key, s.claim)
	s.prove(s.key, s.provenance())
	e := s.expectation()
	e.Images = nil
	for _, c := range policy.Artifact(e, s.evidence()) {
		if c.Result != policy.Pass || c.Check == "image" && c.Reason != "the lock names no image" {
			t.Errorf("%s: %s, %s", c.Check, c.Result, c.Reason)
		}
	}
}

func TestNoCheckIsNoPass(t *testing.T) {
	t.Parallel()
	if (policy.Verdict{}).Result() != policy.Fail {
		t.Error("a verdict without checks passes")
	}
}
