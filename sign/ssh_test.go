package sign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// The keys that a developer has: files of ssh-keygen, encrypted or not, and those of the agent.
func TestSSHKeys(t *testing.T) { // sets SSH_AUTH_SOCK
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	modulus, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	keys := agent.NewKeyring()
	socket := filepath.Join(dir, "agent")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(keys, connection) }()
		}
	}()
	t.Setenv("SSH_AUTH_SOCK", socket)
	write := func(name string, text []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for name, private := range map[string]crypto.Signer{"ed25519": edwards, "ecdsa": curve, "rsa": modulus} {
		public, err := ssh.NewPublicKey(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		line := ssh.MarshalAuthorizedKey(public)
		trusted, err := ParsePublicKeys(line)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := ssh.MarshalPrivateKey(private, "ada")
		if err != nil {
			t.Fatal(err)
		}
		locked, err := ssh.MarshalPrivateKeyWithPassphrase(private, "ada", []byte("hunter2"))
		if err != nil {
			t.Fatal(err)
		}
		half := write(name+".pub", line)
		if _, err := OpenKey(t.Context(), half, nil); err == nil || !strings.Contains(err.Error(), "ssh-add") {
			t.Errorf("%s is not in the agent: %v", name, err)
		}
		if err := keys.Add(agent.AddedKey{PrivateKey: private}); err != nil {
			t.Fatal(err)
		}
		for form, file := range map[string]string{
			"file": write(name, pem.EncodeToMemory(plain)), "encrypted": write(name+".locked", pem.EncodeToMemory(locked)), "agent": half,
		} {
			key, err := OpenKey(t.Context(), file, password("hunter2"))
			if err != nil {
				t.Errorf("%s, %s: %v", name, form, err)
				continue
			}
			artifact := digest.FromString("artifact")
			bundle, err := Sign(t.Context(), key, NewSignature(artifact, Claim{}))
			if err != nil {
				t.Fatal(err)
			}
			verifier, err := NewVerifier(Identity{Name: "ada", PublicKey: trusted[0]})
			if err != nil {
				t.Fatal(err)
			}
			if verified, rejected := verifier.Verify(artifact, []Bundle{bundle}); len(verified) != 1 {
				t.Errorf("%s, %s: rejected %v", name, form, rejected)
			}
		}
		if _, err := OpenKey(t.Context(), filepath.Join(dir, name+".locked"), password("wrong")); err == nil || strings.Contains(err.Error(), "wrong\n") || !strings.Contains(err.Error(), "wrong password") {
			t.Errorf("%s with another password: %v", name, err)
		}
	}
}
