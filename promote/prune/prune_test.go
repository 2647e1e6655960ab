package prune_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/promote/prune"
	"github.com/lockage/lockage/sign"
)

var deletable = registry.Options{Deletes: true}

// TestReleases prunes by how many releases are kept, and which of them are the newest on the policy ref.
func TestReleases(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keep    int
		change  func(*scene)
		removed int
		left    string
	}{
		"one":                 {keep: 1, removed: 3},
		"two":                 {keep: 2, removed: 2},
		"more than there are": {keep: 9, removed: 0},
		"nothing changes":     {keep: 1, removed: 3, change: func(s *scene) { s.request.DryRun = true }},
		"another order": {keep: 2, removed: 2, change: func(s *scene) {
			s.request.PolicyRef = history{releases: []string{release(4), release(4), release(1), release(2), release(3)}}
		}},
		"lock files were tidied away": {keep: 1, removed: 3, change: func(s *scene) {
			delete(s.files, "locks/app/"+release(1)+".yaml")
		}},
		"a release that the policy ref does not know": {keep: 1, removed: 2, left: "is not on origin@main", change: func(s *scene) {
			delete(s.files, "locks/app/"+release(2)+".yaml")
			s.request.PolicyRef = history{releases: []string{release(4), release(3), release(1)}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, deletable)
			for n := range 4 {
				s.publish(s.honest("staging", release(n+1)))
			}
			if c.change != nil {
				c.change(s)
			}
			s.request.Keep = c.keep
			got := s.prune()
			if got.Err != nil || len(got.Removed) != c.removed || got.Kept != 4-c.removed {
				t.Fatalf("%+v", got)
			}
			if c.left != "" && (len(got.Left) != 1 || !strings.Contains(got.Left[0].Reason, c.left)) || c.left == "" && len(got.Left) > 0 {
				t.Errorf("left %+v", got.Left)
			}
			for _, r := range got.Removed {
				if s.has(r.Digest) != s.request.DryRun {
					t.Errorf("%s is there: %t", r.Release, s.has(r.Digest))
				}
			}
			if want := 4 * 4; s.request.DryRun && len(s.tags()) != want { // three tags and that of the older signature
				t.Errorf("%d tags, want %d", len(s.tags()), want)
			}
		})
	}
	s := newScene(t, deletable)
	s.request.Keep = 0
	if _, err := prune.Stages(t.Context(), s.request); !errors.Is(err, prune.ErrKeep) {
		t.Errorf("keep 0: %v", err)
	}
}

// TestStays has one old artifact each time, and a reason why it stays.
func TestStays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(s *scene, m *made)
		after  func(s *scene, desc ocispec.Descriptor)
		reason string // why it is left; "" if the result does not name it
	}{
		"unsigned":                  {change: func(_ *scene, m *made) { m.key = nil }, reason: "the hydrator did not sign it"},
		"signed by the wrong":       {change: func(s *scene, m *made) { m.key = s.promoter }, reason: "the hydrator did not sign it"},
		"for another stage":         {change: func(_ *scene, m *made) { m.claim.Stage = "production" }, reason: "the hydrator did not sign it"},
		"for another pipeline":      {change: func(_ *scene, m *made) { m.claim.Pipeline = "web" }, reason: "the hydrator did not sign it"},
		"another repository":        {change: func(_ *scene, m *made) { m.claim.Repository = "ghcr.io/acme/app" }, reason: "the hydrator did not sign it"},
		"another release":           {change: func(_ *scene, m *made) { m.claim.Release = release(2) }, reason: "signed it as " + release(2)},
		"says another stage":        {change: func(_ *scene, m *made) { m.annotations[oci.AnnotationStage] = "production" }, reason: `stage "production"`},
		"says no image":             {change: func(_ *scene, m *made) { delete(m.annotations, oci.AnnotationImage) }, reason: "somebody moved it"},
		"says half an image":        {change: func(_ *scene, m *made) { m.annotations[oci.AnnotationImage] = "ghcr.io/acme/app@sha256:1" }, reason: "does not name its image and inputs"},
		"says a kept release":       {change: func(_ *scene, m *made) { m.annotations[oci.AnnotationRelease] = release(4) }, reason: "somebody moved it"},
		"under a kept release":      {change: func(_ *scene, m *made) { m.tags = append(m.tags, oci.CandidateTag("staging", release(4))) }},
		"under another's tag":       {change: func(_ *scene, m *made) { m.tags = append(m.tags, oci.CandidateTag("staging", release(2))) }, reason: "somebody moved it"},
		"under a tag of somebody":   {change: func(_ *scene, m *made) { m.tags = append(m.tags, "incident-42") }},
		"under another stage's tag": {change: func(_ *scene, m *made) { m.tags = append(m.tags, oci.CandidateTag("production", release(1))) }},
		"under the stage's own tag": {change: func(_ *scene, m *made) { m.tags = append(m.tags, "staging") }},
		"under something like ours": {change: func(_ *scene, m *made) { m.tags = append(m.tags, "staging.git-1") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, deletable)
			m := s.honest("staging", release(1))
			if c.change != nil {
				c.change(s, &m)
			}
			desc := s.publish(m)
			if c.after != nil {
				c.after(s, desc)
			}
			before := s.tags()
			got := s.prune()
			if got.Err != nil || len(got.Removed) > 0 || got.Kept != 1 || !slices.Equal(s.tags(), before) || !s.has(desc.Digest) {
				t.Fatalf("%+v", got)
			}
			if c.reason == "" && len(got.Left) > 0 || c.reason != "" && (len(got.Left) != 1 || !strings.Contains(got.Left[0].Reason, c.reason)) {
				t.Errorf("left %+v", got.Left)
			}
		})
	}
}

// TestLiveInAnotherStage keeps a release in staging because it is live in production.
func TestLiveInAnotherStage(t *testing.T) {
	t.Parallel()
	s := newScene(t, deletable)
	old := s.publish(s.honest("staging", release(1)))
	gone := s.publish(s.honest("staging", release(2)))
	live := s.publish(s.honest("production", release(1)))
	s.promote("production", live, release(1))
	s.tag(live, "production")
	if got := s.prune(); got.Err != nil || !slices.Equal(removed(got), []digest.Digest{gone.Digest}) || !s.has(old.Digest) {
		t.Errorf("%+v", got)
	}
}

// TestOthersUnderOurTags has the tags of what is attached name what is needed: only the tags go.
func TestOthersUnderOurTags(t *testing.T) {
	t.Parallel()
	for _, without := range []bool{false, true} {
		s := newScene(t, registry.Options{Deletes: true, WithoutReferrers: without})
		old := s.publish(s.honest("staging", release(1)))
		current := s.publish(s.honest("staging", release(4)))
		untagged, err := oci.Pack(fstest.MapFS{"x": {Data: []byte("x")}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.repository.PushArtifact(t.Context(), untagged); err != nil {
			t.Fatal(err)
		}
		s.tag(current, oci.FallbackTag(old.Digest)+".sig")
		s.tag(untagged.Descriptor, oci.FallbackTag(old.Digest)+".att")
		foreign := oci.FallbackTag(digest.FromString("a foreign image")) + ".sig"
		s.tag(s.publish(s.honest("production", release(4))), foreign)
		if got := s.prune(); got.Err != nil || !slices.Equal(removed(got), []digest.Digest{old.Digest}) {
			t.Fatalf("%+v", got)
		}
		if !slices.Contains(s.tags(), foreign) {
			t.Error("deleted the signature of an image that is kept under another tag")
		}
		if !s.has(current.Digest) || !s.has(untagged.Descriptor.Digest) {
			t.Error("deleted what somebody let a tag of ours name")
		}
	}
}

// TestRefused leaves a registry that deletes nothing as it is.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t, registry.Options{})
	s.publish(s.honest("staging", release(1)))
	before := s.tags()
	got := s.prune()
	if !errors.Is(got.Err, oci.ErrDeleteRefused) || !strings.Contains(got.Err.Error(), s.repository.Name()) {
		t.Errorf("%v", got.Err)
	}
	if len(got.Removed) > 0 || got.Kept != 1 || !slices.Equal(s.tags(), before) {
		t.Errorf("%+v", got)
	}
	s.request.Keep = 4
	if got := s.prune(); got.Err != nil {
		t.Errorf("with nothing to remove: %v", got.Err)
	}
}

// TestStopped lets the registry refuse everything from one write on, for each write in turn. At no time may a tag of the stage
// name what is not signed; and the next run must end as an undisturbed one, but for what nothing names any more.
func TestStopped(t *testing.T) {
	t.Parallel()
	for _, without := range []bool{false, true} {
		t.Run(fmt.Sprintf("without=%t", without), func(t *testing.T) {
			t.Parallel()
			options := registry.Options{Deletes: true, WithoutReferrers: without}
			undisturbed := newScene(t, options)
			undisturbed.publish(undisturbed.honest("staging", release(1)))
			undisturbed.registry.Forget()
			if got := undisturbed.prune(); got.Err != nil || len(got.Removed) != 1 || len(undisturbed.tags()) > 0 {
				t.Fatalf("%+v, tags %v", got, undisturbed.tags())
			}
			writes := undisturbed.registry.Writes()
			if writes < 8 { // a question, three tags, manifest, older signature, two bundles
				t.Fatalf("%d writes", writes)
			}
			for at := 1; at <= writes; at++ {
				s := newScene(t, options)
				desc := s.publish(s.honest("staging", release(1)))
				statements := s.statements(desc)
				s.registry.RefuseWrites(int64(at))
				if got := s.prune(); got.Err == nil {
					t.Fatalf("write %d: no error", at)
				}
				if slices.ContainsFunc(s.tags(), func(tag string) bool { return strings.HasPrefix(tag, "staging.") }) {
					s.signed(desc)
				}
				s.registry.Intercept(nil)
				if got := s.prune(); got.Err != nil {
					t.Errorf("after write %d: %v", at, got.Err)
				}
				if left := s.tags(); len(left) > 0 {
					t.Errorf("after write %d: left %v", at, left)
				}
				// The last statement goes when nothing lists it any more.
				if left := count(s.has, statements); without && left > 1 {
					t.Errorf("after write %d: %d statements are left", at, left)
				}
				if without && s.has(desc.Digest) {
					t.Errorf("after write %d: the manifest is left", at)
				}
			}
		})
	}
}

// statements are what is attached to an artifact.
func (s *scene) statements(desc ocispec.Descriptor) []digest.Digest {
	s.Helper()
	all, err := s.repository.Referrers(s.Context(), desc, "")
	if err != nil || len(all) != 2 {
		s.Fatalf("%+v, %v", all, err)
	}
	return []digest.Digest{all[0].Digest, all[1].Digest}
}

func count(has func(digest.Digest) bool, all []digest.Digest) (n int) {
	for _, d := range all {
		if has(d) {
			n++
		}
	}
	return n
}

// signed makes sure that the hydrator's statements about an artifact are there.
func (s *scene) signed(desc ocispec.Descriptor) {
	s.Helper()
	if all, _, err := sign.Verify(s.Context(), s.repository, desc, testworld.Verifier(s, "hydrator", s.hydrator)); err != nil || len(all) == 0 || !s.has(desc.Digest) {
		s.Errorf("a tag names what is not signed: %d statements, %v", len(all), err)
	}
}
