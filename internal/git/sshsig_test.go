package git_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// Git and ssh-keygen judge what we sign.
func TestSignedCommits(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	dir, _ := testworld.Checkout(t, chart)
	root := t.TempDir()
	testworld.Git(t, root, "clone", "-q", "--bare", dir, "repo.git")
	bare := filepath.Join(root, "repo.git")
	for _, kind := range []string{"ed25519", "rsa", "ecdsa"} {
		key := filepath.Join(root, kind)
		if out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", key).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
		private, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		public, err := os.ReadFile(key + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		allowed := filepath.Join(root, "allowed")
		if err := os.WriteFile(allowed, append([]byte("lockage@example.com "), public...), 0o600); err != nil {
			t.Fatal(err)
		}
		sign, err := git.SSHSigner(private)
		if err != nil {
			t.Fatal(err)
		}
		d := draft(t, testworld.Remote(t, bare), kind)
		if err := d.Replace(t.Context(), "a", map[string][]byte{"x": []byte("x\n")}); err != nil {
			t.Fatal(err)
		}
		n := newCommit("signed\n\nTrailer: yes")
		n.Sign = sign
		if _, err := d.Commit(n); err != nil {
			t.Fatal(err)
		}
		if err := testworld.Remote(t, bare).Push(t.Context(), git.Update{Branch: kind, Draft: d}); err != nil {
			t.Fatal(err)
		}
		testworld.Git(t, bare, "-c", "gpg.format=ssh", "-c", "gpg.ssh.allowedSignersFile="+allowed, "verify-commit", kind)
		testworld.Git(t, bare, "fsck", "--strict", "--no-dangling")
	}
	locked := filepath.Join(root, "locked")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret phrase", "-f", locked).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	private, err := os.ReadFile(locked)
	if err != nil {
		t.Fatal(err)
	}
	_, err = git.SSHSigner(private)
	wantError(t, err, "passphrase")
	_, err = git.SSHSigner([]byte("hunter2"))
	wantError(t, err, "not an ssh private key", "!hunter2")
}
