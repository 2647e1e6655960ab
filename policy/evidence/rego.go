package evidence

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/rego"
)

// maxPolicyLayers bounds a pushed set of policies.
const maxPolicyLayers = 1000

const (
	ociScheme = "oci://"

	// What conftest pushes: a layer a file, which its title names. https://www.conftest.dev/sharing/
	mediaTypeRego = "application/vnd.cncf.openpolicyagent.policy.layer.v1+rego"
	mediaTypeData = "application/vnd.cncf.openpolicyagent.data.layer.v1+json"
)

// Policies reads and compiles the policies of a rego gate: modules (*.rego) and data (data.json, data.yaml, data.yml) by path,
// *_test.rego left out. The argument is a folder of files, whose subfolders count too, or oci://REPOSITORY@sha256:DIGEST: an
// artifact of conftest, or one whose layers are OPA bundles (tar+gzip, https://www.openpolicyagent.org/docs/management-bundles). A
// tag is refused, since it may name other policies tomorrow. What cannot be used is [rego.ErrUnusable].
func Policies(ctx context.Context, argument string, files fs.FS, client *oci.Client) (*rego.Policies, error) {
	reference, ok := strings.CutPrefix(argument, ociScheme)
	if !ok {
		p, err := rego.Load(files, argument)
		if err != nil {
			return nil, fmt.Errorf("rego %w", err)
		}
		return p, nil
	}
	var b bundle
	var p *rego.Policies
	err := b.pull(ctx, reference, client)
	if err == nil {
		p, err = b.Compile("")
	}
	if err != nil {
		return nil, fmt.Errorf("rego %s: %w", argument, err)
	}
	return p, nil
}

// bundle is policies while they are pulled.
type bundle struct{ rego.Bundle }

func (b *bundle) pull(ctx context.Context, reference string, client *oci.Client) error {
	name, pinned, err := oci.SplitReference(reference)
	if err != nil {
		return fmt.Errorf("%w: %w", rego.ErrUnusable, err)
	}
	if !strings.Contains(pinned, ":") {
		return fmt.Errorf("%w: it is not pinned: write %s%s@sha256:DIGEST", rego.ErrUnusable, ociScheme, name)
	}
	if digest.Digest(pinned).Algorithm() != digest.SHA256 {
		return fmt.Errorf("%w: pin it by a sha256 digest", rego.ErrUnusable)
	}
	repository, err := client.Repository(name)
	if err != nil {
		return err
	}
	_, raw, err := repository.Manifest(ctx, pinned)
	if err != nil {
		return err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return fmt.Errorf("%w: its manifest: %w", rego.ErrUnusable, err)
	}
	if len(manifest.Layers) == 0 || len(manifest.Layers) > maxPolicyLayers {
		return fmt.Errorf("%w: an image manifest of 1 to %d layers is expected, it has %d",
			rego.ErrUnusable, maxPolicyLayers, len(manifest.Layers))
	}
	for _, layer := range manifest.Layers {
		if err := b.pullLayer(ctx, repository, layer); err != nil {
			return err
		}
	}
	return nil
}

func (b *bundle) pullLayer(ctx context.Context, repository *oci.Repository, layer ocispec.Descriptor) error {
	title := layer.Annotations[ocispec.AnnotationTitle]
	file := layer.MediaType == mediaTypeRego || layer.MediaType == mediaTypeData
	if !file && !strings.HasSuffix(layer.MediaType, "tar+gzip") {
		return fmt.Errorf("%w: a layer of type %.100q is neither conftest's nor an OPA bundle", rego.ErrUnusable, layer.MediaType)
	}
	if file {
		var err error
		if title, err = inside(title); err != nil {
			return err
		}
		if !rego.Wanted(title) {
			return nil
		}
	}
	if layer.Size < 0 || layer.Size > b.Room() {
		return rego.ErrTooLarge
	}
	data, err := repository.Blob(ctx, layer)
	if err != nil {
		return err
	}
	if file {
		return b.Add(title, data)
	}
	return b.unpack(data)
}

// inside is a name from outside as a path in the bundle.
func inside(name string) (string, error) {
	cleaned := path.Clean(strings.TrimLeft(name, "/"))
	if name == "" || cleaned == "." || !fs.ValidPath(cleaned) {
		return "", fmt.Errorf("%w: a file is named %.100q", rego.ErrUnusable, name)
	}
	return cleaned, nil
}
