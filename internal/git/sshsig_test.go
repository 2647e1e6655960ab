package git_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

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
		if err := d.Replace(t.Context(), "a", blobs(map[string][]byte{"x": []byte("x\n")})); err != nil {
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
		wantSigner(t, bare, testworld.Git(t, bare, "rev-parse", kind), public)
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

// wantSigner reads who signed a commit: the key of a file .pub, or nobody.
func wantSigner(t *testing.T, dir, commit string, public []byte, why ...string) {
	t.Helper()
	got, err := testworld.Remote(t, dir).Signer(t.Context(), git.Hash(commit))
	if public == nil {
		if !errors.Is(err, git.ErrUnsigned) {
			t.Errorf("%v (%v), want an unsigned one", got, err)
		}
		wantError(t, err, why...)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(got)
	if err != nil || !bytes.Equal(key.Marshal(), parsed.Marshal()) {
		t.Errorf("signed by %v (%v), want %s", key, err, public)
	}
}

// What git signs is what we verify: commits of any shape, and nothing that was changed since.
func TestSigner(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	dir, head := testworld.Checkout(t, chart)
	key := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	wantSigner(t, dir, string(head), nil, "it has no signature")
	sign := []string{"-c", "gpg.format=ssh", "-c", "user.signingKey=" + key}
	commit := func(args ...string) string {
		testworld.Git(t, dir, append(append(sign, "commit", "-q", "--allow-empty", "-S"), args...)...)
		return testworld.Git(t, dir, "rev-parse", "HEAD")
	}
	signed := commit("-m", "signed\n\ngpgsig in the text\n\n\nend")
	wantSigner(t, dir, signed, public)
	testworld.Git(t, dir, "config", "i18n.commitEncoding", "ISO-8859-1")
	wantSigner(t, dir, commit("-m", "encoded"), public)
	testworld.Git(t, dir, "switch", "-q", "-c", "side")
	commit("-m", "side")
	testworld.Git(t, dir, append(sign, "tag", "-s", "-m", "signed tag", "v1")...)
	testworld.Git(t, dir, "switch", "-q", "--detach", signed)
	testworld.Git(t, dir, append(sign, "merge", "-q", "--no-ff", "-S", "-m", "a merge with a header of several lines", "v1")...)
	wantSigner(t, dir, testworld.Git(t, dir, "rev-parse", "HEAD"), public)

	// The same signature on other bytes, and one that is made for something else.
	raw := testworld.Git(t, dir, "cat-file", "commit", signed)
	write := func(name, text string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return testworld.Git(t, dir, "hash-object", "-t", "commit", "-w", file)
	}
	wantSigner(t, dir, write("edited", strings.Replace(raw, "in the text", "in the Text", 1)), nil, "its signature is not valid")
	wantSigner(t, dir, write("added", strings.Replace(raw, "\ngpgsig ", "\nadded header\ngpgsig ", 1)), nil, "its signature is not valid")
	begin, rest, _ := strings.Cut(raw, "gpgsig ")
	wantSigner(t, dir, write("pgp", begin+"gpgsig -----BEGIN PGP SIGNATURE-----\n \n -----END PGP SIGNATURE-----\n\npgp"), nil, "gpg.format is not ssh")
	wantSigner(t, dir, write("broken", begin+"gpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n\nbroken"), nil, "cannot be read")
	wantSigner(t, dir, write("in the text alone", begin+"\ngpgsig "+rest), nil, "it has no signature")
	file := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(file, []byte(begin+"\nfor another purpose\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", key, file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	other, err := os.ReadFile(file + ".sig")
	if err != nil {
		t.Fatal(err)
	}
	armour := strings.ReplaceAll(strings.TrimSpace(string(other)), "\n", "\n ")
	wantSigner(t, dir, write("namespace", begin+"gpgsig "+armour+"\n\nfor another purpose"), nil, "namespace does not match")
}
