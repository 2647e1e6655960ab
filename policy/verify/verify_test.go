package verify_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

func TestHonestArtifactPasses(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	desc := s.publish(s.honest("production"))
	testworld.Tag(s.t, s.repository("app"), desc, "production")
	repository := s.repository("app").Name()
	for name, q := range map[string]verify.Query{
		"tag of the release": {Artifact: repository + ":" + oci.CandidateTag("production", release)},
		"live tag":           {Artifact: repository + ":production"},
		"digest":             {Artifact: repository + "@" + desc.Digest.String()},
		"digest, all said":   {Artifact: repository + "@" + desc.Digest.String(), Stage: "production", Release: release},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := s.find(q)
			if err != nil {
				t.Fatal(err)
			}
			report, err := verify.Artifact(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if report.Result != policy.Pass || report.Digest != desc.Digest || report.Reference != q.Artifact {
				t.Errorf("report is %+v", report)
			}
			var checks []string
			for _, c := range report.Checks {
				checks = append(checks, c.Check)
			}
			// What is not asked about passes too: all of these have to be.
			want := []string{"signature", "provenance", "source", "image", "lock", "policy-ref", "annotations", "content"}
			if strings.HasSuffix(q.Artifact, release) {
				want = append([]string{"candidate"}, want...)
			}
			if !slices.Equal(checks, want) {
				t.Errorf("checks are %v, want %v", checks, want)
			}
		})
	}
}

// An attacker who can write to the registry, or to the policy ref later, tries to have something else taken for the candidate.
func TestAttacksAreDenied(t *testing.T) {
	t.Parallel()
	candidate := oci.CandidateTag("production", release)
	for name, c := range map[string]struct {
		attack        func(*scene)
		check, reason string // that denies it
	}{
		"unsigned": {func(s *scene) {
			s.push(s.honest("production"), candidate)
		}, "signature", "no signature by the hydrator"},
		"another key": {func(s *scene) {
			h := s.honest("production")
			h.key = testworld.Key(s.t)
			s.publish(h)
		}, "signature", "no signature by the hydrator; "},
		"signature without provenance": {func(s *scene) {
			h := s.honest("production")
			desc := s.push(h, candidate)
			if _, err := sign.Attest(s.t.Context(), h.repository, desc, h.key, sign.NewSignature(desc.Digest, h.claim)); err != nil {
				s.t.Fatal(err)
			}
		}, "provenance", "no provenance by the hydrator"},
		"the older signature only": {func(s *scene) {
			h := s.honest("production")
			testworld.SignImage(s.t, h.repository, s.push(h, candidate), h.key, h.claim)
		}, "signature", "no signature by the hydrator"},
		"statements of another artifact": {func(s *scene) {
			h := s.honest("production")
			honest := s.publish(h)
			h.content = "kind: Evil\n"
			evil := s.push(h, candidate)
			bundles, err := sign.Find(s.t.Context(), h.repository, honest)
			if err != nil || len(bundles) != 2 {
				s.t.Fatalf("%d bundles, error %v", len(bundles), err)
			}
			for _, b := range bundles {
				copied := oci.Referrer{ArtifactType: sign.BundleMediaType, Layers: []oci.Blob{{MediaType: sign.BundleMediaType, Data: b.JSON}}}
				if err := h.repository.Attach(s.t.Context(), evil, copied); err != nil {
					s.t.Fatal(err)
				}
			}
		}, "signature", "no signature by the hydrator; "},
		"staging's under production's tag": {func(s *scene) {
			testworld.Tag(s.t, s.repository("app"), s.publish(s.honest("staging")), candidate)
		}, "signature", `stage "staging" instead of "production"`},
		"another release's under this one's tag": {func(s *scene) {
			h := s.honest("production")
			h.claim.Release = "git-" + older
			testworld.Tag(s.t, h.repository, s.publish(h), candidate)
		}, "signature", `release "git-` + older + `" instead of`},
		"another pipeline's in this repository": {func(s *scene) {
			h := s.honest("production")
			h.claim.Pipeline = "other"
			s.publish(h)
		}, "signature", `pipeline "other" instead of "app"`},
		"copied from another repository": {func(s *scene) {
			h := s.honest("production")
			h.claim.Repository = s.repository("other").Name()
			s.publish(h)
		}, "signature", "repository "},
		"signed for production, made for staging": {func(s *scene) {
			h := s.honest("staging")
			desc := s.push(h, candidate)
			s.attest(h, desc)
			h.claim.Stage = "production"
			if _, err := sign.Attest(s.t.Context(), h.repository, desc, h.key, sign.NewSignature(desc.Digest, h.claim)); err != nil {
				s.t.Fatal(err)
			}
		}, "provenance", `stage "staging" instead of "production"`},
		"lock rewritten": {func(s *scene) {
			s.publish(s.honest("production"))
			l := testworld.Lock(source)
			l.Packaging.SourcePath = "another"
			testworld.AddLock(s.files, "locks/app", l)
		}, "lock", "it was rewritten after hydration"},
		"lock rewritten to another image": {func(s *scene) {
			s.publish(s.honest("production"))
			s.lock("app", source, digest.FromString("another image"))
		}, "image", "does not name the locked image"},
		"lock missing": {func(s *scene) {
			s.publish(s.honest("production"))
			delete(s.files, "locks/app/"+release+".yaml")
		}, "lock", "origin@main: release " + release + " is not in"},
		"lock of another release": {func(s *scene) {
			s.publish(s.honest("production"))
			s.files["locks/app/"+release+".yaml"] = s.files["locks/app/git-"+older+".yaml"]
		}, "lock", "holds another release"},
		"GitOps commit off the policy ref": {func(s *scene) {
			h := s.honest("production")
			h.gitOps, h.tip = feature, feature
			s.publish(h)
		}, "policy-ref", feature + ", which is not on origin@main"},
		"made at a tip off the policy ref": {func(s *scene) {
			h := s.honest("production")
			h.tip = feature
			s.publish(h)
		}, "policy-ref", "was at " + feature},
		"made at an unnamed tip": {func(s *scene) {
			h := s.honest("production")
			h.tip = ""
			s.publish(h)
		}, "policy-ref", "was at (none)"},
		"annotations of another stage": {func(s *scene) {
			h := s.honest("production")
			h.annotations = map[string]string{oci.AnnotationStage: "staging"}
			s.publish(h)
		}, "annotations", oci.AnnotationStage},
		"annotations of other content": {func(s *scene) {
			h := s.honest("production")
			h.annotations = map[string]string{oci.AnnotationContentDigest: image}
			s.publish(h)
		}, "annotations", oci.AnnotationContentDigest},
		"index": {func(s *scene) {
			s.manifest(ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"mediaType":"`+ocispec.MediaTypeImageIndex+`","manifests":[]}`, candidate)
		}, "shape", ""},
		"image of no layers": {func(s *scene) {
			s.manifest(ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"mediaType":"`+ocispec.MediaTypeImageManifest+
				`","config":{"mediaType":"`+ocispec.MediaTypeImageConfig+`","digest":"`+digest.FromString("{}").String()+`","size":2},"layers":[]}`, candidate)
		}, "shape", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			c.attack(s)
			// Asked by digest: what its tag may name is TestCandidate's. That needs --stage, or the manifest's own word for it
			// would be what is proven.
			desc, err := s.repository("app").Resolve(t.Context(), candidate)
			if err != nil {
				t.Fatal(err)
			}
			byDigest := s.repository("app").Reference(desc.Digest.String())
			r, err := s.find(verify.Query{Artifact: byDigest, Stage: "production", Release: release})
			if err != nil {
				t.Fatal(err)
			}
			report, err := verify.Artifact(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			requireDenied(t, report, c.check, c.reason)
		})
	}
}

// manifest tags a manifest that [oci.Pack] does not make.
func (s *scene) manifest(mediaType, raw, tag string) {
	s.t.Helper()
	r := s.repository("app")
	desc, err := r.PushManifest(s.t.Context(), mediaType, []byte(raw), oci.Blob{MediaType: ocispec.MediaTypeImageConfig, Data: []byte("{}")})
	if err != nil {
		s.t.Fatal(err)
	}
	testworld.Tag(s.t, r, desc, tag)
}

func requireDenied(t *testing.T, report verify.Report, check, reason string) {
	t.Helper()
	if report.Result != policy.Fail {
		t.Fatalf("result is %s: %+v", report.Result, report.Checks)
	}
	if !slices.ContainsFunc(report.Checks, func(c policy.Check) bool {
		return c.Check == check && c.Result == policy.Fail && strings.Contains(c.Reason, reason)
	}) {
		t.Errorf("check %s does not fail with %q: %+v", check, reason, report.Checks)
	}
}

func TestReleaseThatIsAskedForIsProven(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.publish(s.honest("production"))
	r, err := s.find(verify.Query{Artifact: s.repository("app").Reference(oci.CandidateTag("production", release)), Release: "git-" + older})
	if err != nil {
		t.Fatal(err)
	}
	report, err := verify.Artifact(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	requireDenied(t, report, "signature", `release "`+release+`" instead of "git-`+older+`"`)
}

// A registry that serves other bytes than it was given ends in an error or a denial.
func TestTamperingRegistry(t *testing.T) {
	t.Parallel()
	flip := func(body []byte) []byte {
		changed := slices.Clone(body)
		changed[len(changed)/2] ^= 1
		return changed
	}
	cut := func(body []byte) []byte { return body[:len(body)/2] }
	none := func([]byte) []byte { return nil }
	long := func(body []byte) []byte { return append(slices.Clone(body), 0) }
	for name, c := range map[string]struct {
		of     func(oci.Manifest) string // the digest that other bytes are served for
		tamper func([]byte) []byte
	}{
		"layer flipped":         {layer, flip},
		"layer cut":             {layer, cut},
		"layer empty":           {layer, none},
		"layer longer":          {layer, long},
		"configuration flipped": {config, flip},
		"configuration cut":     {config, cut},
		"manifest flipped":      {manifest, flip},
		"manifest longer":       {manifest, long},
		"manifest empty":        {manifest, none},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			desc := s.publish(s.honest("production"))
			m, err := s.repository("app").ReadArtifact(t.Context(), desc.Digest.String())
			if err != nil {
				t.Fatal(err)
			}
			r := s.request()
			r.Reference = desc.Digest.String()
			if report, err := verify.Artifact(t.Context(), r); err != nil || report.Result != policy.Pass {
				t.Fatalf("as it was stored, the result is %s (%v)", report.Result, err)
			}
			served := s.serveInstead(c.of(m), c.tamper)
			r.Repository = s.repository("app") // a run reads nothing twice
			requireNoPass(t, r)
			if !served.Load() {
				t.Error("nothing was tampered with")
			}
		})
	}

	t.Run("layer of another artifact", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		desc := s.publish(s.honest("production"))
		m, err := s.repository("app").ReadArtifact(t.Context(), desc.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		evil, err := oci.Pack(fstest.MapFS{"evil.yaml": {Data: []byte("kind: Evil\n")}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		served := s.serveInstead(layer(m), func([]byte) []byte { return evil.Layer })
		requireNoPass(t, s.request())
		if !served.Load() {
			t.Error("nothing was tampered with")
		}
	})
}

func layer(m oci.Manifest) string    { return m.Layer.Digest.String() }
func config(m oci.Manifest) string   { return m.Config.Digest.String() }
func manifest(m oci.Manifest) string { return m.Descriptor.Digest.String() }

// serveInstead lets the registry serve other bytes for a digest, and returns whether it did so yet.
func (s *scene) serveInstead(of string, change func([]byte) []byte) *atomic.Bool {
	served := new(atomic.Bool)
	s.tamper(func(path string, body []byte) []byte {
		if !strings.HasSuffix(path, of) || len(body) == 0 {
			return body
		}
		served.Store(true)
		return change(body)
	})
	return served
}

func requireNoPass(t *testing.T, r verify.Request) {
	t.Helper()
	report, err := verify.Artifact(t.Context(), r)
	if err == nil && report.Result != policy.Fail {
		t.Errorf("result is %s: %+v", report.Result, report.Checks)
	}
	if err != nil && report.Result == policy.Pass {
		t.Errorf("error is %v, and the result is %s", err, report.Result)
	}
}

func TestNothingFoundOutIsAnError(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.publish(s.honest("production"))
	endless := append(s.key.PublicKey().PEM(), bytes.Repeat([]byte("\n"), 64<<10)...) // a key, and more than is read
	for name, c := range map[string]struct {
		change func(*verify.Request)
		want   error
	}{
		"no such artifact":   {func(r *verify.Request) { r.Reference = "production" }, oci.ErrNotFound},
		"history not there":  {func(r *verify.Request) { r.PolicyRef = broken{} }, errBroken},
		"key not there":      {func(r *verify.Request) { r.Files = without(s.files, "keys/hydrator.pub", nil) }, verify.ErrIdentity},
		"key that is none":   {func(r *verify.Request) { r.Files = without(s.files, "keys/hydrator.pub", []byte("none")) }, verify.ErrIdentity},
		"key without an end": {func(r *verify.Request) { r.Files = without(s.files, "keys/hydrator.pub", endless) }, nil},
		"stage not there":    {func(r *verify.Request) { r.Stage = "test" }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := s.request()
			c.change(&r)
			report, err := verify.Artifact(t.Context(), r)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("error is %v, want %v", err, c.want)
			}
			if report.Result == policy.Pass {
				t.Errorf("result is %s", report.Result)
			}
		})
	}
	t.Run("ended", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if report, err := verify.Artifact(ctx, s.request()); !errors.Is(err, context.Canceled) || report.Result == policy.Pass {
			t.Errorf("error is %v, result %s", err, report.Result)
		}
	})
}

// without is a copy of files in which one has other content, or is not there.
func without(files fstest.MapFS, name string, data []byte) fstest.MapFS {
	changed := fstest.MapFS{}
	for n, f := range files {
		if n != name {
			changed[n] = f
		}
	}
	if data != nil {
		changed[name] = &fstest.MapFile{Data: data}
	}
	return changed
}

var errBroken = errors.New("no answer")

// broken is a policy ref whose history cannot be read.
type broken struct{ testworld.History }

func (broken) Contains(context.Context, string) (bool, error) { return false, errBroken }
