package sign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/oci"
)

const (
	// MaxBundleSize bounds a bundle that is read. Those of this package have some 2 KB; a bill of materials can have
	// megabytes.
	MaxBundleSize = 4 << 20

	findConcurrency = 4
)

// Bundle is a Sigstore bundle, or what claims to be one. Nothing in it is proven.
type Bundle struct {
	Referrer digest.Digest // of the manifest that attaches it; "" if it was not read from a registry
	JSON     []byte        // nil if Problem is set
	Problem  string        // why it could not be read as a bundle; empty if it could

	predicateType string // of a bundle that was signed here
}

// Digest returns the digest of the bundle's bytes, which identifies the statement in registries and in Git alike.
func (b Bundle) Digest() digest.Digest { return digest.FromBytes(b.JSON) }

// Find reads all bundles attached to a digest, in the order of the registry's list. No bundle is not an error; more than
// MaxBundles are one, and so is a registry that fails.
func Find(ctx context.Context, store Reader, subject ocispec.Descriptor) ([]Bundle, error) {
	referrers, err := store.Referrers(ctx, subject, "")
	if err != nil {
		return nil, fmt.Errorf("list the signatures of %s: %w", subject.Digest, err)
	}
	return Read(ctx, store, subject.Digest, referrers)
}

// Read is [Find] among the given referrers of an artifact.
func Read(ctx context.Context, store Reader, artifact digest.Digest, referrers []ocispec.Descriptor) ([]Bundle, error) {
	descs := mayBeBundles(referrers)
	if len(descs) > MaxBundles {
		return nil, fmt.Errorf("%d signatures and attestations are attached to %s, at most %d are read; delete those that nobody needs", len(descs), artifact, MaxBundles)
	}
	bundles := make([]Bundle, len(descs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(findConcurrency)
	for i, desc := range descs {
		group.Go(func() (err error) {
			bundles[i], err = readBundle(ctx, store, desc)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read the signatures of %s: %w", artifact, err)
	}
	return slices.DeleteFunc(bundles, func(b Bundle) bool { return b.Referrer == "" }), nil
}

// mayBeBundles leaves out referrers of another kind. It does not ask the registry to: entries of fallback indexes often lack
// the artifact type, or have that of the config in its place.
func mayBeBundles(referrers []ocispec.Descriptor) []ocispec.Descriptor {
	return slices.DeleteFunc(slices.Clone(referrers), func(d ocispec.Descriptor) bool {
		return d.ArtifactType != "" && d.ArtifactType != ocispec.MediaTypeEmptyJSON && !strings.HasPrefix(d.ArtifactType, bundleTypePrefix)
	})
}

// readBundle reads one referrer. It returns a zero bundle for another kind of referrer, and an error only if the registry
// failed.
func readBundle(ctx context.Context, store Reader, desc ocispec.Descriptor) (Bundle, error) {
	problem := func(format string, args ...any) (Bundle, error) {
		return Bundle{Referrer: desc.Digest, Problem: fmt.Sprintf(format, args...)}, nil
	}
	_, raw, err := store.Manifest(ctx, desc.Digest.String())
	if errors.Is(err, oci.ErrNotFound) {
		return problem("it is listed but its manifest is gone")
	} else if err != nil {
		return Bundle{}, err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return problem("its manifest cannot be read: %v", err)
	}
	if len(manifest.Layers) != 1 || !strings.HasPrefix(manifest.Layers[0].MediaType, bundleTypePrefix) {
		if strings.HasPrefix(desc.ArtifactType, bundleTypePrefix) {
			return problem("its manifest does not have exactly one layer with a bundle")
		}
		return Bundle{}, nil
	}
	layer := manifest.Layers[0]
	if err := checkDigest(layer.Digest); err != nil || layer.Size < 0 {
		return problem("its manifest has a bad descriptor")
	}
	if layer.Size > MaxBundleSize {
		return problem("the bundle has %d bytes, at most %d are read", layer.Size, MaxBundleSize)
	}
	text, err := store.Blob(ctx, layer)
	if errors.Is(err, oci.ErrNotFound) {
		return problem("its bundle is gone")
	} else if err != nil {
		return Bundle{}, err
	}
	return Bundle{Referrer: desc.Digest, JSON: text}, nil
}
