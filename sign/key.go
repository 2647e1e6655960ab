package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	cosignbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/cosign/v2/pkg/types"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"golang.org/x/crypto/ssh"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/lockage/lockage/internal/bounded"
)

const (
	// PasswordVariable is the environment variable in which cosign looks for a key's password.
	PasswordVariable = "COSIGN_PASSWORD"

	maxKeySize = 64 << 10 // a PEM file of an RSA key of 8192 bits has 7 KB
)

// ErrPassword is returned by OpenKey if the password does not open the key.
var ErrPassword = errors.New("wrong password")

// PasswordFunc returns the password of an encrypted key. It is called for encrypted keys only; the empty password is
// valid.
type PasswordFunc func(ctx context.Context) ([]byte, error)

// PasswordFromEnv returns the password in COSIGN_PASSWORD if it is set, and calls ask if not. A nil ask is an error then.
func PasswordFromEnv(ask PasswordFunc) PasswordFunc {
	return func(ctx context.Context) ([]byte, error) {
		if password, ok := os.LookupEnv(PasswordVariable); ok {
			return []byte(password), nil
		}
		if ask == nil {
			return nil, fmt.Errorf("the key is encrypted and %s is not set", PasswordVariable)
		}
		return ask(ctx)
	}
}

// Key is a [Signer] whose identity is a public key. It is safe for concurrent use.
type Key struct {
	signer signature.Signer
	public PublicKey
}

var _ Signer = (*Key)(nil)

// NewKey returns a signer by a private key.
func NewKey(private crypto.Signer) (*Key, error) {
	public, err := NewPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	signer, err := signature.LoadSigner(private, crypto.SHA256)
	return &Key{signer: signer, public: public}, err
}

// PublicKey returns the key that verifies what this one signs.
func (k *Key) PublicKey() PublicKey { return k.public }

// Identity implements [Signer].
func (k *Key) Identity() Identity { return Identity{PublicKey: k.public} }

// SignStatement implements [Signer].
func (k *Key) SignStatement(ctx context.Context, statement []byte) ([]byte, error) {
	message := dsse.PAE(types.IntotoPayloadType, statement)
	sig, err := k.signer.SignMessage(bytes.NewReader(message), options.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	bundle, err := cosignbundle.MakeProtobufBundle(k.public.hint(), nil, nil, nil)
	if err != nil {
		return nil, err
	}
	bundle.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
		Payload: statement, PayloadType: types.IntotoPayloadType, Signatures: []*protodsse.Signature{{Sig: sig}},
	}}
	return protojson.Marshal(bundle)
}

// SignPayload implements [Signer].
func (k *Key) SignPayload(ctx context.Context, payload []byte) (map[string]string, error) {
	sig, err := k.signer.SignMessage(bytes.NewReader(payload), options.WithContext(ctx))
	return map[string]string{static.SignatureAnnotationKey: base64.StdEncoding.EncodeToString(sig)}, err
}

// KeyPair is a key in two PEM texts.
type KeyPair struct{ Private, Public []byte }

// GenerateKeyPair makes an ECDSA key on P-256 and encrypts it with the password, as `cosign generate-key-pair` does; the
// empty password is allowed. Its randomness is the operating system's.
func GenerateKeyPair(password []byte) (KeyPair, error) {
	pair, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return password, nil })
	if err != nil {
		return KeyPair{}, fmt.Errorf("generate key: %w", err)
	}
	return KeyPair{Private: pair.PrivateBytes, Public: pair.PublicBytes}, nil
}

// OpenKey opens a private key for signing: PEM text, as cosign, OpenSSL and ssh-keygen write it, or the public key of one that the ssh
// agent holds. A reference is a path, or env://NAME for an environment variable.
// Opening an encrypted key takes a few tenths of a second by design: do it once a run, see [Keyring].
func OpenKey(ctx context.Context, ref string, password PasswordFunc) (*Key, error) {
	var key *Key
	text, err := readKey(ref)
	if err == nil {
		key, err = parseKey(ctx, text, password)
	}
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", ref, err)
	}
	return key, nil
}

// plainKey returns a key of package ssh as those of the standard library are.
func plainKey(key any) any {
	if k, ok := key.(*ed25519.PrivateKey); ok {
		return *k
	}
	return key
}

// readKey returns the bytes behind a reference.
func readKey(ref string) ([]byte, error) {
	variable, ok := strings.CutPrefix(ref, schemeEnv+"://")
	if !ok {
		file, err := os.Open(ref)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return bounded.Read(file, maxKeySize)
	}
	value := os.Getenv(variable)
	switch {
	case variable == "":
		return nil, fmt.Errorf("it names no environment variable; write %s://NAME", schemeEnv)
	case value == "":
		return nil, fmt.Errorf("the environment variable %s is not set; put the PEM text of the key in it", variable)
	}
	return bounded.Read(strings.NewReader(value), maxKeySize)
}

// parseKey reads what cosign.LoadPrivateKey reads, and unencrypted keys. That function is not used because it signs with
// SHA-384 by a key on P-384, which `cosign verify --key` does not accept, and does not distinguish a wrong password.
func parseKey(ctx context.Context, text []byte, password PasswordFunc) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		if public, _, _, _, err := ssh.ParseAuthorizedKey(text); err == nil {
			return openAgent(public)
		}
		return nil, errors.New("neither PEM text, the content of a key file, nor a public key of OpenSSH, whose agent is asked to sign")
	}
	var private any
	var err error
	switch block.Type {
	case cosign.SigstorePrivateKeyPemType, cosign.CosignPrivateKeyPemType:
		if block.Bytes, err = decrypt(ctx, block.Bytes, password); err != nil {
			return nil, err
		}
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case cosign.PrivateKeyPemType:
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case cosign.ECPrivateKeyPemType:
		private, err = x509.ParseECPrivateKey(block.Bytes)
	case cosign.RSAPrivateKeyPemType:
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case pemOpenSSH:
		if private, err = parseOpenSSHPrivate(ctx, text, password); err != nil {
			return nil, err
		}
	case pemPublic:
		return nil, errors.New("it is a public key; signing needs the private one")
	case pemEncrypted:
		return nil, errOpenSSL
	default:
		return nil, fmt.Errorf("PEM block %.60q is not a key that can sign: make one with `lockage keys generate`", block.Type)
	}
	if err != nil && block.Headers["DEK-Info"] != "" {
		return nil, errOpenSSL
	}
	if err != nil {
		return nil, errors.New("the PEM block does not hold a private key") // the cause may quote key material
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("keys of type %T cannot sign", private)
	}
	return NewKey(signer)
}

// pemEncrypted is the type of the private keys that OpenSSL encrypts as PKCS #8.
const pemEncrypted = "ENCRYPTED PRIVATE KEY"

var errOpenSSL = errors.New("OpenSSL encrypted it, in a form that is not read: `openssl pkey -in KEY -out NEW` writes it without a password, and then `cosign import-key-pair --key NEW` with one")

func decrypt(ctx context.Context, box []byte, ask PasswordFunc) ([]byte, error) {
	if ask == nil {
		return nil, errors.New("the key is encrypted and no password is given")
	}
	password, err := ask(ctx)
	if err != nil {
		return nil, fmt.Errorf("its password: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	der, err := encrypted.Decrypt(box, password)
	if err != nil {
		// The cause distinguishes a damaged file from a wrong password no better than this.
		return nil, fmt.Errorf("%w (in %s, or as typed), or a damaged key file", ErrPassword, PasswordVariable)
	}
	return der, nil
}

const (
	// MaxPublicKeys bounds the public keys of one text: enough for a file of all who sign commits.
	MaxPublicKeys = 256

	minRSABits = 2048
	maxRSABits = 8192 // verification time grows with the size, and an unknown key must not decide it

	pemPublic = "PUBLIC KEY"
)

// PublicKey is a key that signatures are verified with.
type PublicKey struct {
	key  crypto.PublicKey
	spki []byte // SubjectPublicKeyInfo in DER
}

// ParsePublicKeys reads public keys: the current key of an identity first, then its former ones. They are PEM blocks («PUBLIC KEY», as
// cosign writes them) or keys of OpenSSH, one a line, as files .pub have them.
func ParsePublicKeys(text []byte) ([]PublicKey, error) {
	if len(text) > MaxPublicKeys*maxKeySize {
		return nil, fmt.Errorf("public key is larger than %d bytes", MaxPublicKeys*maxKeySize)
	}
	var keys []PublicKey
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var key PublicKey
		var err error
		if bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			key, rest, err = parsePEM(rest)
		} else {
			var line []byte
			line, rest, _ = bytes.Cut(rest, []byte("\n"))
			if line[0] == '#' {
				continue
			}
			key, err = parseOpenSSH(line)
		}
		if err != nil {
			return nil, err
		}
		if len(keys) == MaxPublicKeys {
			return nil, fmt.Errorf("more than %d public keys in one text", MaxPublicKeys)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no public key")
	}
	return keys, nil
}

// parsePEM reads the block that a text begins with. It passes over none that is damaged: the key below that would take its place.
func parsePEM(text []byte) (key PublicKey, rest []byte, err error) {
	const begin = "-----BEGIN "
	first := len(text)
	if next := bytes.Index(text[len(begin):], []byte(begin)); next >= 0 {
		first = len(begin) + next
	}
	block, rest := pem.Decode(text[:first])
	rest = text[first-len(rest):]
	switch {
	case block == nil:
		return key, nil, errors.New("public key is not PEM text, or its block is damaged")
	case block.Type != pemPublic:
		return key, nil, fmt.Errorf("PEM block %.60q is not a public key", block.Type)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return key, nil, fmt.Errorf("public key: %w", err)
	}
	key, err = NewPublicKey(parsed)
	return key, rest, err
}

func parseOpenSSH(line []byte) (PublicKey, error) {
	parsed, _, options, _, err := ssh.ParseAuthorizedKey(line)
	switch {
	case err != nil:
		return PublicKey{}, errors.New("public key is neither PEM text nor a line of OpenSSH")
	case len(options) > 0:
		return PublicKey{}, fmt.Errorf("public key of OpenSSH: before its type is %.60q; write the line as the file .pub has it", options[0])
	}
	key, ok := parsed.(ssh.CryptoPublicKey)
	if !ok {
		return PublicKey{}, fmt.Errorf("keys of type %s are not supported", parsed.Type())
	}
	return NewPublicKey(key.CryptoPublicKey())
}

// NewPublicKey returns a key that signatures can be verified with.
func NewPublicKey(key crypto.PublicKey) (PublicKey, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() && k.Curve != elliptic.P521() {
			return PublicKey{}, fmt.Errorf("keys on curve %s are not supported; take P-256", k.Params().Name)
		}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return PublicKey{}, fmt.Errorf("RSA key of %d bits; from %d to %d are supported", bits, minRSABits, maxRSABits)
		}
	case ed25519.PublicKey:
	default:
		return PublicKey{}, fmt.Errorf("keys of type %T are not supported; take ECDSA on P-256", key)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return PublicKey{}, fmt.Errorf("public key: %w", err)
	}
	return PublicKey{key: key, spki: der}, nil
}

// PEM returns the key as text.
func (k PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: k.spki})
}

// Fingerprint returns the SHA-256 of the key's SubjectPublicKeyInfo in 64 digits of lower-case hex.
func (k PublicKey) Fingerprint() string {
	sum := sha256.Sum256(k.spki)
	return hex.EncodeToString(sum[:])
}

// hint returns cosign's name for the key in a bundle.
func (k PublicKey) hint() string {
	sum := sha256.Sum256(k.spki)
	return base64.StdEncoding.EncodeToString(sum[:])
}
