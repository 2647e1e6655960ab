package sign

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/lockage/lockage/sign/signtest"
)

// updates serves a TUF repository with one target, and returns its root.
func updates(t *testing.T, trustedRoot []byte) (root []byte, server *httptest.Server) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, expires := t.TempDir(), time.Now().Add(24*time.Hour)
	_, private, err := ed25519.GenerateKey(nil)
	check(err)
	signer, err := signature.LoadSigner(private, crypto.Hash(0))
	check(err)
	key, err := metadata.KeyFromPublicKey(private.Public())
	check(err)
	roles := metadata.Root(expires)
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		check(roles.Signed.AddKey(key, role))
	}
	targets := metadata.Targets(expires)
	info, err := metadata.TargetFile().FromBytes(trustedRootTarget, trustedRoot)
	check(err)
	targets.Signed.Targets[trustedRootTarget] = info
	for name, sign := range map[string]func(string) error{
		"1.root.json":    func(f string) error { _, err := roles.Sign(signer); check(err); return roles.ToFile(f, false) },
		"1.targets.json": func(f string) error { _, err := targets.Sign(signer); check(err); return targets.ToFile(f, false) },
		"1.snapshot.json": func(f string) error {
			s := metadata.Snapshot(expires)
			_, err := s.Sign(signer)
			check(err)
			return s.ToFile(f, false)
		},
		"timestamp.json": func(f string) error {
			s := metadata.Timestamp(expires)
			_, err := s.Sign(signer)
			check(err)
			return s.ToFile(f, false)
		},
	} {
		check(sign(filepath.Join(dir, name)))
	}
	sum := sha256.Sum256(trustedRoot)
	check(os.MkdirAll(filepath.Join(dir, "targets"), 0o700))
	check(os.WriteFile(filepath.Join(dir, "targets", hex.EncodeToString(sum[:])+"."+trustedRootTarget), trustedRoot, 0o600))
	root, err = os.ReadFile(filepath.Join(dir, "1.root.json"))
	check(err)
	server = httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	return root, server
}

// TestPublicInstance takes the trusted root from a TUF repository, and from its cache when that does not answer.
func TestPublicInstance(t *testing.T) {
	t.Parallel()
	s := signtest.New(t)
	trusted, err := s.TrustedRoot("log", "tsa")
	if err != nil {
		t.Fatal(err)
	}
	root, server := updates(t, trusted)
	options := tuf.DefaultOptions().WithRoot(root).WithRepositoryBaseURL(server.URL).WithCachePath(t.TempDir()).WithCacheValidity(publicCacheDays)
	read := func() (string, error) {
		text, _, err := publicInstance(options).Cosign()
		return string(text), err
	}
	for range 2 {
		if text, err := read(); err != nil || text != string(trusted) {
			t.Errorf("%s, %v", text, err)
		}
		server.Close()
	}
	options = options.WithCachePath(t.TempDir())
	if _, err := read(); err == nil || !strings.Contains(err.Error(), "name the trusted root of another one as sigstore.trustedRoot") {
		t.Errorf("without cache and repository: %v", err)
	}
	if err := publicInstance(options).Ready(); err == nil || !strings.Contains(err.Error(), "is not reachable") {
		t.Errorf("it is ready without cache and repository: %v", err)
	}
}
