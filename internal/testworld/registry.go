package testworld

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// Attest signs a statement about a manifest, attaches it, and returns it.
func Attest(t testing.TB, repository *oci.Repository, desc ocispec.Descriptor, key *sign.Key, statement sign.Statement) sign.Bundle {
	t.Helper()
	return must(sign.Attest(t.Context(), repository, desc, key, statement))(t)
}

// SignImage signs a manifest in the older form.
func SignImage(t testing.TB, repository *oci.Repository, desc ocispec.Descriptor, key *sign.Key, claim sign.Claim) {
	t.Helper()
	signature := must(sign.NewImageSignature(t.Context(), key, desc.Digest, claim))(t)
	check(t, sign.AttachImages(t.Context(), repository, desc, []*sign.Verifier{must(sign.NewVerifier(key.Identity()))(t)}, signature))
}

// Key makes a signing key.
func Key(t testing.TB) *sign.Key {
	t.Helper()
	return must(sign.NewKey(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)))(t)
}

// KeyFile makes a signing key and returns the file of the private key and the text of the public one.
func KeyFile(t testing.TB) (private, public string) {
	t.Helper()
	pair := must(KeyPair())(t)
	private = filepath.Join(t.TempDir(), "signing.key")
	check(t, os.WriteFile(private, pair.Private, 0o600))
	return private, string(pair.Public)
}

// KeyPair makes a signing key as text. It is not encrypted: opening an encrypted key takes a third of a second.
func KeyPair() (sign.KeyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return sign.KeyPair{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return sign.KeyPair{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	return sign.KeyPair{
		Private: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		Public:  pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
	}, err
}

// Verifier trusts a key under an identity's name.
func Verifier(t testing.TB, identity string, key *sign.Key) *sign.Verifier {
	t.Helper()
	return must(sign.NewVerifier(sign.Identity{Name: identity, PublicKey: key.PublicKey()}))(t)
}
