package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/lockage/lockage/internal/demo"
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

// newWorld makes the demo's repositories, remotes and keys, pushes an image to the registry, and commits its lock.
func newWorld(t *testing.T, bin, registry string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), bin: bin, registry: registry}
	home := w.path("home")
	w.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CACHE_HOME=" + filepath.Join(home, ".cache"),
		"DOCKER_CONFIG=" + filepath.Join(home, ".docker"), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
		"COSIGN_PASSWORD=correct-horse",
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}

	copyTree(t, demo.Source(), w.path("source"))
	w.commitAndPush("source", "source.git")
	commit := strings.TrimSpace(w.command("source", "git", "rev-parse", "HEAD"))

	copyTree(t, demo.GitOps(), w.path("gitops"))
	pipeline := w.path("gitops", "lockage.yaml")
	write(t, pipeline, strings.ReplaceAll(read(t, pipeline), demo.Registry, registry))
	w.command(".", bin, "keys", "generate", "hydrator")
	write(t, w.path("gitops", demo.PublicKey), read(t, w.path("hydrator.pub")))
	w.env = append(w.env, demo.PrivateKeyVariable+"="+read(t, w.path("hydrator.key")))

	image := registry + "/acme/codeai:git-" + commit
	pushImage(t, image, commit)
	w.commitAndPush("gitops", "gitops.git")
	w.command("gitops", bin, "lock", "write", "--commit", commit, "--image", image, "--kind", "helm",
		"--source-repo", "file://"+w.path("remote", "source.git"), "--source-path", demo.ChartPath)
	w.command("gitops", "git", "add", "-A")
	w.command("gitops", "git", "commit", "-q", "-m", "release")
	w.command("gitops", "git", "push", "-q", "origin", "main")
	return w
}

func (w *world) commitAndPush(dir, remote string) {
	w.t.Helper()
	bare := w.path("remote", remote)
	w.command(".", "git", "init", "-q", "--bare", "-b", "main", bare)
	w.command(".", "git", "init", "-q", "-b", "main", dir)
	w.command(dir, "git", "add", "-A")
	w.command(dir, "git", "commit", "-q", "-m", dir)
	w.command(dir, "git", "remote", "add", "origin", "file://"+bare)
	w.command(dir, "git", "push", "-q", "-u", "origin", "main")
}

func (w *world) hydrate(args ...string) []hydrated {
	w.t.Helper()
	result := decode[hydration](w.t, w.command("gitops", w.bin, append([]string{"hydrate", "-o", "json"}, args...)...))
	if len(result.Results) != 1 || result.Error != "" {
		w.t.Fatalf("one pipeline was hydrated: %+v", result)
	}
	return result.Results[0].Stages
}

// pushImage pushes a small image as an application's CI would, and returns its digest.
func pushImage(t *testing.T, ref, revision string) string {
	t.Helper()
	image, err := random.Image(256, 1)
	if err != nil {
		t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	conf := file.Config
	conf.Labels = map[string]string{"org.opencontainers.image.revision": revision}
	if image, err = mutate.Config(image, conf); err != nil {
		t.Fatal(err)
	}
	tag, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func copyTree(t *testing.T, tree fs.FS, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, tree); err != nil {
		t.Fatal(err)
	}
	// Embedded files are read-only.
	if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return os.Chmod(path, 0o644)
	}); err != nil {
		t.Fatal(err)
	}
}
