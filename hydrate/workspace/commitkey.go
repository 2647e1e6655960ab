package workspace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/git"
)

const maxCommitKeyBytes = 64 << 10

// CommitSigner opens the SSH key that signs a mirror's commits: a file, relative to the checkout's root, or env://NAME.
func (w *Workspace) CommitSigner(ref string) (func(payload []byte) (string, error), error) {
	key, err := readCommitKey(w.KeyFile(ref))
	var signer func([]byte) (string, error)
	if err == nil {
		signer, err = git.SSHSigner(key)
	}
	if err != nil {
		return nil, fmt.Errorf("mirror.signCommits.key %s: %w", ref, err)
	}
	return signer, nil
}

// KeyFile makes a reference to a key file relative to the checkout's root; references of other kinds stay as they are.
func (w *Workspace) KeyFile(ref string) string {
	if strings.Contains(ref, "://") || strings.HasPrefix(ref, "pkcs11:") || filepath.IsAbs(ref) {
		return ref
	}
	return filepath.Join(w.Root(), ref)
}

func readCommitKey(ref string) ([]byte, error) {
	if name, ok := strings.CutPrefix(ref, "env://"); ok {
		if value := os.Getenv(name); value != "" {
			return []byte(strings.TrimSpace(value) + "\n"), nil // CI systems drop the last line end, which the format needs
		}
		return nil, errors.New("the variable is not set")
	}
	if strings.Contains(ref, "://") {
		return nil, errors.New("name a file or env://NAME")
	}
	f, err := os.Open(ref)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return bounded.Read(f, maxCommitKeyBytes)
}
