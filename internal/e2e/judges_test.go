package e2e

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/file"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/lockage/lockage/internal/demo"
)

// TestJudges runs the main job on each kind of registry and asks upstream's programs about the result.
func TestJudges(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	for _, kind := range registries {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, bin, kind.start(t), encryptedKey)
			stages := w.hydrate()
			if len(stages) != 4 {
				t.Fatalf("the demo has four stages, hydrated were %+v", stages)
			}
			for _, stage := range stages {
				if stage.Action != "pushed" {
					t.Fatalf("%s: %s %s", stage.Stage, stage.Action, stage.Error)
				}
				w.judgeArtifact(stage)
				w.judgeObjects(stage)
			}
			w.command(".", w.bin, "keys", "generate", "stranger")
			w.eachCosign(func() {
				w.judgeSignatures(stages[0])
				w.judgeRefusals(stages[0])
			})
			for _, stage := range w.hydrate() {
				if stage.Action != "unchanged" {
					t.Errorf("second run: %s is %s", stage.Stage, stage.Action)
				}
			}
		})
	}
}

// manifest is what these tests read of an OCI image manifest.
type manifest struct {
	MediaType, ArtifactType string
	Subject                 *struct{}
	Config                  struct{ MediaType string }
	Layers                  []struct{ MediaType, Digest string }
	Annotations             map[string]string
}

// judgeArtifact asks crane and oras-go whether the artifact is what its readers expect.
func (w *world) judgeArtifact(stage hydrated) {
	w.t.Helper()
	w.command(".", "crane", "validate", "--insecure", "--remote", stage.Reference)
	got := decode[manifest](w.t, w.command(".", "crane", "manifest", "--insecure", stage.Reference))
	switch {
	case len(got.Layers) != 1:
		w.t.Errorf("%s: %d layers", stage.Stage, len(got.Layers))
	case got.Layers[0].MediaType != "application/vnd.oci.image.layer.v1.tar+gzip":
		w.t.Errorf("%s: layer is %s", stage.Stage, got.Layers[0].MediaType)
	case got.Config.MediaType != "application/vnd.oci.image.config.v1+json":
		w.t.Errorf("%s: config is %s", stage.Stage, got.Config.MediaType)
	case got.ArtifactType != "" || got.Subject != nil:
		w.t.Errorf("%s: artifactType %q, subject %v: consumers would stumble", stage.Stage, got.ArtifactType, got.Subject)
	}
	for _, key := range []string{"dev.lockage.stage", "org.opencontainers.image.revision", "org.opencontainers.image.created"} {
		if got.Annotations[key] == "" {
			w.t.Errorf("%s: no annotation %s", stage.Stage, key)
		}
	}
	repository, _, _ := strings.Cut(stage.Reference, "@")
	for _, tag := range stage.Tags {
		if digest := strings.TrimSpace(w.command(".", "crane", "digest", "--insecure", repository+":"+tag)); digest != stage.Digest {
			w.t.Errorf("tag %s is %s, want %s", tag, digest, stage.Digest)
		}
	}
	w.command(".", "crane", "pull", "--insecure", stage.Reference, w.path("crane-"+stage.Stage+".tar"))
	w.judgeORAS(stage)
}

// judgeORAS pulls the artifact as the oras command does, with oras-go's own file store.
func (w *world) judgeORAS(stage hydrated) {
	w.t.Helper()
	name, digest, _ := strings.Cut(stage.Reference, "@")
	repository, err := remote.NewRepository(name)
	if err != nil {
		w.t.Fatal(err)
	}
	repository.PlainHTTP = true
	dir := w.path("oras-" + stage.Stage)
	files, err := file.New(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	defer files.Close()
	if _, err := oras.Copy(w.t.Context(), repository, digest, files, "", oras.DefaultCopyOptions); err != nil {
		w.t.Fatalf("%s: oras: %v", stage.Stage, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "manifests.tar.gz")); err != nil {
		w.t.Errorf("%s: oras pulled no file: %v", stage.Stage, err)
	}
}

// judgeObjects compares the artifact, unpacked by crane and tar, with what helm renders from the same files.
func (w *world) judgeObjects(stage hydrated) {
	w.t.Helper()
	archive, files := w.path("export-"+stage.Stage+".tar"), w.path("export-"+stage.Stage)
	w.command(".", "crane", "export", "--insecure", stage.Reference, archive)
	if err := os.Mkdir(files, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.command(".", "tar", "-xf", archive, "-C", files)
	entries, err := os.ReadDir(files)
	if err != nil {
		w.t.Fatal(err)
	}
	var packed strings.Builder
	for _, entry := range entries {
		packed.WriteString("---\n" + read(w.t, filepath.Join(files, entry.Name())))
	}

	var vars struct{ EnvType, Namespace string }
	deployment := w.path("gitops", "apps/codeai/deployments", stage.Stage, "deployment.yaml")
	for line := range strings.Lines(read(w.t, deployment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "envType":
			vars.EnvType = value
		case "namespace":
			vars.Namespace = value
		}
	}
	var lock struct {
		Image struct{ Ref, Digest string }
	}
	if err := yaml.Unmarshal([]byte(read(w.t, w.path("gitops", demo.LockDir, "current.yaml"))), &lock); err != nil {
		w.t.Fatal(err)
	}
	repository := lock.Image.Ref[:strings.LastIndex(lock.Image.Ref, ":")]
	rendered := w.command(".", "helm", "template", "codeai", w.path("source", demo.ChartPath),
		"--namespace", vars.Namespace, "--kube-version", "1.34", "--include-crds", "--skip-tests",
		"-f", w.path("gitops", "apps/codeai/envTypes", vars.EnvType+".values.yaml"),
		"-f", w.path("gitops", "apps/codeai/deployments", stage.Stage, "values.yaml"),
		"--set-literal", "image="+repository+"@"+lock.Image.Digest)

	got, want := objects(w.t, packed.String()), objects(w.t, rendered)
	if len(want) == 0 || stage.Objects != len(want) {
		w.t.Errorf("%s: helm made %d objects, lockage says %d", stage.Stage, len(want), stage.Objects)
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if !reflect.DeepEqual(got[id], want[id]) {
			w.t.Errorf("%s: %s differs\n got %v\nwant %v", stage.Stage, id, got[id], want[id])
		}
		delete(got, id)
	}
	for id := range got {
		w.t.Errorf("%s: helm did not make %s", stage.Stage, id)
	}
}

// objects reads a stream of Kubernetes objects by kind and name; empty documents are dropped.
func objects(t *testing.T, stream string) map[string]any {
	t.Helper()
	found := make(map[string]any)
	for decoder := yaml.NewDecoder(strings.NewReader(stream)); ; {
		var object map[string]any
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, stream)
		}
		if object == nil {
			continue
		}
		metadata, ok := object["metadata"].(map[string]any)
		if !ok {
			t.Fatalf("an object without metadata: %v", object)
		}
		id := strings.Join([]string{str(object["apiVersion"]), str(object["kind"]), str(metadata["name"])}, " ")
		if _, twice := found[id]; twice {
			t.Fatalf("%s occurs twice", id)
		}
		found[id] = object
	}
}

func str(value any) string {
	text, _ := value.(string)
	return text
}

// judgeSignatures asks cosign. It reads no `.sig` where a bundle stands, whatever its flags say, so the older format is
// judged on a copy without bundles.
func (w *world) judgeSignatures(stage hydrated) {
	w.t.Helper()
	key := w.path("gitops", demo.PublicKey)
	w.command(".", "cosign", w.cosign("verify", "--new-bundle-format=true", "--key", key, stage.Reference)...)
	statement := w.command(".", "cosign", w.cosign("verify-attestation", "--new-bundle-format=true",
		"--type", "slsaprovenance1", "--key", key, stage.Reference)...)
	if !strings.Contains(statement, "payload") {
		w.t.Errorf("verify-attestation printed no statement: %q", statement)
	}

	repository, digest, _ := strings.Cut(stage.Reference, "@")
	older := w.registry + "/acme/without-bundles"
	signature := strings.Replace(digest, ":", "-", 1) + ".sig"
	w.command(".", "crane", "copy", "--insecure", stage.Reference, older+":copy")
	w.command(".", "crane", "copy", "--insecure", repository+":"+signature, older+":"+signature)
	w.command(".", "cosign", w.cosign("verify", "--new-bundle-format=false", "--key", key, older+"@"+digest)...)
}

// judgeRefusals makes sure that the judges can say no: another key, and an image that nobody signed.
func (w *world) judgeRefusals(stage hydrated) {
	w.t.Helper()
	unsigned := w.registry + "/acme/unsigned"
	unsigned += "@" + pushImage(w.t, unsigned+":1", "0")
	for _, format := range []string{"--new-bundle-format=true", "--new-bundle-format=false"} {
		w.refused(".", "cosign", w.cosign("verify", format, "--key", w.path("stranger.pub"), stage.Reference)...)
		w.refused(".", "cosign", w.cosign("verify", format, "--key", w.path("gitops", demo.PublicKey), unsigned)...)
	}
	w.refused("gitops", w.bin, "verify", unsigned)
}

// cosign completes a command line for a registry without TLS and a key without log entries. Without a trusted root, cosign
// would ask the public instance for one.
func (w *world) cosign(verb string, args ...string) []string {
	root := w.path("trusted-root.json")
	write(w.t, root, `{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`)
	return append([]string{verb, "--insecure-ignore-tlog=true", "--allow-http-registry=true", "--trusted-root", root}, args...)
}
