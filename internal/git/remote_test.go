package git_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// protocols are the servers that are met: by version and by what they allow.
var protocols = []struct {
	name, version string
	config        []string
	warns         string // part of a warning; "" for none
}{
	{"v2 with filter", "", full, ""},
	{"v2 without filter", "", nil, "no partial fetches"},
	{"v0 with filter and any id", "version=0", full, ""},
	{"v0 with filter and reachable ids", "version=0", []string{"uploadpack.allowFilter=true", "uploadpack.allowReachableSHA1InWant=true"}, "no partial fetches"},
	{"v0 with any id", "version=0", []string{"uploadpack.allowAnySHA1InWant=true"}, "no partial fetches"},
	{"v0 with nothing", "version=0", nil, "the whole repository"},
}

func TestSnapshotOfRemote(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	locked := testworld.Commit(t, dir, "locked")
	testworld.Write(t, dir, map[string]string{"k8s/helm/values.yaml": "replicas: 2\n"})
	tip := testworld.Commit(t, dir, "later")
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, dir, p.config...)
			s.protocol = p.version
			var warned warnings
			opts := testworld.GitOptions(t)
			opts.Warn = warned.warn
			remote := openRemote(t, s.url(), opts)

			got, ref, err := remote.Tip(t.Context(), "")
			if err != nil || got != tip || ref != "main" {
				t.Fatalf("Tip: %s %s %v, want %s main", got, ref, err, tip)
			}
			snap, err := remote.Snapshot(t.Context(), locked)
			if err != nil {
				t.Fatal(err)
			}
			if err := snap.Prefetch(t.Context(), "k8s/helm"); err != nil {
				t.Fatal(err)
			}
			if got := snap.Commit().Committed.Format("2006-01-02T15:04:05Z07:00"); got != "2026-03-22T10:34:56Z" {
				t.Errorf("committed %s", got)
			}
			sub, err := fs.Sub(snap.FS(t.Context()), "k8s/helm")
			if err != nil {
				t.Fatal(err)
			}
			data, err := fs.ReadFile(sub, "values.yaml")
			if err != nil || string(data) != "replicas: 1\n" {
				t.Errorf("values.yaml: %q %v", data, err)
			}
			if warning := warned.String(); (p.warns == "") != (warning == "") || !strings.Contains(warning, p.warns) {
				t.Errorf("warned %q, want %q", warning, p.warns)
			}
			for ancestor, want := range map[git.Hash]bool{locked: true, tip: true} {
				if ok, err := remote.IsAncestor(t.Context(), ancestor, tip); err != nil || ok != want {
					t.Errorf("main contains %s: %v %v", ancestor, ok, err)
				}
			}

			// All of that again, from the cache alone.
			before := s.seen()
			again := openRemote(t, s.url(), opts)
			snap, err = again.Snapshot(t.Context(), locked)
			if err != nil {
				t.Fatal(err)
			}
			if err := snap.Prefetch(t.Context(), "k8s/helm"); err != nil {
				t.Fatal(err)
			}
			if _, err := fs.ReadFile(snap.FS(t.Context()), "k8s/helm/templates/a"); err != nil {
				t.Fatal(err)
			}
			if ok, err := again.IsAncestor(t.Context(), locked, tip); err != nil || !ok {
				t.Errorf("IsAncestor: %v %v", ok, err)
			}
			if n := s.seen() - before; n != 0 || again.Stats() != (git.Stats{}) {
				t.Errorf("%d requests for what the cache holds", n)
			}
		})
	}
}

// TestServerThatWantsMultiAck reads twice from a server that knows version 0 alone, offers the older form of several acknowledgements, and
// serves no client that does not take them.
func TestServerThatWantsMultiAck(t *testing.T) {
	t.Parallel()
	dir, first := testworld.Checkout(t, chart)
	s := serve(t, dir, full...)
	s.protocol = "version=0"
	backend := testworld.GitBackend(s.root)
	s.faults = append(s.faults, func(w http.ResponseWriter, r *http.Request) bool {
		switch r.Method {
		case http.MethodGet:
			r.Header.Set("Git-Protocol", s.protocol)
			answer := httptest.NewRecorder()
			backend.ServeHTTP(answer, r)
			w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
			_, _ = io.WriteString(w, strings.Replace(answer.Body.String(), " multi_ack_detailed", " multi_ack_departed", 1))
			return true
		default:
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			if bytes.Contains(body, []byte(" multi_ack ")) {
				return false
			}
			http.Error(w, "The Git protocol sent is not as expected (Clients must support multi-ack.).", http.StatusBadRequest)
			return true
		}
	})
	remote := openRemote(t, s.url(), testworld.GitOptions(t))
	if _, err := remote.Snapshot(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	testworld.Write(t, dir, map[string]string{"README.md": "another\n"})
	second := testworld.Commit(t, dir, "another")
	testworld.Git(t, dir, "push", "-q", s.bare(), "HEAD:refs/heads/main")
	if _, err := remote.Snapshot(t.Context(), second); err != nil {
		t.Fatal(err)
	}
}

func TestMissingCommit(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	const absent = git.Hash("1234567890123456789012345678901234567890")
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, dir, p.config...)
			s.protocol = p.version
			url := strings.Replace(s.url(), "http://", "http://someone:s3cret@", 1)
			_, err := testworld.Remote(t, url).Snapshot(t.Context(), absent)
			wantError(t, err, string(absent), s.url(), "pushed", "!s3cret", "!someone")
			if !errors.Is(err, git.ErrNotFound) {
				t.Errorf("%v is not ErrNotFound", err)
			}
		})
	}
}

// TestBytesFetched holds what a chart in a large repository may cost.
func TestBytesFetched(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, nil)
	random := func(n int) string {
		b := make([]byte, n)
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	testworld.Write(t, dir, chart)
	const chartBytes = 100 << 10
	testworld.Write(t, dir, map[string]string{"k8s/helm/dashboards.json": random(chartBytes)})
	for i := range 8 {
		testworld.Write(t, dir, map[string]string{filepath.Join("data", string(rune('a'+i%4)), string(rune('a'+i/4))): random(1 << 20)})
	}
	locked := testworld.Commit(t, dir, "large")
	for _, version := range []string{"", "version=0"} {
		s := serve(t, dir, full...)
		s.protocol = version
		remote := testworld.Remote(t, s.url())
		snap, err := remote.Snapshot(t.Context(), locked)
		if err != nil {
			t.Fatal(err)
		}
		if err := snap.Prefetch(t.Context(), "k8s/helm"); err != nil {
			t.Fatal(err)
		}
		if err := fs.WalkDir(snap.FS(t.Context()), "k8s/helm", func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				_, err = fs.ReadFile(snap.FS(t.Context()), name)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		stats := remote.Stats()
		t.Logf("protocol %q: %d bytes in %d round trips", version, stats.BytesReceived, stats.RoundTrips)
		if stats.BytesReceived > 2*chartBytes {
			t.Errorf("protocol %q: %d bytes for a chart of %d", version, stats.BytesReceived, chartBytes)
		}
		if stats.RoundTrips > 4 { // discovery, commit with root, k8s, helm
			t.Errorf("protocol %q: %d round trips", version, stats.RoundTrips)
		}
	}
}

func TestTip(t *testing.T) {
	t.Parallel()
	dir, first := testworld.Checkout(t, chart)
	testworld.Git(t, dir, "tag", "-a", "v1", "-m", "annotated")
	testworld.Git(t, dir, "branch", "release/1")
	testworld.Git(t, dir, "tag", "main") // hides the branch in gitrevisions(7)
	testworld.Git(t, dir, "pack-refs", "--all")
	tip := testworld.Commit(t, dir, "second")
	for _, version := range []string{"version=2", "version=0", "file"} {
		var remote *git.Remote
		if version == "file" {
			remote = openRemote(t, "file://"+dir, testworld.GitOptions(t))
		} else {
			s := serve(t, dir)
			s.protocol = version
			remote = testworld.Remote(t, s.url())
		}
		for ref, want := range map[string]struct {
			hash git.Hash
			name string
		}{
			"":                     {tip, "main"},
			"main":                 {tip, "main"},
			"refs/heads/release/1": {first, "release/1"},
			"release/1":            {first, "release/1"},
		} {
			if h, name, err := remote.Tip(t.Context(), ref); err != nil || h != want.hash || name != want.name {
				t.Errorf("%s: Tip(%q) = %s %s %v, want %s %s", version, ref, h, name, err, want.hash, want.name)
			}
		}
		for _, branch := range []string{"absent", "v1", "refs/tags/v1", "tags/v1", "HEAD"} {
			_, _, err := remote.Tip(t.Context(), branch)
			wantError(t, err, branch, remote.URL())
			if !errors.Is(err, git.ErrNotFound) {
				t.Errorf("%v is not ErrNotFound", err)
			}
		}
		// What was listed once is not believed forever.
		if version != "file" {
			continue
		}
		next := testworld.Commit(t, dir, "third")
		if h, _, err := remote.Tip(t.Context(), "main"); err != nil || h != next {
			t.Errorf("%s: after a push Tip = %s %v, want %s", version, h, err, next)
		}
	}
}

func TestTipAfterPush(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"version=2", "version=0"} {
		dir, _ := testworld.Checkout(t, chart)
		s := serve(t, dir)
		s.protocol = version
		remote := testworld.Remote(t, s.url())
		if _, _, err := remote.Tip(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		next := testworld.Commit(t, dir, "next")
		testworld.Git(t, dir, "push", "-q", s.bare(), "main")
		if h, _, err := remote.Tip(t.Context(), ""); err != nil || h != next {
			t.Errorf("%s: Tip after a push: %s %v, want %s", version, h, err, next)
		}
	}
}

func TestEmptyRemote(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	testworld.Git(t, dir, "init", "-q")
	for _, version := range []string{"version=2", "version=0"} {
		s := serve(t, dir)
		s.protocol = version
		_, _, err := testworld.Remote(t, s.url()).Tip(t.Context(), "")
		wantError(t, err, "no default branch", s.url())
	}
}

func TestSHA256IsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	testworld.Git(t, dir, "init", "-q", "--object-format=sha256")
	testworld.Commit(t, dir, "first")
	_, err := git.Open(t.Context(), dir, testworld.GitOptions(t))
	wantError(t, err, "sha256", "only sha1", dir)
	s := serve(t, dir)
	_, _, err = testworld.Remote(t, s.url()).Tip(t.Context(), "")
	wantError(t, err, "sha256", "only sha1", s.url())
}

func TestHistory(t *testing.T) {
	t.Parallel()
	dir, base := testworld.Checkout(t, chart)
	testworld.Git(t, dir, "checkout", "-q", "-b", "side")
	side := testworld.Commit(t, dir, "side")
	testworld.Git(t, dir, "checkout", "-q", "main")
	left := testworld.Commit(t, dir, "left")
	testworld.Git(t, dir, "merge", "-q", "--no-ff", "-m", "merge", "side")
	merge := git.Hash(testworld.Git(t, dir, "rev-parse", "HEAD"))
	testworld.Git(t, dir, "checkout", "-q", "-b", "apart", string(base))
	apart := testworld.Commit(t, dir, "apart")
	cases := []struct {
		ancestor, descendant git.Hash
		want                 bool
	}{
		{base, merge, true}, {side, merge, true}, {left, merge, true}, {merge, merge, true},
		{merge, base, false}, {apart, merge, false}, {side, left, false}, {left, apart, false},
	}
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, dir, p.config...)
			s.protocol = p.version
			remote := testworld.Remote(t, s.url())
			for _, c := range cases {
				if got, err := remote.IsAncestor(t.Context(), c.ancestor, c.descendant); err != nil || got != c.want {
					t.Errorf("IsAncestor(%s, %s) = %v %v, want %v", c.ancestor, c.descendant, got, err, c.want)
				}
			}
		})
	}
	local := openRepository(t, dir, testworld.GitOptions(t))
	for _, c := range cases {
		if got, err := local.IsAncestor(t.Context(), c.ancestor, c.descendant); err != nil || got != c.want {
			t.Errorf("local: IsAncestor(%s, %s) = %v %v, want %v", c.ancestor, c.descendant, got, err, c.want)
		}
	}
}

// TestLongHistory goes beyond the first generations, and then asks only for
// what is new.
func TestLongHistory(t *testing.T) {
	if testing.Short() {
		t.Skip("many commits")
	}
	t.Parallel()
	dir, first := testworld.Checkout(t, chart)
	var stream strings.Builder
	for range 3000 {
		stream.WriteString("commit refs/heads/main\ncommitter C <c@example.com> 1774000000 +0000\ndata 1\nx\n")
		if stream.Len() < 100 {
			stream.WriteString("from " + string(first) + "\n")
		}
	}
	importStream(t, dir, stream.String())
	tip := git.Hash(testworld.Git(t, dir, "rev-parse", "main"))
	s := serve(t, dir, full...)
	opts := testworld.GitOptions(t)
	remote := openRemote(t, s.url(), opts)
	if ok, err := remote.IsAncestor(t.Context(), first, tip); err != nil || !ok {
		t.Fatalf("IsAncestor: %v %v", ok, err)
	}
	cold := remote.Stats()

	testworld.Git(t, dir, "reset", "-q", "--hard")
	next := testworld.Commit(t, dir, "next")
	testworld.Git(t, dir, "push", "-q", s.bare(), "main")
	remote = openRemote(t, s.url(), opts)
	if ok, err := remote.IsAncestor(t.Context(), first, next); err != nil || !ok {
		t.Fatalf("IsAncestor: %v %v", ok, err)
	}
	if warm := remote.Stats(); warm.BytesReceived > cold.BytesReceived/20 {
		t.Errorf("one commit more cost %d bytes, the first %d", warm.BytesReceived, cold.BytesReceived)
	}

	// A cache whose packs are damaged, and one that lost them but not the claim
	// to have them.
	packs, err := filepath.Glob(filepath.Join(opts.CacheDir, "git", "*", "objects", "pack", "pack-*"))
	if err != nil || len(packs) == 0 {
		t.Fatalf("no packs in the cache: %v", err)
	}
	for _, damage := range []func(string) error{func(pack string) error {
		data, err := os.ReadFile(pack)
		if err != nil || filepath.Ext(pack) != ".pack" {
			return err
		}
		for i := 100; i < len(data); i += 100 {
			data[i]++
		}
		return errors.Join(os.Remove(pack), os.WriteFile(pack, data, 0o600))
	}, os.Remove} {
		for _, pack := range packs {
			if err := damage(pack); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		if ok, err := openRemote(t, s.url(), opts).IsAncestor(t.Context(), first, next); err != nil || !ok {
			t.Fatalf("IsAncestor after the packs were damaged: %v %v", ok, err)
		}
		if packs, err = filepath.Glob(filepath.Join(opts.CacheDir, "git", "*", "objects", "pack", "pack-*")); err != nil || len(packs) == 0 {
			t.Fatalf("no packs in the cache: %v", err)
		}
	}
}

func TestDamagedCache(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serve(t, dir, full...)
	opts := testworld.GitOptions(t)
	read := func() {
		t.Helper()
		snap, err := openRemote(t, s.url(), opts).Snapshot(t.Context(), head)
		if err != nil {
			t.Fatal(err)
		}
		data, err := snap.FS(t.Context()).ReadFile("k8s/helm/values.yaml")
		if err != nil || string(data) != "replicas: 1\n" {
			t.Fatalf("%q %v", data, err)
		}
	}
	read()
	files, err := filepath.Glob(filepath.Join(opts.CacheDir, "git", "*", "objects", "??", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no objects in the cache: %v", err)
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range [][]byte{nil, good[:len(good)/2], []byte("no zlib"), good} {
		for _, file := range files {
			if err := os.WriteFile(file, damage, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := s.seen()
		read()
		if s.seen() == before {
			t.Error("damaged objects were not fetched again")
		}
	}
}

func TestConcurrentProcesses(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serve(t, dir, full...)
	opts := testworld.GitOptions(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			remote, err := git.OpenRemote(t.Context(), s.url(), opts)
			if err != nil {
				t.Error(err)
				return
			}
			snap, err := remote.Snapshot(t.Context(), head)
			if err != nil {
				t.Error(err)
				return
			}
			var inner sync.WaitGroup
			for range 4 {
				inner.Go(func() {
					if err := snap.Prefetch(t.Context(), "k8s"); err != nil {
						t.Error(err)
					}
					if data, err := snap.FS(t.Context()).ReadFile("k8s/helm/values.yaml"); err != nil || string(data) != "replicas: 1\n" {
						t.Errorf("%q %v", data, err)
					}
				})
			}
			inner.Wait()
		})
	}
	wg.Wait()
	if left, _ := filepath.Glob(filepath.Join(opts.CacheDir, "git", "*", "tmp-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestNoCacheFolder(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serve(t, dir, full...)
	opts := testworld.GitOptions(t)
	opts.CacheDir = ""
	_, err := openRemote(t, s.url(), opts).Snapshot(t.Context(), head)
	wantError(t, err, "no cache folder")
}

func TestFileRemotes(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	bare := filepath.Join(t.TempDir(), "app.git")
	testworld.Git(t, dir, "clone", "-q", "--bare", dir, bare)
	opts := testworld.GitOptions(t)
	opts.Dir = filepath.Dir(dir)
	for _, url := range []string{dir, filepath.Base(dir), "file://" + dir, bare, strings.TrimSuffix(bare, ".git"), filepath.Join(dir, ".git")} {
		remote := openRemote(t, url, opts)
		snap, err := remote.Snapshot(t.Context(), head)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if data, err := snap.FS(t.Context()).ReadFile("README.md"); err != nil || string(data) != "read me\n" {
			t.Errorf("%s: %q %v", url, data, err)
		}
		_, err = remote.Snapshot(t.Context(), "1234567890123456789012345678901234567890")
		wantError(t, err, "1234567890123456789012345678901234567890", "pushed")
	}
	_, err := git.OpenRemote(t.Context(), "./absent", opts)
	wantError(t, err, "absent", "no git repository")
}

func TestCacheFolderCannotBeMade(t *testing.T) {
	t.Parallel()
	opts := testworld.GitOptions(t)
	opts.CacheDir = filepath.Join(opts.CacheDir, "file")
	if err := os.WriteFile(opts.CacheDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := git.OpenRemote(t.Context(), "https://example.com/app.git", opts)
	wantError(t, err, "object cache", opts.CacheDir)
}
