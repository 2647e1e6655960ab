package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/demo"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/sign"
)

// hydration is what these tests read of `hydrate -o json`.
type hydration struct {
	Results []struct {
		Pipeline  string
		Release   string
		GitCommit string
		Stages    []hydrated
	}
	Error string
}

type hydrated struct {
	Stage, Action, Reference, Digest, ContentDigest, Error string
	Tags, Images                                           []string
	Objects                                                int
}

const password = "correct-horse" // of all keys that are encrypted

// encryptedKey makes a key as `keys generate` does. Opening it takes a third of a second.
func encryptedKey() (sign.KeyPair, error) { return sign.GenerateKeyPair([]byte(password)) }

// newWorld makes the demo's repositories, keys, image and lock.
func newWorld(t *testing.T, bin, registry string) *world {
	t.Helper()
	return newWorldOf(t, bin, registry, testworld.KeyPair)
}

// newWorldOf is newWorld with keys of a kind.
func newWorldOf(t *testing.T, bin, registry string, newKey func() (sign.KeyPair, error)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), bin: bin, registry: registry}
	home := w.path("home")
	w.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CACHE_HOME=" + filepath.Join(home, ".cache"),
		"DOCKER_CONFIG=" + filepath.Join(home, ".docker"), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
		"COSIGN_PASSWORD=" + password,
	}
	setup, err := demo.Prepare(t.Context(), w.dir, demo.Options{
		Registry: registry, Now: time.Date(2026, 3, 22, 12, 0, 0, 0, time.UTC), NewKey: newKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, demo.PrivateKeyVariable+"="+read(t, setup.PrivateKey), demo.PromoterVariable+"="+read(t, setup.Promoter))
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	return w
}

// pushGitOps commits what changed in the GitOps repository, and pushes it to the policy ref.
func (w *world) pushGitOps(message string) {
	w.t.Helper()
	w.command("gitops", "git", "add", "-A")
	w.command("gitops", "git", "commit", "-q", "--allow-empty", "-m", message)
	w.command("gitops", "git", "push", "-q", "-f", "origin", "HEAD:main")
}

// release makes another release, with what changed in the source repository: its commit, its image, and its lock on the policy
// ref. It returns the release's id.
func (w *world) release() string {
	w.t.Helper()
	w.command("source", "git", "add", "-A")
	w.command("source", "git", "commit", "-q", "--allow-empty", "-m", "another")
	commit := strings.TrimSpace(w.command("source", "git", "rev-parse", "HEAD"))
	image := w.registry + "/acme/codeai:git-" + commit
	pushImage(w.t, image, commit)
	w.command("gitops", w.bin, "lock", "write", "--commit", commit, "--image", image, "--kind", "helm",
		"--source-repo", w.path("source"), "--source-path", demo.ChartPath)
	w.pushGitOps("release")
	return "git-" + commit
}

func (w *world) hydrate(args ...string) []hydrated {
	w.t.Helper()
	result := decode[hydration](w.t, w.command("gitops", w.bin, append([]string{"hydrate", "-o", "json"}, args...)...))
	if len(result.Results) != 1 || result.Error != "" {
		w.t.Fatalf("one pipeline was hydrated: %+v", result)
	}
	return result.Results[0].Stages
}

// pushImage pushes an image as an application's CI would, and returns its digest.
func pushImage(t *testing.T, ref, revision string) string {
	t.Helper()
	digest, err := demo.PushImage(t.Context(), ref, revision)
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}
