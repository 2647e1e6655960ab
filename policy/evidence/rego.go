package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
)

// Bounds on a set of policies, and on a pushed one that is compressed.
const (
	MaxPolicyFiles = 1000
	MaxPolicyBytes = 8 << 20 // of all its files

	maxPolicyLayers = 1000
)

// ErrPolicy says that policies cannot be used as they are declared or as they were pushed.
var ErrPolicy = errors.New("policies cannot be used")

const (
	ociScheme = "oci://"

	// What conftest pushes: a layer a file, which its title names. https://www.conftest.dev/sharing/
	mediaTypeRego = "application/vnd.cncf.openpolicyagent.policy.layer.v1+rego"
	mediaTypeData = "application/vnd.cncf.openpolicyagent.data.layer.v1+json"
)

// Rego reads the policies of a rego gate: modules (*.rego) and data (data.json, data.yaml, data.yml) by path, *_test.rego
// left out. The argument is a folder of files, whose subfolders count too, or oci://REPOSITORY@sha256:DIGEST: an artifact of
// conftest, or one whose layers are OPA bundles (tar+gzip, https://www.openpolicyagent.org/docs/management-bundles). A
// tag is refused, since it may name other policies tomorrow. What cannot be used is [ErrPolicy]. Whether modules compile is
// for those who evaluate them to say.
func Rego(ctx context.Context, argument string, files fs.FS, client *oci.Client) (policy.Bundle, error) {
	b := bundle{policy.Bundle{}, 0}
	var err error
	if reference, ok := strings.CutPrefix(argument, ociScheme); ok {
		err = b.pull(ctx, reference, client)
	} else {
		err = b.walk(ctx, argument, files)
	}
	if err == nil && !b.hasModule() {
		err = fmt.Errorf("%w: no .rego file is in it", ErrPolicy)
	}
	if err != nil {
		return nil, fmt.Errorf("rego %s: %w", argument, err)
	}
	return b.files, nil
}

// bundle is policies while they are read.
type bundle struct {
	files policy.Bundle
	size  int64
}

func (b *bundle) hasModule() bool {
	for name := range b.files {
		if path.Ext(name) == ".rego" {
			return true
		}
	}
	return false
}

// wanted tells modules and data from everything else that lies beside them.
func wanted(name string) bool {
	switch path.Base(name) {
	case "data.json", "data.yaml", "data.yml":
		return true
	}
	return path.Ext(name) == ".rego" && !strings.HasSuffix(name, "_test.rego")
}

// room is how many more bytes a bundle may have.
func (b *bundle) room() int64 { return MaxPolicyBytes - b.size }

func (b *bundle) add(name string, data []byte) error {
	if _, twice := b.files[name]; twice {
		return fmt.Errorf("%w: %s is in it twice", ErrPolicy, name)
	}
	if len(b.files) == MaxPolicyFiles {
		return fmt.Errorf("%w: more than %d files", ErrPolicy, MaxPolicyFiles)
	}
	if int64(len(data)) > b.room() {
		return errTooLarge()
	}
	b.size += int64(len(data))
	b.files[name] = data
	return nil
}

func errTooLarge() error { return fmt.Errorf("%w: more than %d bytes", ErrPolicy, MaxPolicyBytes) }

func (b *bundle) walk(ctx context.Context, folder string, files fs.FS) error {
	if info, err := fs.Stat(files, folder); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the GitOps repository has no such folder", ErrPolicy)
	} else if err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%w: it is a file; name the folder that it is in", ErrPolicy)
	}
	return fs.WalkDir(files, folder, func(name string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || entry.IsDir() || !wanted(name) {
			return err
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%w: %s is no regular file", ErrPolicy, name)
		}
		data, err := readBounded(files, name, b.room())
		if err != nil {
			return err
		}
		return b.add(strings.TrimPrefix(strings.TrimPrefix(name, folder), "/"), data)
	})
}

func readBounded(files fs.FS, name string, limit int64) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readAll(f, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

func (b *bundle) pull(ctx context.Context, reference string, client *oci.Client) error {
	name, pinned, err := oci.SplitReference(reference)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	if !strings.Contains(pinned, ":") {
		return fmt.Errorf("%w: it is not pinned: write %s%s@sha256:DIGEST", ErrPolicy, ociScheme, name)
	}
	if digest.Digest(pinned).Algorithm() != digest.SHA256 {
		return fmt.Errorf("%w: pin it by a sha256 digest", ErrPolicy)
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
		return fmt.Errorf("%w: its manifest: %w", ErrPolicy, err)
	}
	if len(manifest.Layers) == 0 || len(manifest.Layers) > maxPolicyLayers {
		return fmt.Errorf("%w: an image manifest of 1 to %d layers is expected, it has %d",
			ErrPolicy, maxPolicyLayers, len(manifest.Layers))
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
		return fmt.Errorf("%w: a layer of type %.100q is neither conftest's nor an OPA bundle", ErrPolicy, layer.MediaType)
	}
	if file {
		var err error
		if title, err = inside(title); err != nil {
			return err
		}
		if !wanted(title) {
			return nil
		}
	}
	if layer.Size < 0 || layer.Size > b.room() {
		return errTooLarge()
	}
	data, err := repository.Blob(ctx, layer)
	if err != nil {
		return err
	}
	if file {
		return b.add(title, data)
	}
	return b.unpack(data)
}

// inside is a name from outside as a path in the bundle.
func inside(name string) (string, error) {
	cleaned := path.Clean(strings.TrimLeft(name, "/"))
	if name == "" || cleaned == "." || !fs.ValidPath(cleaned) {
		return "", fmt.Errorf("%w: a file is named %.100q", ErrPolicy, name)
	}
	return cleaned, nil
}
