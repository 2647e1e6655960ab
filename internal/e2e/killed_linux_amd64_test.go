package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/demo"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
)

// mortal is a world whose processes are killed at a chosen write. All that they write lies in one folder, which can be set back.
type mortal struct {
	*world
	kind  string // of the registry: distribution, olareg, or a layout folder
	state string // holds gitops.git, and images and artifacts
	name  string // of the artifact repository
	copy  string // where copies go; "" for none

	mu      sync.Mutex
	olareg  *registry.Registry
	proxy   http.Handler // to distribution; nil for others
	git     http.Handler
	writes  []string // since the last call of arm, to servers
	at      int      // the write before which kill is called; 0 for none
	partial int      // of a push without atomicity: how many branches move before that; 0 to kill before the request
	kill    func()
}

func newMortal(t *testing.T, bin, kind string, atomic bool) *mortal {
	t.Helper()
	m := &mortal{kind: kind, state: t.TempDir()}
	if kind == "distribution" {
		d := newDistribution(t)
		m.proxy = httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: d.addr})
		if err := os.Symlink(filepath.Join(filepath.Dir(d.conf), "store"), filepath.Join(m.state, "store")); err != nil {
			t.Fatal(err)
		}
	}
	m.open()
	t.Cleanup(func() { _ = m.olareg.Close() })
	m.git = testworld.GitBackend(m.state)
	server := testworld.Serve(t, m)
	m.world = &world{t: t, dir: t.TempDir(), bin: bin, registry: server.Host}
	m.name = server.Host + "/acme/codeai-manifests"
	if kind == "layout" {
		m.name = "oci-layout:" + filepath.Join(m.state, "layout")
	}
	setup, err := demo.Prepare(t.Context(), m.dir, demo.Options{
		Registry: server.Host, Now: time.Date(2026, 3, 22, 12, 0, 0, 0, time.UTC), NewKey: testworld.KeyPair,
		Change: func(pipeline string) string {
			return strings.Replace(demo.Promotable(pipeline), server.Host+"/acme/codeai-manifests", m.name, 1)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	home := m.path("home")
	m.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CACHE_HOME=" + filepath.Join(home, ".cache"), "DOCKER_CONFIG=" + home,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
		demo.PrivateKeyVariable + "=" + read(t, setup.PrivateKey), demo.PromoterVariable + "=" + read(t, setup.Promoter),
	}
	bare := filepath.Join(m.state, "gitops.git")
	if err := errors.Join(os.MkdirAll(home, 0o755), os.Rename(setup.GitOpsDir+".git", bare)); err != nil {
		t.Fatal(err)
	}
	testworld.Serveable(t, bare)
	testworld.Git(t, bare, "config", "receive.advertiseAtomic", fmt.Sprint(atomic))
	testworld.Hook(t, bare, "update", `test -e "$GIT_DIR/allowed" || exit 0; n=$(cat "$GIT_DIR/allowed"); test "$n" -gt 0 && echo $((n-1)) >"$GIT_DIR/allowed"`)
	m.command("gitops", "git", "remote", "set-url", "origin", server.URL+"/gitops.git")
	return m
}

// open opens the registry of the state.
func (m *mortal) open() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.olareg != nil {
		_ = m.olareg.Close()
	}
	m.olareg = registry.New(registry.Options{Dir: filepath.Join(m.state, "registry")})
}

// ServeHTTP serves Git and the registry.
func (m *mortal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	push := strings.HasSuffix(r.URL.Path, "/git-receive-pack") && r.Method == http.MethodPost
	isGit := strings.HasPrefix(r.URL.Path, "/gitops.git")
	m.mu.Lock()
	handler := http.Handler(m.olareg)
	switch {
	case isGit:
		handler = m.git
	case m.proxy != nil:
		handler = m.proxy
	}
	dies := false
	if push || !isGit && r.Method != http.MethodGet && r.Method != http.MethodHead {
		m.writes = append(m.writes, r.Method+" "+r.URL.Path)
		dies = len(m.writes) == m.at
	}
	partial, kill := m.partial, m.kill
	m.mu.Unlock()
	if dies {
		if allowed := filepath.Join(m.state, "gitops.git", "allowed"); push && partial > 0 {
			write(m.t, allowed, fmt.Sprintln(partial))
			m.git.ServeHTTP(httpSink{}, r)
			if err := os.Remove(allowed); err != nil {
				m.t.Error(err)
			}
		}
		kill()
		panic(http.ErrAbortHandler)
	}
	handler.ServeHTTP(w, r)
}

// httpSink drops a response.
type httpSink struct{}

func (httpSink) Header() http.Header            { return http.Header{} }
func (httpSink) Write(data []byte) (int, error) { return len(data), nil }
func (httpSink) WriteHeader(int)                {}

// arm forgets the writes, and kills before number at of those that follow; 0 for never.
func (m *mortal) arm(at, partial int, kill func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes, m.at, m.partial, m.kill = nil, at, partial, kill
}

// keep copies the state; setBack brings it back.
func (m *mortal) keep() string {
	m.t.Helper()
	kept := m.t.TempDir()
	m.copyState(m.state, kept)
	return kept
}

func (m *mortal) setBack(kept string) {
	m.t.Helper()
	m.lose("gitops.git")
	m.lose(artifacts...)
	m.copyState(kept, m.state)
	m.open()
}

// artifacts are the folders of a state that hold images and artifacts.
var artifacts = []string{"registry", "store/docker", "layout", "copies"}

// lose removes folders of the state.
func (m *mortal) lose(names ...string) {
	m.t.Helper()
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(m.state, name)); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *mortal) copyState(from, to string) {
	m.t.Helper()
	for _, name := range append([]string{"gitops.git"}, artifacts...) {
		if _, err := os.Stat(filepath.Join(from, name)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.CopyFS(filepath.Join(to, name), os.DirFS(filepath.Join(from, name))); err != nil {
			m.t.Fatal(err)
		}
	}
}

// moment is a write at which a process is killed.
type moment struct {
	write, partial, rename int
	name                   string
}

// moments lists the writes of a command that ends well: requests to servers, parts of a push that is not atomic, and renames of
// files in a layout folder.
func (m *mortal) moments(atomic bool, args ...string) []moment {
	m.t.Helper()
	m.arm(0, 0, nil)
	renames := 0
	if m.kind == "layout" {
		var err error
		if renames, err = traced(m.process(args...), 0); err != nil {
			m.t.Fatalf("%v: %v", args, err)
		}
	} else {
		m.command("gitops", m.bin, args...)
	}
	var all []moment
	for i, request := range m.writes {
		all = append(all, moment{write: i + 1, name: request})
		if strings.HasSuffix(request, "/git-receive-pack") && !atomic {
			all = append(all, moment{write: i + 1, partial: 1, name: request + " after its first branch"})
		}
	}
	for i := range renames {
		all = append(all, moment{rename: i + 1, name: fmt.Sprint("rename ", i+1)})
	}
	return all
}

func (m *mortal) process(args ...string) *exec.Cmd {
	cmd := exec.Command(m.bin, args...)
	cmd.Dir, cmd.Env = m.path("gitops"), m.env
	return cmd
}

// killedAt runs a command that is killed.
func (m *mortal) killedAt(at moment, args ...string) {
	m.t.Helper()
	cmd := m.process(args...)
	var out bytes.Buffer
	var err error
	m.arm(at.write, at.partial, func() { _ = cmd.Process.Kill() })
	if at.rename > 0 {
		_, err = traced(cmd, at.rename)
	} else {
		cmd.Stderr = &out
		err = cmd.Run()
	}
	m.arm(0, 0, nil)
	var killed *exec.ExitError
	if !errors.Is(err, errTracedKilled) && (!errors.As(err, &killed) || killed.Exited()) {
		m.t.Fatalf("%s: not killed: %v\n%s", at.name, err, &out)
	}
}

// outcome is what registry and Git hold: tags, how many statements of each type and signatures each artifact has, the branches that
// are functions of their inputs, and how many commits the others have.
func (m *mortal) outcome() map[string]string {
	m.t.Helper()
	found := map[string]string{}
	m.holds(m.name, "", found)
	if m.copy != "" {
		m.holds(m.copy, copied, found)
	}
	bare := filepath.Join(m.state, "gitops.git")
	for line := range strings.Lines(testworld.Git(m.t, bare, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads")) {
		branch, commit, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(branch, "stage/") {
			commit = testworld.Git(m.t, bare, "rev-list", "--count", branch) + " commits"
		}
		found["branch "+branch] = commit
	}
	return found
}

// copied begins the keys of an outcome that are about the copy.
const copied = "copy: "

// holds adds what a repository holds.
func (m *mortal) holds(name, prefix string, found map[string]string) {
	m.t.Helper()
	ctx := m.t.Context()
	repository, err := oci.NewClient(oci.Options{}).Repository(name)
	if err != nil {
		m.t.Fatal(err)
	}
	tags, err := repository.Tags(ctx, "staging")
	if err != nil && !errors.Is(err, oci.ErrNotFound) {
		m.t.Fatal(err)
	}
	for _, tag := range tags {
		desc, err := repository.Resolve(ctx, tag)
		if errors.Is(err, oci.ErrNotFound) {
			continue // distribution lists a tag whose request broke off, and it names nothing
		}
		if err != nil {
			m.t.Fatal(err)
		}
		found[prefix+"tag "+tag] = desc.Digest.String()
		referrers, err := repository.Referrers(ctx, desc, "")
		if err != nil {
			m.t.Fatal(err)
		}
		counts := map[string]int{}
		for _, r := range referrers {
			counts[r.Annotations["dev.sigstore.bundle.predicateType"]]++
		}
		for kind, n := range counts {
			found[fmt.Sprintf("%s%s on %s", prefix, kind, desc.Digest)] = fmt.Sprint(n)
		}
		found[prefix+"signatures of "+desc.Digest.String()] = fmt.Sprint(m.signatures(repository, desc.Digest))
	}
}

func (m *mortal) signatures(repository *oci.Repository, d digest.Digest) int {
	m.t.Helper()
	_, raw, err := repository.Manifest(m.t.Context(), strings.Replace(d.String(), ":", "-", 1)+".sig")
	if errors.Is(err, oci.ErrNotFound) {
		return 0
	}
	var manifest ocispec.Manifest
	if err == nil {
		err = json.Unmarshal(raw, &manifest)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return len(manifest.Layers)
}

// wholeCopy fails if a tag of the copy names what does not have all that an undisturbed run copies. Tags come last.
func (m *mortal) wholeCopy(at moment, want map[string]string) {
	m.t.Helper()
	about := func(outcome map[string]string) map[string]string {
		only := maps.Clone(outcome)
		maps.DeleteFunc(only, func(key, _ string) bool { return !strings.HasPrefix(key, copied) })
		return only
	}
	if found := about(m.outcome()); len(found) > 0 && !maps.Equal(found, about(want)) {
		m.t.Errorf("%s: a tag names a copy that is not whole:\n got %v\nwant %v", at.name, lines(found), lines(about(want)))
	}
}

// sound fails if a tag names what is not signed for that. A candidate is whole whatever happened to a command that makes one; later
// its verdict also says whether the stage's tag follows.
func (m *mortal) sound(at moment, verb, release string) {
	m.t.Helper()
	found := m.outcome()
	if verb == "hydrate" && found["tag staging."+release] != "" {
		if out, errs, err := m.try("gitops", m.bin, "verify", "staging", "--release", release); err != nil {
			m.t.Errorf("%s: a tag names a candidate that does not verify: %v\n%s%s", at.name, err, out, errs)
		}
	}
	if found["tag staging"] != "" {
		if out, errs, err := m.try("gitops", m.bin, "verify", m.name+":staging", "--identity", "promoter"); err != nil && !lags(out) {
			m.t.Errorf("%s: the stage's tag names what does not verify: %v\n%s%s", at.name, err, out, errs)
		}
	}
}

// lags reports whether a verdict finds nothing wrong but that a tag does not follow yet.
func lags(verdict string) bool {
	failures := strings.Count(verdict, "\n  fail ")
	return failures == 1 && strings.Contains(verdict, "\n  fail  live ")
}

// TestKilled kills hydrate, promote, rollback, copy, and the repair of an empty registry before each of their writes: requests that write to
// registry and Git server, each branch of a push that is not atomic, and each file of a layout folder. Whatever a tag names is signed at
// any time, and the next run ends where an undisturbed one does. Without LOCKAGE_SOAK=1 each kind of registry takes another sixth of the
// writes (of a repair, which has most, another eighteenth), and all pushes, to a Git server of one kind.
func TestKilled(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	every, repairs, soak := 6, 18, os.Getenv("LOCKAGE_SOAK") == "1"
	if soak {
		every, repairs = 1, 1
	}
	for i, kind := range []string{"distribution", "olareg", "layout"} {
		for _, atomic := range []bool{true, false} {
			if !soak && atomic == (kind == "olareg") {
				continue
			}
			t.Run(fmt.Sprintf("%s/atomic=%t", kind, atomic), func(t *testing.T) {
				t.Parallel()
				m := newMortal(t, bin, kind, atomic)
				first := "git-" + strings.TrimSpace(m.command("source", "git", "rev-parse", "HEAD"))
				m.enumerate(atomic, every, 2*i, first, "hydrate", "staging")
				m.enumerate(atomic, every, 2*i, first, "promote", "staging")
				second := m.release()
				m.command("gitops", m.bin, "hydrate", "staging")
				m.command("gitops", m.bin, "promote", "staging", "--release", second)
				m.enumerate(atomic, every, 2*i, first, "rollback", "staging", "--to", first)
				for _, m.copy = range m.destinations() {
					m.enumerate(atomic, every, 2*i, first, "copy", "live:staging", m.copy)
				}
				m.copy = ""
				m.lose(artifacts...)
				m.open()
				m.enumerate(atomic, repairs, 2*i, first, "repair", "--apply", "staging")
			})
		}
	}
}

// destinations are where copies go: another repository of the registry, or a folder and a file.
func (m *mortal) destinations() []string {
	if m.kind != "layout" {
		return []string{strings.TrimSuffix(m.name, "codeai-manifests") + "copy"}
	}
	folder := filepath.Join(m.state, "copies")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		m.t.Fatal(err)
	}
	return []string{"oci-layout:" + filepath.Join(folder, "layout"), "oci-layout:" + filepath.Join(folder, "airgap.tar")}
}

// enumerate kills a command at its writes, and leaves the state as the command leaves it undisturbed. The object cache is as a
// process that was killed leaves it.
func (m *mortal) enumerate(atomic bool, every, offset int, release string, args ...string) {
	m.t.Helper()
	start := m.keep()
	all := m.moments(atomic, args...)
	want := m.outcome()
	done := m.keep()
	tried := 0
	for n, at := range all {
		partly := at.partial > 0 || strings.HasSuffix(at.name, "/git-receive-pack")
		if n%every != offset%every && !partly {
			continue
		}
		tried++
		m.setBack(start)
		m.killedAt(at, args...)
		if m.sound(at, args[0], release); m.copy != "" {
			m.wholeCopy(at, want)
		}
		m.command("gitops", m.bin, args...)
		if got := m.outcome(); !maps.Equal(got, want) {
			m.t.Errorf("%v, killed at %s (%d of %d):\n got %v\nwant %v", args, at.name, n+1, len(all), lines(got), lines(want))
		}
	}
	m.t.Logf("%v has %d writes, killed at %d of them", args, len(all), tried)
	m.setBack(done)
}

func lines(found map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(found)) {
		b.WriteString("\n  " + key + ": " + found[key])
	}
	return b.String()
}
