package oci

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/oci/registry"
)

// pushJSON stores a manifest under tag, after the blobs that it names.
func pushJSON(t *testing.T, r *Repository, tag, mediaType, manifest string, blobs ...string) digest.Digest {
	t.Helper()
	var stored []Blob
	for _, b := range blobs {
		stored = append(stored, Blob{MediaType: "application/vnd.oci.image.config.v1+json", Data: []byte(b)})
	}
	desc, err := r.PushManifest(t.Context(), mediaType, []byte(manifest), stored...)
	if err == nil {
		err = r.Tag(t.Context(), desc, tag)
	}
	if err != nil {
		t.Fatal(err)
	}
	return desc.Digest
}

func TestImages(t *testing.T) {
	t.Parallel()
	const (
		ociManifest    = "application/vnd.oci.image.manifest.v1+json"
		ociIndex       = "application/vnd.oci.image.index.v1+json"
		dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
		dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"

		labelled = `{"architecture":"amd64","os":"linux","config":{"Labels":{"org.opencontainers.image.revision":"by-label"}},"rootfs":{"type":"layers","diff_ids":[]}}`
		silent   = `{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}`
	)
	image := func(mediaType, configType, config, annotations string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[],"annotations":{%s}}`,
			mediaType, configType, digest.FromString(config), len(config), annotations)
	}
	index := func(mediaType string, of digest.Digest, ofType string, size int) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"platform":{"os":"linux","architecture":"amd64"}}]}`,
			mediaType, ofType, of, size)
	}
	host := serve(t, registry.Options{})
	name := host + "/acme/web"
	r := open(t, name, Options{})
	images := NewImages(NewClient(Options{}))

	const ociConfig, dockerConfig = "application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"
	labelledImage := image(ociManifest, ociConfig, labelled, "")
	dockerImage := image(dockerManifest, dockerConfig, labelled, "")
	digests := map[string]digest.Digest{
		"label":      pushJSON(t, r, "label", ociManifest, labelledImage, labelled),
		"annotation": pushJSON(t, r, "annotation", ociManifest, image(ociManifest, ociConfig, labelled, `"org.opencontainers.image.revision":"by-annotation"`), labelled),
		"none":       pushJSON(t, r, "none", ociManifest, image(ociManifest, ociConfig, silent, ""), silent),
		"no-image":   pushJSON(t, r, "no-image", ociManifest, image(ociManifest, "text/plain", "hello", ""), "hello"),
		"docker":     pushJSON(t, r, "docker", dockerManifest, dockerImage, labelled),
	}
	digests["multi"] = pushJSON(t, r, "multi", ociIndex, index(ociIndex, digests["label"], ociManifest, len(labelledImage)))
	digests["list"] = pushJSON(t, r, "list", dockerList, index(dockerList, digests["docker"], dockerManifest, len(dockerImage)))
	nested, size := digests["multi"], len(index(ociIndex, digests["label"], ociManifest, len(labelledImage)))
	for range maxIndexDepth {
		manifest := index(ociIndex, nested, ociIndex, size)
		nested, size = pushJSON(t, r, "deep", ociIndex, manifest), len(manifest)
	}

	for tag, want := range map[string]string{
		"label": "by-label", "annotation": "by-annotation", "none": "", "no-image": "", "docker": "by-label", "multi": "by-label", "list": "by-label",
	} {
		if got, err := images.Resolve(t.Context(), name+":"+tag); err != nil || got != digests[tag] {
			t.Errorf("Resolve(%s) = %s, %v, want %s", tag, got, err, digests[tag])
		}
		for _, reference := range []string{name + ":" + tag, name + "@" + digests[tag].String()} {
			if got, err := images.Revision(t.Context(), reference); err != nil || got != want {
				t.Errorf("Revision(%s) = %q, %v, want %q", reference, got, err, want)
			}
		}
	}
	if _, err := images.Revision(t.Context(), name+":deep"); err == nil || !strings.Contains(err.Error(), "indexes are nested") {
		t.Errorf("indexes without end: %v", err)
	}
	for _, absent := range []string{name + ":absent", host + "/acme/absent:v1", name + "@" + digest.FromString("absent").String()} {
		_, err := images.Resolve(t.Context(), absent)
		if !errors.Is(err, ErrNotFound) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "image "+absent) {
			t.Errorf("Resolve(%s): %v", absent, err)
		}
	}
	if _, err := images.Resolve(t.Context(), "me:SECRET@"+name+":v1"); err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("a reference with a password: %v", err)
	}
}

// References are read as docker reads them, and other machines are spoken to with TLS, private networks included.
func TestImagesAddress(t *testing.T) {
	t.Parallel()
	for reference, want := range map[string]string{
		"nginx:1.27":                 "https://registry-1.docker.io/v2/library/nginx/manifests/1.27",
		"docker.io/acme/web:v1":      "https://registry-1.docker.io/v2/acme/web/manifests/v1",
		"ghcr.io/acme/web":           "https://ghcr.io/v2/acme/web/manifests/latest",
		"10.0.0.7:5000/acme/web:v1":  "https://10.0.0.7:5000/v2/acme/web/manifests/v1",
		"registry.local/acme/web:v1": "https://registry.local/v2/acme/web/manifests/v1",
		"localhost:5000/web:v1":      "http://localhost:5000/v2/web/manifests/v1",
	} {
		var got string
		images := NewImages(NewClient(Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			got = req.URL.String()
			return answer(req, http.StatusNotFound, ""), nil
		})}))
		if _, err := images.Resolve(t.Context(), reference); !errors.Is(err, ErrNotFound) || got != want {
			t.Errorf("%s is looked for at %s (%v), want %s", reference, got, err, want)
		}
	}
}
