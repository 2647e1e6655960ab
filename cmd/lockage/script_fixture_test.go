package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lockage/lockage/internal/testworld"
)

// forge is the prefix of the fixture's repository URLs, which insteadOf maps to the local ones.
const forge = "https://git.example.com/acme/"

func cmdFixture(ts *testscript.TestScript, neg bool, args []string) {
	withLock := len(args) == 0
	refuse(ts, neg || !withLock && (len(args) != 1 || args[0] != "-no-lock"), "fixture [-no-lock]")
	if ts.Getenv("REGISTRY") == "" {
		ts.Fatalf("fixture: start a registry first")
	}
	base := ts.Getenv("GITSERVER") + "/"
	if base == "/" {
		base = "file://" + ts.MkAbs("remote") + "/"
	}
	runGit(ts, ".", "config", "--global", "url."+base+".insteadOf", forge)

	writeTree(ts, "source", ts.MkAbs("source"), ts.Getenv)
	commitAndPush(ts, "source", "app.git", "the application")
	ts.Check(ts.Exec("git", "-C", "source", "rev-parse", "HEAD"))
	commit := strings.TrimSpace(ts.ReadFile("stdout"))
	ts.Setenv("COMMIT", commit)
	cmdGenImage(ts, false, []string{ts.Getenv("REGISTRY") + "/acme/web:git-" + commit, commit})

	gitops := ts.MkAbs("gitops")
	writeTree(ts, "gitops", gitops, ts.Getenv)
	pair, err := testworld.KeyPair()
	ts.Check(err)
	ts.Setenv("HYDRATOR_KEY", string(pair.Private))
	writeFile(ts, filepath.Join(gitops, "keys", "hydrator.pub"), string(pair.Public))
	if withLock {
		writeLock(ts, commit)
	}
	commitAndPush(ts, "gitops", "gitops.git", "the stages")
}

// writeLock writes the lock of a commit whose image was made just now.
func writeLock(ts *testscript.TestScript, commit string) {
	template, err := os.ReadFile(filepath.Join("..", "..", "testdata", "fixture", "lock.yaml"))
	ts.Check(err)
	lock := os.Expand(string(template), func(name string) string {
		if name == "COMMIT" {
			return commit
		}
		return ts.Getenv(name)
	})
	for _, file := range []string{"git-" + commit + ".yaml", "current.yaml"} {
		writeFile(ts, filepath.Join(ts.MkAbs("gitops"), "warehouses", "web", file), lock)
	}
}

// cmdRelease makes another release: a commit of the application, its image, and the lock, pushed to the policy ref. VAR
// becomes the release's id. It runs in the script's first folder.
func cmdRelease(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 1, "release VAR")
	at := ts.MkAbs(".")
	ts.Check(ts.Chdir(ts.Getenv("WORK")))
	runGit(ts, "source", "commit", "-q", "--allow-empty", "-m", "release "+args[0])
	runGit(ts, "source", "push", "-q", "origin", "main")
	ts.Check(ts.Exec("git", "-C", "source", "rev-parse", "HEAD"))
	commit := strings.TrimSpace(ts.ReadFile("stdout"))
	cmdGenImage(ts, false, []string{ts.Getenv("REGISTRY") + "/acme/web:git-" + commit, commit})
	writeLock(ts, commit)
	runGit(ts, "gitops", "add", "-A", "warehouses")
	runGit(ts, "gitops", "commit", "-q", "-m", "release "+args[0])
	runGit(ts, "gitops", "push", "-q", "origin", "HEAD:main")
	ts.Setenv(args[0], "git-"+commit)
	ts.Check(ts.Chdir(at))
}

// cmdIdentity makes a key: the private one in NAME_KEY, the public one in keys/NAME.pub of the GitOps repository.
func cmdIdentity(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) == 0, "identity NAME...")
	for _, name := range args {
		pair, err := testworld.KeyPair()
		ts.Check(err)
		ts.Setenv(strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"_KEY", string(pair.Private))
		writeFile(ts, filepath.Join(ts.Getenv("WORK"), "gitops", "keys", name+".pub"), string(pair.Public))
	}
}

// cmdStages makes FILE, in which $REGISTRY is the registry, the pipeline file on the policy ref, and pushes what else
// changed there.
func cmdStages(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 1, "stages FILE")
	at := ts.MkAbs(".")
	content := os.Expand(ts.ReadFile(args[0]), func(name string) string {
		if slices.Contains([]string{"REGISTRY", "ISSUER", "WORK"}, name) {
			return ts.Getenv(name)
		}
		return "$" + name
	})
	ts.Check(ts.Chdir(ts.Getenv("WORK")))
	writeFile(ts, ts.MkAbs("gitops/lockage.yaml"), content)
	runGit(ts, "gitops", "add", "-A")
	runGit(ts, "gitops", "commit", "-q", "-m", "stages")
	runGit(ts, "gitops", "push", "-q", "origin", "HEAD:main")
	ts.Check(ts.Chdir(at))
}

// commitAndPush makes a folder a repository whose origin is a new bare one under remote, one that serves as forges do.
func commitAndPush(ts *testscript.TestScript, dir, remote, message string) {
	bare := ts.MkAbs(filepath.Join("remote", remote))
	runGit(ts, ".", "init", "-q", "--bare", "-b", "main", bare)
	runGit(ts, bare, "config", "uploadpack.allowFilter", "true")
	runGit(ts, bare, "config", "uploadpack.allowAnySHA1InWant", "true")
	runGit(ts, bare, "config", "http.receivepack", "true")
	runGit(ts, ".", "init", "-q", "-b", "main", dir)
	runGit(ts, dir, "add", "-A")
	runGit(ts, dir, "commit", "-q", "-m", message)
	runGit(ts, dir, "push", "-q", bare, "main")
	runGit(ts, dir, "remote", "add", "origin", forge+remote)
	runGit(ts, dir, "update-ref", "refs/remotes/origin/main", "main")
	runGit(ts, dir, "branch", "-q", "--set-upstream-to", "origin/main")
}

func runGit(ts *testscript.TestScript, dir string, args ...string) {
	ts.Check(ts.Exec("git", append([]string{"-C", ts.MkAbs(dir)}, args...)...))
}

// writeTree copies a folder of the fixture; in lockage.yaml $REGISTRY becomes the registry of this script.
func writeTree(ts *testscript.TestScript, from, to string, env func(string) string) {
	tree := os.DirFS(filepath.Join("..", "..", "testdata", "fixture", from))
	ts.Check(fs.WalkDir(tree, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		content := string(data)
		if path == "lockage.yaml" {
			content = os.Expand(content, env)
		}
		writeFile(ts, filepath.Join(to, path), content)
		return nil
	}))
}

func writeFile(ts *testscript.TestScript, path, content string) {
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	ts.Check(os.WriteFile(path, []byte(content), 0o644))
}
