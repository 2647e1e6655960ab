package chartrepo_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/helm/chartrepo"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
)

// pushChart pushes a chart as `helm push` does.
func pushChart(t testing.TB, repository, tag, configType, layerType string, archive []byte) {
	t.Helper()
	repo, err := oci.NewClient(oci.Options{}).Repository(repository)
	if err != nil {
		t.Fatal(err)
	}
	config := oci.Blob{MediaType: configType, Data: []byte(`{"name":"web"}`)}
	layer := oci.Blob{MediaType: layerType, Data: archive}
	manifest, err := json.Marshal(map[string]any{"schemaVersion": 2, "config": config.Descriptor(), "layers": []ocispec.Descriptor{layer.Descriptor()}})
	if err != nil {
		t.Fatal(err)
	}
	desc, err := repo.PushManifest(t.Context(), ocispec.MediaTypeImageManifest, manifest, config, layer)
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.Tag(t.Context(), desc, tag); err != nil {
		t.Fatal(err)
	}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	server := testworld.NewRegistry(t, registry.Options{})
	host := server.Host
	const config, layer = "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	archive := packed(t, "web", "1.2.3+build", "a: b")
	pushChart(t, host+"/charts/web", "1.2.3_build", config, layer, archive)
	pushChart(t, host+"/charts/old", "1.0.0", config, "application/tar+gzip", packed(t, "old", "1.0.0", ""))
	pushChart(t, host+"/charts/image", "1.0.0", ocispec.MediaTypeImageConfig, layer, archive)
	pushChart(t, host+"/charts/empty", "1.0.0", config, ocispec.MediaTypeImageLayerGzip, archive)

	cache := t.TempDir()
	for _, want := range []int{2, 0} { // manifest and layer; then nothing
		server.Forget()
		got, err := fetcher(t, chartrepo.Options{CacheDir: cache}).Archive(t.Context(), "oci://"+host+"/charts", "web", "1.2.3+build")
		if n := len(server.Requests("")); err != nil || !bytes.Equal(got, archive) || n != want {
			t.Fatalf("%d bytes in %d requests, want %d; %v", len(got), n, want, err)
		}
	}
	if _, err := fetcher(t, chartrepo.Options{}).Archive(t.Context(), "oci://"+host+"/charts/", "old", "1.0.0"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"image": "is not a Helm chart", "empty": "no layer with a chart", "absent": host + "/charts/absent:1.0.0"} {
		if _, err := fetcher(t, chartrepo.Options{}).Archive(t.Context(), "oci://"+host+"/charts", name, "1.0.0"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v\nwant %s", name, err, want)
		}
	}

	// An index that leads to a registry, as those of large publishers do.
	s := newSite(t)
	s.put("/index.yaml", []byte("entries:\n  web:\n  - version: 1.2.3+build\n    digest: "+digest.FromBytes(archive).Encoded()+"\n    urls: [\"oci://"+host+"/charts/web:1.2.3_build\"]\n"))
	if got, err := fetcher(t, chartrepo.Options{}).Archive(t.Context(), s.URL, "web", "1.2.3+build"); err != nil || !bytes.Equal(got, archive) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	server.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			_, _ = w.Write([]byte("something else"))
			return
		}
		next.ServeHTTP(w, r)
	})
	if _, err := fetcher(t, chartrepo.Options{}).Archive(t.Context(), "oci://"+host+"/charts", "web", "1.2.3+build"); err == nil {
		t.Error("a blob of another digest is taken")
	}
}
