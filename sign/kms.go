package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// serviceName is the form of the scheme that names a key service, and so the program that speaks with it.
var serviceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// notServices are schemes that name no key service.
var notServices = map[string]bool{"http": true, "https": true, "file": true, "oci": true, "ssh": true}

// clients are the build tags by which this program has the client of a key service itself, by scheme.
var clients = map[string]string{"awskms": "awskms", "azurekms": "azurekms", "gcpkms": "gcpkms", "hashivault": "hashivault", "openbao": "hashivault"}

// openService opens a key that never leaves a key service, such as awskms:///alias/promote. The service's client signs with it where the
// program was built with that, see clients; else the program sigstore-kms-SCHEME does, by the plugin protocol of Sigstore:
// https://github.com/sigstore/sigstore/tree/main/pkg/signature/kms/cliplugin
func openService(ctx context.Context, scheme, ref string) (Signer, error) {
	if !serviceName.MatchString(scheme) || notServices[scheme] { // without the rest of the reference, which may be a secret
		return nil, fmt.Errorf("signing keys of the kind %.32q are not supported; name a key file, env://NAME, or a key of a key service that has a program sigstore-kms-NAME", scheme)
	}
	key, err := kms.Get(ctx, ref, crypto.SHA256)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("signing key %s: the program %s%s is not on the PATH; it is the plugin that signs with keys of this service%s", ref, cliplugin.PluginBinaryPrefix, scheme, otherBuild(clients[scheme]))
	}
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w%s", ref, err, takes(scheme))
	}
	public, err := key.PublicKey(options.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("signing key %s: its public key: %w%s", ref, err, takes(scheme))
	}
	if _, ok := public.(ed25519.PublicKey); ok { // which signs messages, and no digests of them
		if key, err = kms.Get(ctx, ref, crypto.Hash(0)); err != nil {
			return nil, fmt.Errorf("signing key %s: %w", ref, err)
		}
	}
	return remoteKey(ctx, ref, key)
}

// takes names what a client of ours asks for; "" for a plugin.
func takes(scheme string) string {
	if clients[scheme] != "hashivault" || !slices.Contains(kms.SupportedProviders(), scheme+"://") {
		return ""
	}
	return "; it takes an unsealed server at VAULT_ADDR, a key of the transit engine, and a token in VAULT_TOKEN that may read keys/NAME and update sign/NAME/sha2-256 there"
}

// remoteKey returns a signer by a key that another program or a device has.
func remoteKey(ctx context.Context, ref string, key signature.Signer) (Signer, error) {
	public, err := key.PublicKey(options.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("signing key %s: its public key: %w", ref, err)
	}
	known, err := NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", ref, err)
	}
	verifier, err := signature.LoadVerifier(public, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", ref, err)
	}
	return &Key{signer: checked{key, ref, verifier}, public: known}, nil
}

// checked verifies what another program or a device signed: nobody would accept what is wrong, and it would be published.
type checked struct {
	signature.Signer
	ref      string
	verifier signature.Verifier
}

// SignMessage implements [signature.Signer].
func (c checked) SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error) {
	text, err := io.ReadAll(message)
	if err != nil {
		return nil, err
	}
	sig, err := c.Signer.SignMessage(bytes.NewReader(text), opts...)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", c.ref, err)
	}
	if err := c.verifier.VerifySignature(bytes.NewReader(sig), bytes.NewReader(text)); err != nil {
		return nil, fmt.Errorf("signing key %s: what it signed does not verify by its public key with SHA-256: use an ECDSA key on P-256: %w", c.ref, err)
	}
	return sig, nil
}

// otherBuild names the build that has what this one lacks.
func otherBuild(tag string) string {
	if tag == "" {
		return ""
	}
	return fmt.Sprintf(". Or build lockage with `go build -tags %s ./cmd/lockage`, which needs no plugin for it", tag)
}
