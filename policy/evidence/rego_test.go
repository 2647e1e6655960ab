package evidence_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/policy/rego"
)

const (
	conftestRego = "application/vnd.cncf.openpolicyagent.policy.layer.v1+rego"
	conftestData = "application/vnd.cncf.openpolicyagent.data.layer.v1+json"
)

// A folder that is named by release is read when the release is judged, any other when the pipeline file is.
func TestRegoFolder(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.files["policy/"+release+"/deny.rego"] = &fstest.MapFile{Data: []byte("package main\ndeny contains \"no\" if data.lockage.diff.counts.added > 2")}
	facts := s.collect(s.request(s.push("manifests", "hello"), gate(t, "rego", "policy/{release}")))
	if facts.Policies["policy/"+release] == nil || len(facts.Unusable) > 0 {
		t.Errorf("policies are %v, unusable %v", facts.Policies, facts.Unusable)
	}
	if facts.Objects == nil || facts.Diff == nil {
		t.Error("a rego gate sees objects and what changes")
	}
	facts = s.collect(s.request(s.push("manifests", "hello"), gate(t, "rego", "policy/{commit}")))
	if !strings.Contains(facts.Unusable["policy/"+commit], "no such folder") {
		t.Errorf("unusable are %v", facts.Unusable)
	}
}

// layer is a layer of a pushed set of policies.
type layer struct {
	mediaType, title string
	data             []byte
}

// publish pushes an artifact of these layers, and returns what a gate names it by.
func (s *scene) publish(layers ...layer) string {
	s.t.Helper()
	r, err := testworld.Client().Repository(s.Host + "/acme/policies")
	if err != nil {
		s.t.Fatal(err)
	}
	config := oci.Blob{MediaType: ocispec.MediaTypeEmptyJSON, Data: []byte("{}")}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config.Descriptor()}
	blobs := []oci.Blob{config}
	for _, l := range layers {
		b := oci.Blob{MediaType: l.mediaType, Data: l.data}
		if l.title != "" {
			b.Annotations = map[string]string{ocispec.AnnotationTitle: l.title}
		}
		m.Layers, blobs = append(m.Layers, b.Descriptor()), append(blobs, b)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	desc, err := r.PushManifest(s.t.Context(), m.MediaType, raw, blobs...)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := r.Tag(s.t.Context(), desc, "latest"); err != nil {
		s.t.Fatal(err)
	}
	return "oci://" + r.Reference(desc.Digest.String())
}

func tarball(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)
	for _, h := range headers {
		text := "package " + strings.NewReplacer("/", "_", ".", "_").Replace(h.Name) + "\ndeny contains 1 if false"
		if strings.HasSuffix(h.Name, "yaml") {
			text = "a: 1"
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(text))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func regular(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}
}

func TestRegoFromRegistry(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for name, c := range map[string]struct {
		layers []layer
		want   []string
	}{
		"conftest": {[]layer{
			{conftestRego, "policy/deny.rego", []byte("package main\ndeny contains data.policy.says")},
			{conftestRego, "policy/deny_test.rego", []byte("package tests\ndeny contains 1")},
			{conftestData, "policy/data.json", []byte(`{"says": "no"}`)},
		}, []string{"data.main.deny"}},
		"opa": {[]layer{{ocispec.MediaTypeImageLayerGzip, "", tarball(t, tar.Header{Name: "/lib/", Typeflag: tar.TypeDir}, regular("/lib/x.rego"), regular("./data.yaml"),
			regular("/.manifest"), regular("/policy.wasm"), regular("x_test.rego"))}}, []string{"data._lib_x_rego.deny"}},
	} {
		got, err := evidence.Policies(t.Context(), s.publish(c.layers...), s.files, testworld.Client())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		report, err := got.Eval(rego.Input{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, report.Rules); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if name == "conftest" && (len(report.Denials) != 1 || report.Denials[0].Message != "no") {
			t.Errorf("denials are %v: the data is not read", report.Denials)
		}
	}
}

func TestRegoRefuses(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	module := layer{conftestRego, "deny.rego", []byte("package main")}
	good := s.publish(module)
	s.files["policy/only/data.yaml"] = &fstest.MapFile{Data: []byte("a: 1")}
	s.files["policy/large/x.rego"] = &fstest.MapFile{Data: make([]byte, rego.MaxBytes+1)}
	large := make([]byte, rego.MaxBytes)
	zipped := func(headers ...tar.Header) layer {
		return layer{ocispec.MediaTypeImageLayerGzip, "", tarball(t, headers...)}
	}
	for name, c := range map[string]struct{ argument, says string }{
		"tag":            {strings.Split(good, "@")[0] + ":latest", "not pinned"},
		"no digest":      {strings.Split(good, "@")[0], "not pinned"},
		"sha512":         {strings.Split(good, "@")[0] + "@sha512:" + strings.Repeat("a", 128), "sha256"},
		"no folder":      {"policy/absent", "no such folder"},
		"file":           {"policy/only/data.yaml", "it is a file"},
		"no module":      {"policy/only", "no rule deny, violation or warn"},
		"large file":     {"policy/large", "more than"},
		"climbing title": {s.publish(layer{conftestRego, "../deny.rego", nil}), "a file is named"},
		"no title":       {s.publish(layer{conftestRego, "", nil}), "a file is named"},
		"twice":          {s.publish(module, layer{conftestRego, "./deny.rego", []byte("package b")}), "twice"},
		"other layer":    {s.publish(layer{"application/octet-stream", "x.rego", nil}), "neither conftest's"},
		"no layers":      {s.publish(), "1 to"},
		"large layers":   {s.publish(layer{conftestRego, "a.rego", large}, layer{conftestRego, "b.rego", []byte("x")}), "more than"},
		"climbing entry": {s.publish(zipped(regular("../../x.rego"))), "a file is named"},
		"link":           {s.publish(zipped(tar.Header{Name: "x.rego", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"})), "not a regular file"},
		"twice in a tar": {s.publish(zipped(regular("x.rego"), regular("/x.rego"))), "twice"},
		"no gzip":        {s.publish(layer{ocispec.MediaTypeImageLayerGzip, "", []byte("hello")}), "not gzip"},
		"bomb":           {s.publish(layer{ocispec.MediaTypeImageLayerGzip, "", bomb(t)}), "unpacks to more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := evidence.Policies(t.Context(), c.argument, s.files, testworld.Client())
			if !errors.Is(err, rego.ErrUnusable) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error is %v, want ErrUnusable that says %q", err, c.says)
			}
		})
	}
	// What the registry does not have is not a mistake in a policy.
	_, err := evidence.Policies(t.Context(), strings.Split(good, "@")[0]+"@sha256:"+strings.Repeat("a", 64), s.files, testworld.Client())
	if !errors.Is(err, oci.ErrNotFound) || errors.Is(err, rego.ErrUnusable) {
		t.Errorf("error is %v, want not found", err)
	}
}

// bomb is a small archive whose first file, which nobody wants, is large.
func bomb(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)
	const size = 5 * rego.MaxBytes
	if err := w.WriteHeader(&tar.Header{Name: "policy.wasm", Typeflag: tar.TypeReg, Size: size, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
