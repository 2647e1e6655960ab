package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	sigstore "github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"google.golang.org/protobuf/encoding/protojson"
)

// Signer signs in the two forms that are published.
type Signer interface {
	// Identity is whom a verifier has to trust to accept what this signer signs. It has no name.
	Identity() Identity
	// SignStatement puts an in-toto statement in a signed envelope and returns a Sigstore bundle v0.3, in JSON.
	SignStatement(ctx context.Context, statement []byte) ([]byte, error)
	// SignPayload signs bytes as they are, and returns the annotations with which cosign finds such a signature.
	SignPayload(ctx context.Context, payload []byte) (map[string]string, error)
}

var _ Signer = (*Key)(nil)

// PublicKey is the key that verifies what this one signs.
func (k *Key) PublicKey() PublicKey { return k.public }

// Identity is the key's public half.
func (k *Key) Identity() Identity { return Identity{PublicKey: k.public} }

// SignStatement implements [Signer].
func (k *Key) SignStatement(ctx context.Context, statement []byte) ([]byte, error) {
	content := &sigstore.DSSEData{Data: statement, PayloadType: payloadType}
	bundle, err := sigstore.Bundle(content, keypair{k}, sigstore.BundleOptions{Context: ctx})
	if err != nil {
		return nil, fmt.Errorf("sign statement: %w", err)
	}
	text, err := protojson.Marshal(bundle)
	if err != nil {
		return nil, fmt.Errorf("sign statement: %w", err)
	}
	return text, nil
}

// SignPayload implements [Signer].
func (k *Key) SignPayload(ctx context.Context, payload []byte) (map[string]string, error) {
	sig, err := k.sign(ctx, payload)
	if err != nil {
		return nil, fmt.Errorf("sign payload: %w", err)
	}
	return map[string]string{annotationSignature: base64.StdEncoding.EncodeToString(sig)}, nil
}

func (k *Key) sign(ctx context.Context, data []byte) ([]byte, error) {
	return k.signer.SignMessage(bytes.NewReader(data), options.WithContext(ctx))
}

// keypair shows a Key to sigstore-go, which asks more of a key than a reader of Key's methods should have to see.
type keypair struct{ key *Key }

var _ sigstore.Keypair = keypair{}

func (p keypair) SignData(ctx context.Context, data []byte) (sig, digest []byte, err error) {
	sig, err = p.key.sign(ctx, data)
	sum := sha256.Sum256(data)
	return sig, sum[:], err
}

func (p keypair) GetHashAlgorithm() protocommon.HashAlgorithm {
	return protocommon.HashAlgorithm_SHA2_256
}

func (p keypair) GetHint() []byte                  { return []byte(p.key.public.hint()) }
func (p keypair) GetPublicKey() crypto.PublicKey   { return p.key.public.key }
func (p keypair) GetPublicKeyPem() (string, error) { return string(p.key.public.PEM()), nil }

// The algorithm is asked for by logs and certificate authorities only, and a bundle by a bare key meets neither.
func (p keypair) GetKeyAlgorithm() string { return "" }

func (p keypair) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return protocommon.PublicKeyDetails_PUBLIC_KEY_DETAILS_UNSPECIFIED
}
