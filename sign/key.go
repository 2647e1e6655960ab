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
	"io"
	"os"
	"strings"
	"sync"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore/pkg/signature"
)

const (
	// PasswordVariable is the environment variable in which cosign looks for a key's password.
	PasswordVariable = "COSIGN_PASSWORD"

	maxKeySize = 64 << 10 // a PEM file of an RSA key of 8192 bits has 7 KB
	minRSABits = 2048
	maxRSABits = 8192 // verification time grows with the size, and the key may be a stranger's

	envScheme = "env://"

	pemSigstore = "ENCRYPTED SIGSTORE PRIVATE KEY"
	pemCosign   = "ENCRYPTED COSIGN PRIVATE KEY"
	pemPublic   = "PUBLIC KEY"
)

// ErrPassword is the error of a key that its password does not open.
var ErrPassword = errors.New("wrong password")

// PasswordFunc gives the password of an encrypted key. It is called only when there is such a key; the empty password
// is one too.
type PasswordFunc func(ctx context.Context) ([]byte, error)

// PasswordFromEnv takes the password from COSIGN_PASSWORD, where it is set, and else asks. A nil ask is an error then.
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

// Key is an opened private key. It is a [Signer], and safe for concurrent use.
type Key struct {
	signer signature.Signer
	public PublicKey
}

// PublicKey is a key that signatures are checked with.
type PublicKey struct {
	key  crypto.PublicKey
	spki []byte // DER
}

// KeyPair is a new key in two PEM texts.
type KeyPair struct {
	Private []byte // encrypted, in cosign's format
	Public  []byte
}

// OpenKey opens a private key for signing. A reference is a path, or env://NAME for PEM text in an environment variable.
// Opening an encrypted key takes a few tenths of a second by intent: do it once a run, see [Keyring]. A wrong password
// is [ErrPassword].
func OpenKey(ctx context.Context, ref string, password PasswordFunc) (*Key, error) {
	text, name, err := readKey(ref)
	if err != nil {
		return nil, err
	}
	private, err := decodePrivateKey(ctx, text, password)
	if err != nil {
		return nil, fmt.Errorf("open signing key %s: %w", name, err)
	}
	public, err := newPublicKey(private.Public())
	if err != nil {
		return nil, fmt.Errorf("open signing key %s: %w", name, err)
	}
	signer, err := signature.LoadSigner(private, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("open signing key %s: %w", name, err)
	}
	return &Key{signer: signer, public: public}, nil
}

// readKey returns the bytes behind a reference and a name for them that may be shown.
func readKey(ref string) (text []byte, name string, err error) {
	switch {
	case ref == "":
		return nil, "", errors.New("no signing key is given; name a key file or env://NAME")
	case strings.Contains(ref, "-----BEGIN"):
		return nil, "", errors.New("the key reference holds a key itself; put it in a file or a variable, and name that")
	case strings.HasPrefix(ref, envScheme):
		variable := strings.TrimPrefix(ref, envScheme)
		if variable == "" {
			return nil, "", fmt.Errorf("open signing key: %s names no environment variable; write %sNAME", ref, envScheme)
		}
		value, ok := os.LookupEnv(variable)
		if !ok || value == "" {
			return nil, "", fmt.Errorf("open signing key: the environment variable %s is not set; put the PEM text of the key in it", variable)
		}
		if len(value) > maxKeySize {
			return nil, "", fmt.Errorf("open signing key %s: larger than %d bytes", ref, maxKeySize)
		}
		return []byte(value), ref, nil
	case !IsFile(ref):
		scheme, _, _ := strings.Cut(ref, ":") // what follows it may be a secret
		return nil, "", fmt.Errorf("signing keys of the kind %s are not supported yet; name a key file or env://NAME", scheme)
	}
	file, err := os.Open(ref)
	if err != nil {
		return nil, "", fmt.Errorf("open signing key: %w", err)
	}
	defer file.Close()
	text, err = io.ReadAll(io.LimitReader(file, maxKeySize+1))
	if err != nil {
		return nil, "", fmt.Errorf("open signing key: %w", err)
	}
	if len(text) > maxKeySize {
		return nil, "", fmt.Errorf("open signing key %s: larger than %d bytes", ref, maxKeySize)
	}
	return text, ref, nil
}

func decodePrivateKey(ctx context.Context, text []byte, password PasswordFunc) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("not PEM text")
	}
	var key any
	var err error
	switch block.Type {
	case pemSigstore, pemCosign:
		return decrypt(ctx, block.Bytes, password)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case pemPublic:
		return nil, errors.New("it is a public key; signing needs the private one")
	default:
		return nil, fmt.Errorf("PEM block %.60q is no key that can sign; make one with `cosign import-key-pair`", block.Type)
	}
	return asSigner(key, err)
}

func decrypt(ctx context.Context, box []byte, ask PasswordFunc) (crypto.Signer, error) {
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
		// The cause tells a damaged file from a wrong password no better than this does.
		return nil, fmt.Errorf("%w, or a damaged key file", ErrPassword)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	return asSigner(key, err)
}

func asSigner(key any, err error) (crypto.Signer, error) {
	if err != nil {
		return nil, errors.New("the PEM block does not hold a private key") // the cause may quote key material
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("keys of type %T cannot sign", key)
	}
	return signer, nil
}

// GenerateKeyPair makes an ECDSA key on P-256 and encrypts it with the password, as `cosign generate-key-pair` does; the
// empty password is allowed. Its randomness is the operating system's.
func GenerateKeyPair(password []byte) (KeyPair, error) {
	pair, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return password, nil })
	if err != nil {
		return KeyPair{}, fmt.Errorf("generate key: %w", err)
	}
	return KeyPair{Private: pair.PrivateBytes, Public: pair.PublicBytes}, nil
}

// ParsePublicKey reads one public key from PEM text («PUBLIC KEY», as cosign writes it).
func ParsePublicKey(text []byte) (PublicKey, error) {
	keys, err := ParsePublicKeys(text)
	switch {
	case err != nil:
		return PublicKey{}, err
	case len(keys) > 1: // somebody believes that both are trusted
		return PublicKey{}, errors.New("public key is followed by another one; give one key each")
	}
	return keys[0], nil
}

// MaxPublicKeys is how many public keys may stand in one text.
const MaxPublicKeys = 16

// ParsePublicKeys reads public keys, one PEM block after the other: the current one of somebody, and those that he had
// before.
func ParsePublicKeys(text []byte) ([]PublicKey, error) {
	if len(text) > MaxPublicKeys*maxKeySize {
		return nil, fmt.Errorf("public key is larger than %d bytes", MaxPublicKeys*maxKeySize)
	}
	var keys []PublicKey
	for rest := text; len(keys) == 0 || len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		switch {
		case block == nil && len(keys) == 0:
			return nil, errors.New("public key is not PEM text")
		case block == nil:
			return nil, errors.New("public key is followed by something else than another one")
		case block.Type != pemPublic:
			return nil, fmt.Errorf("PEM block %.60q is not a public key", block.Type)
		case len(keys) == MaxPublicKeys:
			return nil, fmt.Errorf("more than %d public keys in one text", MaxPublicKeys)
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		key, err := newPublicKey(parsed)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func newPublicKey(key crypto.PublicKey) (PublicKey, error) {
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

// PEM is the key as text.
func (k PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: k.spki})
}

// Fingerprint is the SHA-256 of the key's SubjectPublicKeyInfo in 64 digits of lower-case hex.
func (k PublicKey) Fingerprint() string {
	sum := sha256.Sum256(k.spki)
	return hex.EncodeToString(sum[:])
}

// hint is how cosign names a key in a bundle.
func (k PublicKey) hint() string {
	sum := sha256.Sum256(k.spki)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Keyring opens each key once, however many ask for it. It is safe for concurrent use.
type Keyring struct {
	password PasswordFunc

	mu   sync.Mutex
	keys map[string]*Key
}

// NewKeyring makes an empty keyring that opens encrypted keys with the given password.
func NewKeyring(password PasswordFunc) *Keyring {
	return &Keyring{password: password, keys: make(map[string]*Key)}
}

// Open is [OpenKey], once for each reference.
func (r *Keyring) Open(ctx context.Context, ref string) (*Key, error) {
	r.mu.Lock() // held while opening: those who wait want this key, or would compete for the processor
	defer r.mu.Unlock()
	if key, ok := r.keys[ref]; ok {
		return key, nil
	}
	key, err := OpenKey(ctx, ref, r.password)
	if err != nil {
		return nil, err
	}
	r.keys[ref] = key
	return key, nil
}
