package testworld

import (
	"io/fs"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/sign"
)

// Registry is an OCI registry in this process.
type Registry struct{ *Server }

// NewRegistry starts a registry.
func NewRegistry(t testing.TB, options registry.Options) *Registry {
	t.Helper()
	handler := registry.New(options)
	t.Cleanup(func() { _ = handler.Close() }) // after the server, which is closed first
	return &Registry{Serve(t, handler)}
}

// Client returns a client of registries that repeats failed requests at once.
func Client() *oci.Client { return oci.NewClient(oci.Options{MaxRetryWait: time.Millisecond}) }

// Repository returns the repository acme/name of the registry, with a client of its own.
func (r *Registry) Repository(t testing.TB, name string) *oci.Repository {
	t.Helper()
	return must(Client().Repository(r.Host + "/acme/" + name))(t)
}

// Push packs files into an artifact, pushes it, and points tags at it.
func Push(t testing.TB, repository *oci.Repository, files fs.FS, annotations map[string]string, tags ...string) oci.Artifact {
	t.Helper()
	artifact := must(oci.Pack(files, annotations))(t)
	check(t, repository.PushArtifact(t.Context(), artifact))
	Tag(t, repository, artifact.Descriptor, tags...)
	return artifact
}

// Tag points tags at a manifest.
func Tag(t testing.TB, repository *oci.Repository, desc ocispec.Descriptor, tags ...string) {
	t.Helper()
	for _, tag := range tags {
		check(t, repository.Tag(t.Context(), desc, tag))
	}
}

// Attest signs a statement about a manifest, attaches it, and returns the digest of the referrer.
func Attest(t testing.TB, repository *oci.Repository, desc ocispec.Descriptor, key *sign.Key, statement sign.Statement) digest.Digest {
	t.Helper()
	return must(sign.Attest(t.Context(), repository, desc, key, statement))(t).Digest
}
