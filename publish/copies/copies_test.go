package copies_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/publish/copies"
	"github.com/lockage/lockage/sign"
)

// scene is a registry with a signed artifact.
type scene struct {
	*testing.T
	source   *testworld.Registry
	from     *oci.Repository
	artifact ocispec.Descriptor
	dryRun   bool
	key      *sign.Key
}

func newScene(t *testing.T) scene {
	t.Helper()
	s := scene{T: t, source: testworld.NewRegistry(t, registry.Options{}), key: testworld.Key(t)}
	s.from = s.source.Repository(t, "app")
	files := fstest.MapFS{"a.yaml": {Data: []byte("kind: ConfigMap\n")}}
	s.artifact = testworld.Push(t, s.from, files, map[string]string{"a": "b"}, "production").Descriptor
	s.sign(s.from, s.key)
	s.sign(s.from, testworld.Key(t))
	return s
}

// sign signs the artifact in both forms.
func (s scene) sign(in *oci.Repository, key *sign.Key) {
	s.Helper()
	claim := sign.Claim{Pipeline: "shop", Stage: "production", Release: "git-1", Repository: s.from.Name()}
	testworld.Attest(s.T, in, s.artifact, key, sign.NewSignature(s.artifact.Digest, claim))
	testworld.SignImage(s.T, in, s.artifact, key, claim)
}

func (s scene) check(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// verified is a rule: the key signed the artifact in both forms.
func (s scene) verified(ctx context.Context, at *oci.Repository) (policy.Verdict, error) {
	verifier := testworld.Verifier(s.T, "hydrator", s.key)
	found, _, err := sign.Verify(ctx, at, s.artifact, verifier)
	if err != nil {
		return nil, err
	}
	images, _, err := sign.VerifyImage(ctx, at, s.artifact, verifier)
	if err == nil {
		_, err = at.Whole(ctx, s.artifact.Digest)
	}
	check := policy.Check{Check: "signed", Result: policy.Fail}
	if len(found) == 1 && len(images) == 1 {
		check.Result = policy.Pass
	}
	return policy.Verdict{check}, err
}

func (s scene) item(rules ...copies.Rule) copies.Item {
	return copies.Item{Source: "production", From: s.from, Digest: s.artifact.Digest, Tags: []string{"production.git-1", "production"}, Verify: rules}
}

// run copies with a new client, as a new process does.
func (s scene) run(to string, item copies.Item) (copies.Result, error) {
	client := testworld.Client()
	repository, err := client.Repository(to)
	s.check(err)
	if item.From, err = client.Repository(s.from.Name()); err != nil {
		s.Fatal(err)
	}
	results, err := copies.Run(s.Context(), client, repository, []copies.Item{item}, copies.Options{DryRun: s.dryRun, Step: func(string) {}})
	if err == nil {
		err = results[0].Err
		return results[0], err
	}
	return copies.Result{}, err
}

// complete holds that a repository has all of the artifact.
func (s scene) complete(to string) {
	s.Helper()
	at, err := testworld.Client().Repository(to)
	s.check(err)
	verdict, err := s.verified(s.Context(), at)
	s.check(errors.Join(err, verdict.Err()))
	for _, tag := range s.item().Tags {
		if d, err := at.Lookup(s.Context(), tag); err != nil || d != s.artifact.Digest {
			s.Errorf("%s names %q, %v", tag, d, err)
		}
	}
	listed, err := at.Referrers(s.Context(), s.artifact, sign.BundleMediaType)
	if err != nil || len(listed) != 2 {
		s.Errorf("referrers: %v, %v", listed, err)
	}
}

// A run ends before each of its writes, or after it without an answer. A tag names nothing that is not whole and verified, and the next
// run completes the copy.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("makes many copies")
	}
	for _, fallback := range []bool{false, true} {
		s := newScene(t)
		options := registry.Options{WithoutReferrers: fallback}
		first := testworld.NewRegistry(t, options)
		_, err := s.run(first.Host+"/acme/copy", s.item(s.verified))
		s.check(err)
		s.complete(first.Host + "/acme/copy")
		if first.Writes() < 10 {
			t.Fatalf("only %d writes: %v", first.Writes(), first.Requests(""))
		}
		for at := 1; at <= first.Writes(); at++ {
			for _, lost := range []bool{false, true} {
				to := testworld.NewRegistry(t, options)
				cut(to, int64(at), lost)
				name := to.Host + "/acme/copy"
				result, err := s.run(name, s.item(s.verified))
				if err == nil && !lost {
					t.Errorf("write %d: no error: %+v", at, result)
				}
				to.Intercept(nil)
				repository := to.Repository(t, "copy")
				for _, tag := range s.item().Tags {
					named, err := repository.Lookup(t.Context(), tag)
					s.check(err)
					if named != "" {
						verdict, err := s.verified(t.Context(), repository)
						s.check(errors.Join(err, verdict.Err()))
					}
				}
				_, err = s.run(name, s.item(s.verified))
				s.check(err)
				s.complete(name)
			}
		}
	}
}

// cut ends the connection of each request from a write on; that one is done first, if only its answer is lost.
func cut(to *testworld.Registry, at int64, lost bool) {
	var writes atomic.Int64
	to.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		n := writes.Load()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			n = writes.Add(1)
		}
		if n < at {
			next.ServeHTTP(w, r)
			return
		}
		if lost && n == at {
			next.ServeHTTP(httptest.NewRecorder(), r)
		}
		panic(http.ErrAbortHandler)
	})
}

// The second run reads all of the copy, and writes nothing.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	to := testworld.NewRegistry(t, registry.Options{})
	name := to.Host + "/acme/copy"
	result, err := s.run(name, s.item())
	s.check(err)
	if result.Action != copies.Copied || result.Referrers != 2 || result.Verified {
		t.Errorf("%+v", result)
	}
	to.Forget()
	result, err = s.run(name, s.item())
	s.check(err)
	if result.Action != copies.Unchanged || to.Writes() > 0 || len(to.Requests("/blobs/")) == 0 {
		t.Errorf("%+v: %v", result, to.Requests(""))
	}
}

// What others attached to the copy stays, in the referrers and under cosign's tag.
func TestMerged(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	to := testworld.NewRegistry(t, registry.Options{WithoutReferrers: true})
	copied := to.Repository(t, "copy")
	s.check(copied.Copy(t.Context(), s.from, s.artifact.Digest))
	other := testworld.Key(t)
	s.sign(copied, other)
	_, err := s.run(copied.Name(), s.item(s.verified))
	s.check(err)
	mine := testworld.Verifier(t, "other", other)
	images, _, err := sign.VerifyImage(t.Context(), copied, s.artifact, mine)
	if err != nil || len(images) != 1 {
		t.Errorf("the signature of the copy: %v, %v", images, err)
	}
	listed, err := copied.Referrers(t.Context(), s.artifact, "")
	if err != nil || len(listed) != 3 {
		t.Errorf("%v, %v", listed, err)
	}
	result, err := s.run(copied.Name(), s.item(s.verified))
	if err != nil || result.Action != copies.Unchanged {
		t.Errorf("%+v, %v", result, err)
	}
}

// A destination that answers with other bytes gets no tag.
func TestReadBack(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	to := testworld.NewRegistry(t, registry.Options{})
	to.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			_, _ = fmt.Fprint(w, "other bytes")
			return
		}
		next.ServeHTTP(w, r)
	})
	name := to.Host + "/acme/copy"
	if result, err := s.run(name, s.item()); err == nil || result.Action != copies.Failed {
		t.Errorf("%+v, %v", result, err)
	}
	denied := func(context.Context, *oci.Repository) (policy.Verdict, error) {
		return policy.Verdict{{Check: "x", Result: policy.Fail}}, nil
	}
	to.Intercept(nil)
	if result, err := s.run(name, s.item(denied)); !errors.Is(err, policy.ErrDenied) || result.Action != copies.Denied {
		t.Errorf("%+v, %v", result, err)
	}
	if tags, err := to.Repository(t, "copy").Tags(t.Context(), "prod"); err != nil || len(tags) > 0 {
		t.Errorf("tags %v, %v", tags, err)
	}
}

// Within a registry blobs are mounted. One that refuses gets them.
func TestMounted(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.source.Forget()
	_, err := s.run(s.source.Host+"/acme/copy", s.item(s.verified))
	s.check(err)
	s.complete(s.source.Host + "/acme/copy")
	sent := slices.DeleteFunc(s.source.Requests("/blobs/uploads/"), func(r string) bool { return !strings.HasPrefix(r, "PUT") })
	if len(sent) > 0 {
		t.Errorf("blobs were sent: %v", sent)
	}
	s.source.Refuse(http.StatusBadRequest, func(r *http.Request) bool { return r.URL.Query().Has("mount") })
	_, err = s.run(s.source.Host+"/acme/third", s.item(s.verified))
	s.check(err)
	s.complete(s.source.Host + "/acme/third")
}

// A tar file holds what a folder does, is the same bytes every time, and replaces nothing before it is complete.
func TestArchive(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.source.Forget()
	file := filepath.Join(t.TempDir(), "out.tar")
	name := "oci-layout:" + file
	_, err := s.run(name, s.item(s.verified))
	s.check(err)
	s.complete(name)
	before, err := os.ReadFile(file)
	s.check(err)
	requests := int64(len(s.source.Requests("")))
	for at := int64(1); at <= requests; at += 3 {
		var n atomic.Int64
		s.source.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if n.Add(1) >= at {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
		s.check(os.RemoveAll(file))
		if _, err := s.run(name, s.item(s.verified)); err == nil {
			t.Errorf("request %d: no error", at)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("request %d: the file was written", at)
		}
		s.source.Intercept(nil)
		partial, err := filepath.Glob(file + ".partial-*")
		s.check(err)
		for _, folder := range partial { // a former run was killed while it removed what it no longer needed
			s.check(os.MkdirAll(filepath.Join(folder+".done", "blobs"), 0o700))
		}
		_, err = s.run(name, s.item(s.verified))
		s.check(err)
		after, err := os.ReadFile(file)
		s.check(err)
		if digest.FromBytes(after) != digest.FromBytes(before) {
			t.Errorf("request %d: other bytes", at)
		}
	}
	if left, err := filepath.Glob(file + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left are %v", left)
	}
	foreign := filepath.Join(t.TempDir(), "mine.tar")
	s.check(os.WriteFile(foreign, []byte("not an archive"), 0o600))
	if _, err := s.run("oci-layout:"+foreign, s.item()); err == nil || !strings.Contains(err.Error(), "replaced only if it is an image layout") {
		t.Error(err)
	}
	public, err := testworld.Client().Repository(name)
	s.check(err)
	if err := public.Tag(t.Context(), s.artifact, "x"); err == nil || !strings.Contains(err.Error(), "only `lockage copy` writes") {
		t.Error(err)
	}
}

// Junk that a fallback index lists is left out, and so is what is more than the bound.
func TestJunk(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("makes many copies")
	}
	s := newScene(t)
	for n := range copies.MaxReferrers {
		referrer := oci.Referrer{ArtifactType: sign.BundleMediaType, Annotations: map[string]string{"n": fmt.Sprint(n)}}
		s.check(s.from.AttachFirst(t.Context(), s.artifact, referrer))
	}
	to := testworld.NewRegistry(t, registry.Options{})
	item := s.item(s.verified)
	item.Keys = []string{s.key.PublicKey().Fingerprint()}
	result, err := s.run(to.Host+"/acme/copy", item)
	s.check(err)
	if result.Referrers != copies.MaxReferrers || result.LeftOut != 2 {
		t.Errorf("%d copied, %d left out", result.Referrers, result.LeftOut)
	}
}

// What is attached and cannot be copied by its form is left out, and holds up nothing.
func TestUnfit(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	empty := oci.Blob{MediaType: "application/octet-stream", Data: []byte("{}")}
	large := oci.Referrer{ArtifactType: sign.BundleMediaType}
	for range oci.MaxParts {
		large.Layers = append(large.Layers, empty)
	}
	s.check(s.from.Attach(t.Context(), s.artifact, large))
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: empty.Descriptor()}
	for range oci.MaxParts {
		m.Layers = append(m.Layers, empty.Descriptor())
	}
	raw, err := json.Marshal(m)
	s.check(err)
	_, err = s.from.PushTagged(t.Context(), oci.FallbackTag(s.artifact.Digest)+".att", m.MediaType, raw, empty)
	s.check(err)
	// Registries know a blob by its digest, whatever size a manifest gives it.
	for _, size := range []int64{-1, 1, 3} {
		wrong := empty.Descriptor()
		wrong.Size = size
		m.Layers, m.Subject = []ocispec.Descriptor{wrong}, &s.artifact
		raw, err = json.Marshal(m)
		s.check(err)
		_, err = s.from.PushTagged(t.Context(), "junk", m.MediaType, raw, empty)
		s.check(err)
	}
	name := testworld.NewRegistry(t, registry.Options{}).Host + "/acme/copy"
	result, err := s.run(name, s.item(s.verified))
	s.check(err)
	s.complete(name)
	if result.Referrers != 2 || result.LeftOut != 5 {
		t.Errorf("%d copied, %d left out", result.Referrers, result.LeftOut)
	}
	if result, err = s.run(name, s.item(s.verified)); err != nil || result.Action != copies.Unchanged {
		t.Errorf("%+v, %v", result, err)
	}
	s.dryRun = true
	if result, err = s.run(name, s.item(s.verified)); err != nil || result.Action != copies.Unchanged || result.LeftOut != 5 {
		t.Errorf("a dry run: %+v, %v", result, err)
	}
}
