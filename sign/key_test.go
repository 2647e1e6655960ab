package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	"golang.org/x/crypto/ssh"
)

func newPrivateKey(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pkcs8(t, key)
}

func pkcs8(t testing.TB, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func writeKey(t testing.TB, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func password(text string) PasswordFunc {
	return func(context.Context) ([]byte, error) { return []byte(text), nil }
}

// Keys that cosign made open here, and keys made here open in cosign.
func TestCosignKeys(t *testing.T) {
	t.Parallel()
	t.Run("theirs", func(t *testing.T) {
		t.Parallel()
		theirs, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return []byte("secret"), nil })
		if err != nil {
			t.Fatal(err)
		}
		path := writeKey(t, theirs.PrivateBytes)
		key, err := OpenKey(t.Context(), path, password("secret"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(key.PublicKey().PEM(), theirs.PublicBytes) {
			t.Errorf("public key:\n%s\nwant\n%s", key.PublicKey().PEM(), theirs.PublicBytes)
		}
		_, err = OpenKey(t.Context(), path, password("not-the-secret"))
		if !errors.Is(err, ErrPassword) || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "COSIGN_PASSWORD") {
			t.Errorf("wrong password: %v", err)
		}
	})
	t.Run("ours", func(t *testing.T) {
		t.Parallel()
		for _, pw := range []string{"", "päss word"} {
			pair, err := GenerateKeyPair([]byte(pw))
			if err != nil {
				t.Fatal(err)
			}
			sv, err := cosign.LoadPrivateKey(pair.Private, []byte(pw), nil)
			if err != nil {
				t.Fatal(err)
			}
			public, err := sv.PublicKey()
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := ParsePublicKeys(pair.Public)
			if err != nil {
				t.Fatal(err)
			}
			if k, ok := public.(*ecdsa.PublicKey); !ok || !k.Equal(parsed[0].key) {
				t.Errorf("password %q: cosign reads another public key", pw)
			}
		}
	})
}

func TestOpenPlainKeys(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"p256 pkcs8":    newPrivateKey(t),
		"p384 sec1":     pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}),
		"rsa pkcs1":     pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}),
		"rsa pkcs8":     pkcs8(t, rsaKey),
		"ed25519 pkcs8": pkcs8(t, ed),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := OpenKey(t.Context(), writeKey(t, text), nil)
			if err != nil {
				t.Fatal(err)
			}
			store, subject := newMemory(), artifact("a")
			mustAttest(t, store, subject, key, NewSignature(subject.Digest, claim("test")))
			if err := signImage(t.Context(), store, subject, key, claim("test")); err != nil {
				t.Fatal(err)
			}
			v := verifierOf(t, map[string]*Key{"me": key})
			verified, rejected, err := Verify(t.Context(), store, subject, v)
			if err != nil || len(verified) != 1 {
				t.Errorf("bundle: %v, %v, %v", verified, rejected, err)
			}
			images, rejected, err := VerifyImage(t.Context(), store, subject, v)
			if err != nil || len(images) != 1 {
				t.Errorf(".sig: %v, %v, %v", images, rejected, err)
			}
		})
	}
}

func TestOpenKeyFromEnvironment(t *testing.T) {
	text := newPrivateKey(t)
	t.Setenv("SOME_KEY", string(text))
	if _, err := OpenKey(t.Context(), "env://SOME_KEY", nil); err != nil {
		t.Error(err)
	}
	for _, value := range []string{"", "unset"} {
		t.Setenv("NO_KEY", "")
		if value == "unset" {
			if err := os.Unsetenv("NO_KEY"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := OpenKey(t.Context(), "env://NO_KEY", nil); err == nil || !strings.Contains(err.Error(), "NO_KEY is not set") {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestOpenKeyRefuses(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := GenerateKeyPair(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, test := range map[string]struct {
		ref  string
		text []byte
		want string
	}{
		"empty":          {ref: "", want: "no signing key is given"},
		"absent":         {ref: filepath.Join(dir, "absent.key"), want: "absent.key"},
		"a folder":       {ref: dir, want: dir},
		"kms":            {ref: "awskms:///alias/x", want: "sigstore-kms-awskms is not on the PATH"},
		"pkcs11":         {ref: "pkcs11:token=x?pin-value=1234", want: "PKCS #11 token"},
		"url":            {ref: "https://user:hunter2@host/key", want: `"https" are not supported`},
		"a key":          {ref: string(newPrivateKey(t)), want: "holds a key itself"},
		"text":           {text: []byte("hello"), want: "neither PEM text"},
		"public":         {text: pair.Public, want: "it is a public key"},
		"certificate":    {text: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"}), want: "CERTIFICATE"},
		"broken":         {text: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("hunter2")}), want: "does not hold a private key"},
		"openssl pkcs8":  {text: pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY"}), want: "openssl pkey -in KEY"},
		"openssl ec":     {text: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("x")}), want: "openssl pkey -in KEY"},
		"small rsa":      {text: pkcs8(t, small), want: "RSA key of 1024 bits"},
		"weak curve":     {text: pkcs8(t, p224), want: "P-224"},
		"no password":    {text: pair.Private, want: "no password is given"},
		"larger than it": {text: bytes.Repeat([]byte("x"), maxKeySize+1), want: "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.text != nil {
				test.ref = writeKey(t, test.text)
			}
			_, err := Open(t.Context(), test.ref, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			for _, secret := range []string{"hunter2", "1234", "MIG"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells a secret: %v", err)
				}
			}
		})
	}
}

func TestIsFile(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]bool{
		"keys/hydrator.key": true, "/k": true, `C:\keys\k`: true, "a:b": true,
		"": false, "env://KEY": false, "awskms:///x": false, "pkcs11:token=x": false,
	} {
		if IsFile(ref) != want {
			t.Errorf("IsFile(%q) = %v", ref, !want)
		}
	}
}

func TestPasswordFromEnv(t *testing.T) {
	ask := password("asked")
	t.Setenv(PasswordVariable, "")
	if got, err := PasswordFromEnv(ask)(t.Context()); err != nil || string(got) != "" {
		t.Errorf("set to the empty password: %q, %v", got, err)
	}
	if err := os.Unsetenv(PasswordVariable); err != nil {
		t.Fatal(err)
	}
	if got, err := PasswordFromEnv(ask)(t.Context()); err != nil || string(got) != "asked" {
		t.Errorf("unset: %q, %v", got, err)
	}
	if _, err := PasswordFromEnv(nil)(t.Context()); err == nil || !strings.Contains(err.Error(), PasswordVariable) {
		t.Errorf("unset and nobody to ask: %v", err)
	}
}

func TestKeyringOpensAtOnce(t *testing.T) {
	t.Parallel()
	pair, err := GenerateKeyPair([]byte("pw"))
	if err != nil {
		t.Fatal(err)
	}
	path := writeKey(t, pair.Private)
	asked := 0
	ring := NewKeyring(func(context.Context) ([]byte, error) {
		asked++
		if asked == 1 {
			return nil, errors.New("typed nothing")
		}
		return []byte("pw"), nil
	})
	if _, err := ring.Open(t.Context(), path); err == nil {
		t.Error("opened without a password")
	}
	done := make(chan error)
	for range 4 {
		go func() {
			_, err := ring.Open(t.Context(), path)
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times; want once, and once more after the failure", asked)
	}
}

func TestPublicKey(t *testing.T) {
	t.Parallel()
	// The fingerprint is that of: openssl pkey -pubin -outform DER | sha256sum
	const text = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
`
	const fingerprint = "5cd252fb0ce8932436faf8ccd1040981b89ee4ad6b9fe9e2a2b7e71aacb27cd3"
	keys, err := ParsePublicKeys([]byte(text))
	if err != nil || len(keys) != 1 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	key := keys[0]
	if got := key.Fingerprint(); got != fingerprint {
		t.Errorf("fingerprint %s, want %s", got, fingerprint)
	}
	if got := string(key.PEM()); got != text {
		t.Errorf("PEM:\n%s", got)
	}
	for name, bad := range map[string]string{
		"private": string(newPrivateKey(t)),
		"none":    "",
		"large":   strings.Repeat("x", MaxPublicKeys*maxKeySize+1),
		"broken":  strings.Replace(text, "MFkw", "MFkx", 1),
		// Or else the key below would be the first.
		"no base64, above another": strings.Replace(text, "MFkw", "MFk\u200bw", 1) + text,
		"another end":              strings.Replace(text, "END PUBLIC", "END  PUBLIC", 1) + text,
		"cut off, above another":   text[:100] + "\n" + text,
		"cut off, below another":   text + text[:100],
		"a mark before the first":  "\ufeff" + text + text,
		"text beside it":           strings.Replace(text, "KEY-----\n", "KEY-----x\n", 1) + text,
	} {
		if _, err := ParsePublicKeys([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A file holds keys of OpenSSH and PEM blocks, in any order.
func TestKeysOfOpenSSH(t *testing.T) {
	t.Parallel()
	own := newKey(t).PublicKey()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, minRSABits)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	var want []string
	for _, private := range []crypto.Signer{ed, ec, rs} {
		key, err := ssh.NewPublicKey(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		same, err := NewPublicKey(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(ssh.MarshalAuthorizedKey(key)))
		want = append(want, same.Fingerprint())
	}
	text := "# Ada, Grace, Joan\n" + lines[0] + "\n" + strings.TrimSpace(lines[1]) + " grace@example.com\n" + string(own.PEM()) + lines[2]
	keys, err := ParsePublicKeys([]byte(text))
	if err != nil || len(keys) != 4 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for i, fingerprint := range []string{want[0], want[1], own.Fingerprint(), want[2]} {
		if keys[i].Fingerprint() != fingerprint {
			t.Errorf("key %d has the fingerprint %s, want %s", i, keys[i].Fingerprint(), fingerprint)
		}
	}
	// A hardware key's is that of the key in it.
	hardware := "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fAAAABHNzaDo= key"
	if keys, err := ParsePublicKeys([]byte(hardware)); err != nil || len(keys) != 1 {
		t.Errorf("hardware key: %d, %v", len(keys), err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"principals of allowed_signers": {"ada@example.com " + lines[0], "before its type is"},
		"options":                       {`cert-authority ` + lines[0], "before its type is"},
		"a word":                        {"hello", "neither PEM text nor a line of OpenSSH"},
		"a word after keys":             {text + "hello", "neither PEM text nor a line of OpenSSH"},
		"only a comment":                {"# nobody", "there is no public key"},
		"too many":                      {strings.Repeat(lines[0], MaxPublicKeys+1), "more than 256"},
	} {
		if _, err := ParsePublicKeys([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkSignStatement(b *testing.B) {
	key := newKey(b)
	payload, err := NewSignature(artifact("a").Digest, claim("test")).payload()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := key.SignStatement(b.Context(), payload); err != nil {
			b.Fatal(err)
		}
	}
}
