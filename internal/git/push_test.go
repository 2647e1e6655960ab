package git_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// target is a bare repository to push to, and a Remote for it.
type target struct {
	bare   string
	remote *git.Remote
	server *server // nil for a repository on this machine
}

// targets runs a test against a repository on this machine and one behind smart HTTP.
func targets(t *testing.T, files map[string]string, test func(t *testing.T, to target)) {
	t.Helper()
	t.Run("local", func(t *testing.T) {
		t.Parallel()
		dir, _ := testworld.Checkout(t, files)
		root := t.TempDir()
		testworld.Git(t, root, "clone", "-q", "--bare", dir, "repo.git")
		bare := filepath.Join(root, "repo.git")
		test(t, target{bare: bare, remote: testworld.Remote(t, bare)})
	})
	t.Run("http", func(t *testing.T) {
		t.Parallel()
		dir, _ := testworld.Checkout(t, files)
		s := serve(t, dir, append([]string{"http.receivepack=true"}, full...)...)
		test(t, target{bare: s.bare(), remote: testworld.Remote(t, s.url()), server: s})
	})
}

func when() time.Time { return time.Date(2026, 3, 22, 13, 0, 0, 0, time.UTC) }

func newCommit(message string) git.NewCommit {
	return git.NewCommit{By: git.Signature{Name: "lockage", Email: "lockage@example.com"}, When: when(), Message: message}
}

// draft starts where the branch stands.
func draft(t *testing.T, r *git.Remote, branch string) *git.Draft {
	t.Helper()
	tips, err := r.Tips(t.Context(), branch)
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.Draft(t.Context(), tips[branch])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func replace(t *testing.T, d *git.Draft, dir string, files map[string][]byte) git.Hash {
	t.Helper()
	if err := d.Replace(t.Context(), dir, blobs(files)); err != nil {
		t.Fatal(err)
	}
	h, err := d.Commit(newCommit("Replace " + dir))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPushKeepsWhatIsForeign(t *testing.T) {
	t.Parallel()
	targets(t, nil, func(t *testing.T, to target) {
		// A branch of others: line ends, modes, links, a submodule, a name before and behind ours in git's order.
		work := t.TempDir()
		testworld.Git(t, work, "clone", "-q", to.bare, ".")
		testworld.Write(t, work, map[string]string{
			"README.md": "windows\r\nlines\r\n", "apps/web/deploy/stale.yaml": "stale\n", "apps/web/deploy/sub/old.yaml": "old\n",
			"apps/web/deploy-b": "b\n", "apps/web/deploy.txt": "txt\n", "apps/web/deploy0": "0\n", "run.sh": "#!/bin/sh\n", "apps/web/values.yaml": "v\n",
		})
		testworld.Git(t, work, "config", "core.autocrlf", "false")
		if err := os.Symlink("README.md", filepath.Join(work, "link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(work, "run.sh"), 0o755); err != nil {
			t.Fatal(err)
		}
		testworld.Git(t, work, "add", "-A")
		testworld.Git(t, work, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",vendor/module")
		testworld.Git(t, work, "commit", "-q", "-m", "theirs")
		testworld.Git(t, work, "push", "-q", "origin", "HEAD:refs/heads/stage")
		before := testworld.Git(t, to.bare, "ls-tree", "-r", "stage")

		d := draft(t, to.remote, "stage")
		h := replace(t, d, "apps/web/deploy", map[string][]byte{"a.yaml": []byte("a\n"), "nested/b.yaml": []byte("b\n")})
		if err := to.remote.Push(t.Context(), git.Update{Branch: "stage", Draft: d}); err != nil {
			t.Fatal(err)
		}
		if got := testworld.Git(t, to.bare, "rev-parse", "stage"); got != string(h) {
			t.Fatalf("the branch is at %s, pushed was %s", got, h)
		}
		testworld.Git(t, to.bare, "fsck", "--strict", "--no-dangling")
		var want []string
		for line := range strings.Lines(before) {
			if !strings.Contains(line, "\tapps/web/deploy/") {
				want = append(want, strings.TrimSpace(line))
			}
		}
		var got []string
		for line := range strings.Lines(testworld.Git(t, to.bare, "ls-tree", "-r", "stage")) {
			if !strings.Contains(line, "\tapps/web/deploy/") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("foreign files:\n got %q\nwant %q", got, want)
		}
		if got := testworld.Git(t, to.bare, "ls-tree", "-r", "--name-only", "stage", "apps/web/deploy/"); got != "apps/web/deploy/a.yaml\napps/web/deploy/nested/b.yaml" {
			t.Errorf("our folder holds %q", got)
		}
		if got := testworld.Git(t, to.bare, "log", "-1", "--format=%an %ae %cn %ct %s", "stage"); got != fmt.Sprintf("lockage lockage@example.com lockage %d Replace apps/web/deploy", when().Unix()) {
			t.Errorf("commit: %s", got)
		}
	})
}

// TestPushesNothingElse writes many folders in one commit, some of them twice: what was replaced before the commit is not sent.
func TestPushesNothingElse(t *testing.T) {
	t.Parallel()
	targets(t, chart, func(t *testing.T, to target) {
		d := draft(t, to.remote, "main")
		for n := range 20 {
			files := map[string][]byte{"a.txt": fmt.Append(nil, n%7), "b.txt": []byte("b\n")}
			if err := d.Put(t.Context(), fmt.Sprintf("stages/s%d", n%15), files); err != nil {
				t.Fatal(err)
			}
			if n%10 != 9 {
				continue
			}
			if _, err := d.Commit(newCommit(fmt.Sprint(n))); err != nil {
				t.Fatal(err)
			}
		}
		if err := to.remote.Push(t.Context(), git.Update{Branch: "main", Draft: d}); err != nil {
			t.Fatal(err)
		}
		if left := testworld.Git(t, to.bare, "fsck", "--no-progress", "--unreachable", "--no-reflogs"); left != "" {
			t.Errorf("nothing names what was sent:\n%s", left)
		}
	})
}

func TestPutFiles(t *testing.T) {
	t.Parallel()
	targets(t, chart, func(t *testing.T, to target) {
		before := testworld.Git(t, to.bare, "ls-tree", "-r", "main")
		d := draft(t, to.remote, "main")
		for dir, files := range map[string]map[string][]byte{
			"k8s/helm":  {"values.yaml": []byte("replicas: 2\n"), "new.yaml": []byte("new\n")},
			"locks/web": {"current.yaml": []byte("lock\n")},
			".":         {"a.txt": []byte("a\n")},
		} {
			if err := d.Put(t.Context(), dir, files); err != nil {
				t.Fatal(err)
			}
		}
		for dir, name := range map[string]string{"k8s": "helm", "README.md": "x", "k8s/helm/values.yaml/x": "y"} {
			if err := d.Put(t.Context(), dir, map[string][]byte{name: nil}); !errors.Is(err, git.ErrOccupied) {
				t.Errorf("%s/%s is written over something else: %v", dir, name, err)
			}
		}
		for dir, name := range map[string]string{"../x": "a", "a/.git": "a", "a": "b/c", "": "a", "b": ".."} {
			if err := d.Put(t.Context(), dir, map[string][]byte{name: nil}); err == nil {
				t.Errorf("%q in %q is accepted", name, dir)
			}
		}
		if _, err := d.Commit(newCommit("Put")); err != nil {
			t.Fatal(err)
		}
		if err := to.remote.Push(t.Context(), git.Update{Branch: "main", Draft: d}); err != nil {
			t.Fatal(err)
		}
		testworld.Git(t, to.bare, "fsck", "--strict", "--no-dangling")
		want := map[string]string{"a.txt": "a", "k8s/helm/new.yaml": "new", "k8s/helm/values.yaml": "replicas: 2", "locks/web/current.yaml": "lock"}
		for name, content := range want {
			if got := testworld.Git(t, to.bare, "show", "main:"+name); got != content {
				t.Errorf("%s holds %q", name, got)
			}
		}
		after := testworld.Git(t, to.bare, "ls-tree", "-r", "main")
		for line := range strings.Lines(before) {
			_, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
			if want[name] == "" && !strings.Contains(after, strings.TrimSpace(line)) {
				t.Errorf("%s changed", name)
			}
		}
		if got := strings.Count(after, "\n") - strings.Count(before, "\n"); got != 3 {
			t.Errorf("%d files more, want 3", got)
		}
	})
}

func TestPushOrphanAndChain(t *testing.T) {
	t.Parallel()
	targets(t, chart, func(t *testing.T, to target) {
		d := draft(t, to.remote, "stage/new")
		first := replace(t, d, "a/b", map[string][]byte{"x.yaml": []byte("x\n")})
		second := replace(t, d, "c", map[string][]byte{"y.yaml": []byte("y\n")})
		if err := to.remote.Push(t.Context(), git.Update{Branch: "stage/new", Draft: d}); err != nil {
			t.Fatal(err)
		}
		if got := testworld.Git(t, to.bare, "log", "--format=%H", "stage/new"); got != string(second)+"\n"+string(first) {
			t.Errorf("history %s", got)
		}
		if got := testworld.Git(t, to.bare, "ls-tree", "-r", "--name-only", "stage/new"); got != "a/b/x.yaml\nc/y.yaml" {
			t.Errorf("files %s", got)
		}
		// The same again is the same commit: nothing hangs on the hour or the machine.
		again, err := to.remote.Draft(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if got := replace(t, again, "a/b", map[string][]byte{"x.yaml": []byte("x\n")}); got != first {
			t.Errorf("another commit for the same content: %s, %s", got, first)
		}
		items, err := d.Items(t.Context(), "a")
		if err != nil || len(items) != 1 || items[0].Path != "b/x.yaml" {
			t.Errorf("items %v %v", items, err)
		}
		var seen []git.Hash
		if err := to.remote.Log(t.Context(), second, func(c git.Commit) (bool, error) {
			seen = append(seen, c.Hash)
			return true, nil
		}); err != nil || !slices.Equal(seen, []git.Hash{second, first}) {
			t.Errorf("log %v %v", seen, err)
		}
	})
}

func TestPushAtomicAndStale(t *testing.T) {
	t.Parallel()
	targets(t, chart, func(t *testing.T, to target) {
		ours := draft(t, to.remote, "one")
		replace(t, ours, "a", map[string][]byte{"x": []byte("x\n")})
		stale := draft(t, to.remote, "main")
		replace(t, stale, "b", map[string][]byte{"y": []byte("y\n")})

		theirs := draft(t, to.remote, "main")
		moved := replace(t, theirs, "c", map[string][]byte{"z": []byte("z\n")})
		if err := to.remote.Push(t.Context(), git.Update{Branch: "main", Draft: theirs}); err != nil {
			t.Fatal(err)
		}
		err := to.remote.Push(t.Context(), git.Update{Branch: "one", Draft: ours}, git.Update{Branch: "main", Draft: stale})
		if !errors.Is(err, git.ErrStale) {
			t.Fatalf("a stale branch was pushed: %v", err)
		}
		wantError(t, err, "main", to.remote.URL())
		if got := testworld.Git(t, to.bare, "for-each-ref", "--format=%(refname) %(objectname)"); got != "refs/heads/main "+string(moved) {
			t.Errorf("after a stale push: %s", got)
		}
		// Pushing the same again is stale too: a repeated push reads the tip first.
		if err := to.remote.Push(t.Context(), git.Update{Branch: "main", Draft: theirs}); !errors.Is(err, git.ErrStale) {
			t.Errorf("pushed twice: %v", err)
		}
	})
}

// The race is lost between the server's list and its update: the server itself has to find out.
func TestPushLosesTheRace(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	s := serve(t, dir, append([]string{"http.receivepack=true"}, full...)...)
	remote := testworld.Remote(t, s.url())
	d := draft(t, remote, "main")
	replace(t, d, "a", map[string][]byte{"x": []byte("x\n")})
	other := draft(t, remote, "other")
	replace(t, other, "a", map[string][]byte{"x": []byte("x\n")})
	var once sync.Once
	s.faults = append(s.faults, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			once.Do(func() {
				testworld.Git(t, s.bare(), "update-ref", "refs/heads/main", testworld.Git(t, s.bare(), "commit-tree", "-m", "theirs", "-p", "main", "main^{tree}"))
			})
		}
		return false
	})
	err := remote.Push(t.Context(), git.Update{Branch: "other", Draft: other}, git.Update{Branch: "main", Draft: d})
	if !errors.Is(err, git.ErrStale) {
		t.Fatalf("got %v", err)
	}
	if refs := testworld.Git(t, s.bare(), "for-each-ref", "--format=%(refname)"); refs != "refs/heads/main" {
		t.Errorf("refs %s", refs)
	}
}

func TestPushRefusedInTheServersWords(t *testing.T) {
	t.Parallel()
	targets(t, chart, func(t *testing.T, to target) {
		testworld.Hook(t, to.bare, "update", "echo \"GH006: branch $1 is \033[31mprotected\033[0m\" >&2\nexit 1")
		d := draft(t, to.remote, "main")
		replace(t, d, "a", map[string][]byte{"x": []byte("x\n")})
		err := to.remote.Push(t.Context(), git.Update{Branch: "main", Draft: d})
		if errors.Is(err, git.ErrStale) {
			t.Errorf("a refusal taken for a lost race: %v", err)
		}
		wantError(t, err, "main", "hook declined", "GH006: branch refs/heads/main is", "protected", "!\033")
	})
}

func TestPushSendsOnlyWhatIsNew(t *testing.T) {
	if testing.Short() {
		t.Skip("many commits")
	}
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	s := serve(t, dir, append([]string{"http.receivepack=true"}, full...)...)
	remote := testworld.Remote(t, s.url())
	files := map[string][]byte{}
	for i := range 1000 {
		files[fmt.Sprintf("configmap-%04d.yaml", i)] = fmt.Appendf(nil, "number %d %s\n", i, strings.Repeat("x", i))
	}
	push := func() int64 {
		d := draft(t, remote, "stage")
		replace(t, d, "apps/web", files)
		var sent int64
		s.mu.Lock()
		s.faults = []func(http.ResponseWriter, *http.Request) bool{func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
				sent = r.ContentLength
			}
			return false
		}}
		s.mu.Unlock()
		if err := remote.Push(t.Context(), git.Update{Branch: "stage", Draft: d}); err != nil {
			t.Fatal(err)
		}
		return sent
	}
	all := push()
	files["configmap-0500.yaml"] = []byte("changed\n")
	// One file, its folder (28 bytes and a name for each of a thousand), two more trees and the commit.
	if one := push(); one > all/2 || one > 40_000 {
		t.Errorf("a thousand files cost %d bytes, one of them %d", all, one)
	}
	// Another machine, with nothing in its cache, fetches no file of the branch to change one.
	fresh := testworld.Remote(t, s.url())
	d := draft(t, fresh, "stage")
	files["configmap-0501.yaml"] = []byte("changed too\n")
	replace(t, d, "apps/web", files)
	if err := fresh.Push(t.Context(), git.Update{Branch: "stage", Draft: d}); err != nil {
		t.Fatal(err)
	}
	if stats := fresh.Stats(); stats.RoundTrips > 6 || stats.BytesReceived > 60_000 {
		t.Errorf("changing one of a thousand files took %+v", stats)
	}
	testworld.Git(t, s.bare(), "fsck", "--strict", "--no-dangling")
}

func TestOccupied(t *testing.T) {
	t.Parallel()
	targets(t, map[string]string{"apps": "a file\n", "dir/x": "x\n"}, func(t *testing.T, to target) {
		d := draft(t, to.remote, "main")
		for _, dir := range []string{"apps", "apps/web/deploy", "dir/x"} {
			err := d.Replace(t.Context(), dir, blobs(map[string][]byte{"y": nil}))
			if !errors.Is(err, git.ErrOccupied) {
				t.Errorf("%s: %v", dir, err)
			}
			wantError(t, err, "is a file")
		}
		for _, dir := range []string{"", ".", "../x", "/abs", ".git", "a/.GIT/b"} {
			if err := d.Replace(t.Context(), dir, blobs(map[string][]byte{"y": nil})); err == nil {
				t.Errorf("%q was accepted", dir)
			}
		}
		for _, name := range []string{"", "../y", ".git/config", "a//b"} {
			if err := d.Replace(t.Context(), "fine", blobs(map[string][]byte{name: nil})); err == nil {
				t.Errorf("file %q was accepted", name)
			}
		}
		if err := d.Replace(t.Context(), "fine", blobs(map[string][]byte{"a": nil, "a/b": nil})); err == nil {
			t.Error("a file that is a folder was accepted")
		}
		if d.Changed() {
			t.Error("changed by what was refused")
		}
	})
}

// TestPushesAtATime pushes many branches at a time. A hook refuses one of them: each is done or fails by itself.
func TestPushesAtATime(t *testing.T) {
	t.Parallel()
	for _, hook := range []string{"update", "pre-receive"} {
		t.Run(hook, func(t *testing.T) {
			t.Parallel()
			targets(t, chart, func(t *testing.T, to target) {
				testworld.Hook(t, to.bare, hook, `case "$1$(cat)" in *refs/heads/b7*) echo no more of these; exit 1;; esac`)
				errs, heads := make([]error, 20), make([]git.Hash, 20)
				var group sync.WaitGroup
				for i := range errs {
					d := draft(t, to.remote, fmt.Sprint("b", i))
					if err := d.Replace(t.Context(), "live", blobs(map[string][]byte{"a": []byte(fmt.Sprint(i))})); err != nil {
						t.Fatal(err)
					}
					if _, err := d.Commit(newCommit("one of many")); err != nil {
						t.Fatal(err)
					}
					heads[i] = d.Head()
					group.Go(func() { errs[i] = to.remote.Push(t.Context(), git.Update{Branch: fmt.Sprint("b", i), Draft: d}) })
				}
				group.Wait()
				for i, err := range errs {
					got := testworld.Git(t, to.bare, "for-each-ref", "--format=%(objectname)", fmt.Sprint("refs/heads/b", i))
					switch {
					case i == 7 && (err == nil || !strings.Contains(err.Error(), "no more of these") || got != ""):
						t.Errorf("b7: got %v, at %q", err, got)
					case i != 7 && (err != nil || git.Hash(strings.TrimSpace(got)) != heads[i]):
						t.Errorf("b%d: got %v, at %q", i, err, got)
					}
				}
			})
		})
	}
}

func TestPushCredentialsAndAccess(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	s := serve(t, dir, full...) // git's default: reading for all, pushing for nobody
	remote := testworld.Remote(t, s.url())
	d := draft(t, remote, "main")
	replace(t, d, "a", map[string][]byte{"x": []byte("x\n")})
	wantError(t, remote.Push(t.Context(), git.Update{Branch: "main", Draft: d}), "HTTP 403", s.url())

	testworld.Git(t, s.bare(), "config", "http.receivepack", "true")
	s.mu.Lock()
	s.faults = append(s.faults, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.String(), "receive-pack") {
			return false
		}
		return basicAuth("x-access-token", "s3cret")(w, r)
	})
	s.mu.Unlock()
	wantError(t, remote.Push(t.Context(), git.Update{Branch: "main", Draft: d}), "HTTP 401")
	with := openRemote(t, s.url(), testworld.GitOptions(t, "LOCKAGE_GIT_TOKEN=s3cret"))
	d = draft(t, with, "main")
	replace(t, d, "a", map[string][]byte{"x": []byte("x\n")})
	if err := with.Push(t.Context(), git.Update{Branch: "main", Draft: d}); err != nil {
		t.Error(err)
	}
}

func TestPushIntoTheBranchThatIsCheckedOut(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	remote := testworld.Remote(t, dir)
	d := draft(t, remote, "main")
	replace(t, d, "a", map[string][]byte{"x": []byte("x\n")})
	wantError(t, remote.Push(t.Context(), git.Update{Branch: "main", Draft: d}), "branch is currently checked out")
}

// TestPushOfABranchThatCannotBe pushes branches below and above the names of others, to servers with and without atomic pushes.
func TestPushOfABranchThatCannotBe(t *testing.T) {
	t.Parallel()
	targets(t, chart, func(t *testing.T, to target) {
		testworld.Git(t, to.bare, "branch", "stage", "main")
		testworld.Git(t, to.bare, "branch", "live/shop/staging", "main")
		for _, atomic := range []string{"true", "false"} {
			testworld.Git(t, to.bare, "config", "receive.advertiseAtomic", atomic)
			for branches, other := range map[string]string{
				"stage/staging": "refs/heads/stage", "stage/a/b": "refs/heads/stage", "live": "refs/heads/live/shop/staging", "live/shop": "refs/heads/live/shop/staging", "new new/a": "refs/heads/new",
				"new/a new": "refs/heads/new/a",
			} {
				var updates []git.Update
				for _, branch := range strings.Fields(branches) {
					d := draft(t, to.remote, branch)
					replace(t, d, "a", map[string][]byte{"x": []byte("x\n")})
					updates = append(updates, git.Update{Branch: branch, Draft: d})
				}
				err := to.remote.Push(t.Context(), updates...)
				wantError(t, err, "'"+other+"' exists")
				if errors.Is(err, git.ErrStale) {
					t.Errorf("%s: taken for a lost race: %v", branches, err)
				}
			}
		}
		// Names that only begin alike.
		d := draft(t, to.remote, "stages/staging")
		replace(t, d, "a", map[string][]byte{"x": []byte("x\n")})
		if err := to.remote.Push(t.Context(), git.Update{Branch: "stages/staging", Draft: d}); err != nil {
			t.Error(err)
		}
		if got := testworld.Git(t, to.bare, "for-each-ref", "--format=%(refname:lstrip=2)"); got != "live/shop/staging\nmain\nstage\nstages/staging" {
			t.Errorf("refs %s", got)
		}
		// What the server refuses for another reason is not taken for a race either.
		testworld.Hook(t, to.bare, "reference-transaction", "[ $1 != prepared ]")
		d = draft(t, to.remote, "other")
		replace(t, d, "a", map[string][]byte{"x": []byte("x\n")})
		err := to.remote.Push(t.Context(), git.Update{Branch: "other", Draft: d})
		if err == nil || errors.Is(err, git.ErrStale) {
			t.Errorf("taken for a lost race: %v", err)
		}
	})
}
