package git_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// TestCheckouts opens what CI systems make, and reads a file and the history
// that may not be in it.
func TestCheckouts(t *testing.T) {
	t.Parallel()
	dir, first := testworld.Checkout(t, chart)
	testworld.Commit(t, dir, "second")
	head := testworld.Commit(t, dir, "third")
	testworld.Git(t, dir, "tag", "-a", "v1", "-m", "annotated")
	s := serve(t, dir, full...)

	cases := map[string]func(t *testing.T, at string) string{
		"full": func(t *testing.T, at string) string {
			testworld.Git(t, at, "clone", "-q", s.url(), "w")
			return filepath.Join(at, "w")
		},
		"packed refs": func(t *testing.T, at string) string {
			testworld.Git(t, at, "clone", "-q", s.url(), "w")
			testworld.Git(t, filepath.Join(at, "w"), "pack-refs", "--all")
			testworld.Git(t, filepath.Join(at, "w"), "gc", "-q")
			return filepath.Join(at, "w")
		},
		"shallow": func(t *testing.T, at string) string {
			testworld.Git(t, at, "clone", "-q", "--depth=1", s.url(), "w")
			return filepath.Join(at, "w")
		},
		"partial": func(t *testing.T, at string) string {
			testworld.Git(t, at, "clone", "-q", "--filter=blob:none", "--no-checkout", s.url(), "w")
			return filepath.Join(at, "w")
		},
		"partial, shallow and treeless": func(t *testing.T, at string) string {
			testworld.Git(t, at, "clone", "-q", "--filter=tree:0", "--depth=1", "--no-checkout", s.url(), "w")
			return filepath.Join(at, "w")
		},
		"sparse": func(t *testing.T, at string) string {
			testworld.Git(t, at, "clone", "-q", "--filter=blob:none", "--sparse", s.url(), "w")
			testworld.Git(t, filepath.Join(at, "w"), "sparse-checkout", "set", "--cone", "services")
			return filepath.Join(at, "w")
		},
		"linked": func(t *testing.T, at string) string {
			testworld.Git(t, at, "clone", "-q", s.url(), "w")
			testworld.Git(t, filepath.Join(at, "w"), "worktree", "add", "-q", filepath.Join(at, "linked"))
			return filepath.Join(at, "linked")
		},
		"shared": func(t *testing.T, at string) string {
			testworld.Git(t, at, "clone", "-q", "--shared", dir, "w")
			return filepath.Join(at, "w")
		},
		"submodule": func(t *testing.T, at string) string {
			testworld.Git(t, at, "init", "-q", "super")
			testworld.Git(t, filepath.Join(at, "super"), "submodule", "--quiet", "add", s.url(), "sub")
			return filepath.Join(at, "super", "sub")
		},
		"inner folder": func(t *testing.T, at string) string {
			testworld.Git(t, at, "clone", "-q", s.url(), "w")
			return filepath.Join(at, "w", "k8s", "helm")
		},
		"bare": func(t *testing.T, at string) string {
			testworld.Git(t, at, "clone", "-q", "--bare", s.url(), "w.git")
			return filepath.Join(at, "w.git")
		},
		"detached": func(t *testing.T, at string) string {
			testworld.Git(t, at, "clone", "-q", s.url(), "w")
			testworld.Git(t, filepath.Join(at, "w"), "checkout", "-q", "--detach")
			return filepath.Join(at, "w")
		},
	}
	for name, checkout := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			where := checkout(t, at)
			gitDir := testworld.Git(t, where, "rev-parse", "--absolute-git-dir")
			before := testworld.Git(t, gitDir, "count-objects", "-v")
			repo := openRepository(t, where, testworld.GitOptions(t))
			wantRoot := where
			switch name {
			case "bare":
				wantRoot = ""
			case "inner folder":
				wantRoot = filepath.Join(at, "w")
			}
			if repo.Root() != wantRoot {
				t.Errorf("root %q, want %q", repo.Root(), wantRoot)
			}
			got, err := repo.Head(t.Context())
			if err != nil || got.Hash != head {
				t.Fatalf("head %s %v, want %s", got.Hash, err, head)
			}
			if branch := map[string]string{"linked": "linked", "detached": ""}; branch[name] != got.Branch && got.Branch != "main" {
				t.Errorf("branch %q", got.Branch)
			}
			snap, err := repo.Snapshot(t.Context(), head)
			if err != nil {
				t.Fatal(err)
			}
			data, err := snap.FS(t.Context()).ReadFile("k8s/helm/values.yaml")
			if err != nil || string(data) != "replicas: 1\n" {
				t.Errorf("values.yaml: %q %v", data, err)
			}
			if ok, err := repo.IsAncestor(t.Context(), first, head); err != nil || !ok {
				t.Errorf("IsAncestor: %v %v", ok, err)
			}
			if after := testworld.Git(t, gitDir, "count-objects", "-v"); after != before {
				t.Errorf("the repository was written to: %s, was %s", after, before)
			}
			if name == "shared" || name == "submodule" {
				return
			}
			remote, err := repo.Remote(t.Context(), "origin")
			if err != nil || remote.URL() != s.url() {
				t.Errorf("remote %v, %v, want %q", remote, err, s.url())
			}
		})
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	dir, first := testworld.Checkout(t, chart)
	testworld.Git(t, dir, "tag", "-a", "v1", "-m", "annotated")
	testworld.Git(t, dir, "update-ref", "refs/remotes/origin/main", string(first))
	testworld.Git(t, dir, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
	second := testworld.Commit(t, dir, "second")
	repo := openRepository(t, dir, testworld.GitOptions(t))
	for rev, want := range map[string]git.Hash{
		"HEAD": second, "main": second, "refs/heads/main": second, "v1": first,
		"origin/main": first, "origin": first, string(first): first,
		"HEAD~1": first, "HEAD^": first, "main~": first, "HEAD^1": first, "HEAD~0": second, string(second) + "^0~1": first,
	} {
		if got, err := repo.Resolve(t.Context(), rev); err != nil || got != want {
			t.Errorf("Resolve(%q) = %s %v, want %s", rev, got, err, want)
		}
	}
	for _, rev := range []string{"absent", string(first[:7]), "../../config", "refs/heads/../../config", "", "HEAD~2", "HEAD^2", "HEAD~x", "HEAD^{commit}", "HEAD~999999999999", "~1^"} {
		if got, err := repo.Resolve(t.Context(), rev); err == nil && rev != "" {
			t.Errorf("Resolve(%q) = %s", rev, got)
		}
	}
	_, err := repo.Remote(t.Context(), "upstream")
	wantError(t, err, "upstream", dir)
	if names, err := repo.Remotes(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("remotes %v %v", names, err)
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	_, err := git.Open(t.Context(), empty, testworld.GitOptions(t))
	wantError(t, err, "no git repository", empty)

	unborn := t.TempDir()
	testworld.Git(t, unborn, "init", "-q")
	_, err = openRepository(t, unborn, testworld.GitOptions(t)).Head(t.Context())
	wantError(t, err, "no commit", unborn)

	moved := t.TempDir()
	testworld.Write(t, moved, map[string]string{".git": "gitdir: /nonexistent/worktree\n"})
	_, err = git.Open(t.Context(), moved, testworld.GitOptions(t))
	wantError(t, err, "/nonexistent/worktree", "git worktree repair")

	reftable, _ := testworld.Checkout(t, chart)
	testworld.Git(t, reftable, "config", "extensions.refStorage", "reftable")
	_, err = git.Open(t.Context(), reftable, testworld.GitOptions(t))
	wantError(t, err, "reftable", reftable)

	lonely, head := testworld.Checkout(t, chart)
	blob := testworld.Git(t, lonely, "rev-parse", "HEAD:README.md")
	if err := os.Remove(filepath.Join(lonely, ".git", "objects", blob[:2], blob[2:])); err != nil {
		t.Fatal(err)
	}
	snap, err := openRepository(t, lonely, testworld.GitOptions(t)).Snapshot(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	_, err = snap.FS(t.Context()).ReadFile("README.md")
	wantError(t, err, "README.md", blob, "no remote")

	damaged, head := testworld.Checkout(t, chart)
	blob = testworld.Git(t, damaged, "rev-parse", "HEAD:README.md")
	other := testworld.Git(t, damaged, "rev-parse", "HEAD:k8s/helm/values.yaml")
	file := filepath.Join(damaged, ".git", "objects", blob[:2], blob[2:])
	swapped, err := os.ReadFile(filepath.Join(damaged, ".git", "objects", other[:2], other[2:]))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, swapped, 0o600); err != nil {
		t.Fatal(err)
	}
	if snap, err = openRepository(t, damaged, testworld.GitOptions(t)).Snapshot(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	_, err = snap.FS(t.Context()).ReadFile("README.md")
	wantError(t, err, "damaged", "git fsck")
}

// TestEmbeddedBareRepository: a committed folder that looks like a repository
// is none when something below it is opened.
func TestEmbeddedBareRepository(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	testworld.Write(t, dir, map[string]string{"evil/HEAD": "ref: refs/heads/main\n", "evil/objects/x": "", "evil/refs/x": "", "evil/inner/x": ""})
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if repo := openRepository(t, filepath.Join(dir, "evil", "inner"), testworld.GitOptions(t)); repo.Root() != root {
		t.Errorf("root %q, want %q", repo.Root(), root)
	}
}

func TestRepackWhileOpen(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	repo := openRepository(t, dir, testworld.GitOptions(t))
	if _, err := repo.Commit(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	testworld.Git(t, dir, "gc", "-q", "--prune=now")
	snap, err := repo.Snapshot(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := snap.FS(t.Context()).ReadFile("k8s/other/big"); err != nil {
		t.Error(err)
	}
	if _, err := snap.FS(t.Context()).ReadFile("absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

// TestRemoteIsItself: a repository that is its own remote, and lacks a file.
func TestRemoteIsItself(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	testworld.Git(t, dir, "remote", "add", "origin", dir)
	blob := testworld.Git(t, dir, "rev-parse", "HEAD:README.md")
	if err := os.Remove(filepath.Join(dir, ".git", "objects", blob[:2], blob[2:])); err != nil {
		t.Fatal(err)
	}
	snap, err := openRepository(t, dir, testworld.GitOptions(t)).Snapshot(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	_, err = snap.FS(t.Context()).ReadFile("README.md")
	wantError(t, err, "README.md", blob)
}

func BenchmarkIsAncestor(b *testing.B) {
	dir := b.TempDir()
	var stream strings.Builder
	const commits = 20000
	for i := range commits {
		stream.WriteString("commit refs/heads/main\nmark :1\ncommitter C <c@example.com> " + strconv.Itoa(1774000000+i) + " +0000\ndata 1\nx\n")
	}
	testworld.Git(b, dir, "init", "-q")
	importStream(b, dir, stream.String())
	tip := git.Hash(testworld.Git(b, dir, "rev-parse", "main"))
	repo := openRepository(b, dir, testworld.GitOptions(b))
	for b.Loop() {
		if ok, err := repo.IsAncestor(b.Context(), "1234567890123456789012345678901234567890", tip); ok || err != nil {
			b.Fatal(ok, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/commits, "µs/commit")
}
