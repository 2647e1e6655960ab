package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
)

// forge is a bare repository behind smart HTTP.
type forge struct {
	*testworld.Server
	bare string
}

func newForge(t testing.TB) *forge {
	t.Helper()
	bare := testworld.Bare(t, "")
	return &forge{testworld.GitServer(t, bare), bare}
}

func (f *forge) remote(t testing.TB) *git.Remote { return testworld.Remote(t, f.URL) }

func (f *forge) writer(t testing.TB) *ledger.Writer {
	return ledger.NewWriter(f.remote(t), ledger.Backoff(time.Millisecond, func(n int64) int64 { return n / 2 }))
}

// pushes reports whether a request is the push itself.
func pushes(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "receive-pack")
}

// entry shows a tree of one stage, hydrated from GitOps commit number n.
func entry(t testing.TB, stage string, n int, tree fstest.MapFS) ledger.Change {
	t.Helper()
	content, err := oci.ContentDigest(tree)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ledger.FilesID(tree)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Change{
		Artifact: ledger.Artifact{
			Claim:   sign.Claim{Pipeline: "web", Stage: stage, Release: testworld.Release(1), Repository: "registry.example.com/web"},
			Digests: oci.Digests{Digest: digest.FromString(stage + string(content)), Content: content},
			Files:   files,
			Source:  ledger.Origin{URL: "https://git.example.com/app.git", Commit: testworld.CommitID(1)},
			GitOps:  ledger.Origin{URL: "https://git.example.com/gitops.git", Commit: testworld.CommitID(n)},
		},
		Place: ledger.Place{Branch: "stage/" + stage, Path: "apps/web/" + stage},
		Time:  time.Date(2026, 3, 22, 12, 0, 0, 0, time.UTC),
		Tree:  func(context.Context) (fs.FS, error) { return tree, nil },
	}
}

// hydrated records a change as the candidate, on the branch candidates/PIPELINE. An entry stays that was hydrated from a GitOps
// commit with a higher number, or has the same content.
func hydrated(c ledger.Change) ledger.Change {
	c.Hydration = &ledger.Hydration{
		Candidates: "candidates/" + c.Pipeline,
		Entry: ledger.Entry{
			Artifact: c.Artifact, Input: digest.FromString(string(c.Content)), Image: digest.FromString("image"),
			Statements: ledger.Statements{Bundles: []sign.Bundle{{JSON: []byte(`{"mediaType":"a bundle"}`)}}},
		},
		Stays: func(_ context.Context, there ledger.Entry) (bool, error) {
			return there.Content == c.Content || there.GitOps.Commit > c.GitOps.Commit, nil
		},
	}
	return c
}

func tree(files ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return m
}

func write(t *testing.T, w *ledger.Writer, entries ...ledger.Change) []ledger.Result {
	t.Helper()
	entries = slices.Clone(entries)
	for i, e := range entries {
		if e.Promotion == nil && e.Review == "" {
			entries[i] = hydrated(e)
		}
	}
	results, err := w.Write(t.Context(), entries)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// check returns the findings of Check in one line.
func check(t *testing.T, r *git.Remote, e ledger.Change) string {
	t.Helper()
	files, err := e.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	compared, err := ledger.Check(t.Context(), r, e.Place, e.Digest, e.Content, files)
	if errors.Is(err, ledger.ErrNotShown) {
		return "not shown"
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(compared.Differences)
}

func TestWrite(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	e := entry(t, "staging", 1, tree("deployment-web.yaml", "replicas: 1\n", "service-web.yaml", "port: 80\n"))
	results := write(t, f.writer(t), e)
	if !results[0].Written || results[0].Commit != testworld.Git(t, f.bare, "rev-parse", "stage/staging") {
		t.Fatalf("results %+v", results)
	}
	wantMessage := "Hydrate web/staging " + e.Release + `

Lockage-Release: ` + e.Release + `
Lockage-Artifact: ` + e.Reference() + `
Lockage-Content: ` + string(e.Content) + `
Lockage-Source: https://git.example.com/app.git@` + testworld.CommitID(1) + `
Lockage-Gitops: https://git.example.com/gitops.git@` + testworld.CommitID(1)
	if got := testworld.Git(t, f.bare, "log", "-1", "--format=%B", "stage/staging"); got != wantMessage {
		t.Errorf("message:\n%s", got)
	}
	if got := testworld.Git(t, f.bare, "log", "-1", "--format=%(trailers:key=Lockage-Artifact,valueonly)", "stage/staging"); got != e.Reference() {
		t.Errorf("git reads the trailer as %q", got)
	}
	if got := testworld.Git(t, f.bare, "log", "-1", "--format=%an <%ae> %aI %cI", "stage/staging"); got != "lockage <noreply@lockage.dev> 2026-03-22T12:00:00+00:00 2026-03-22T12:00:00+00:00" {
		t.Errorf("commit: %s", got)
	}
	if got := testworld.Git(t, f.bare, "ls-tree", "-r", "--format=%(objectmode) %(path)", "stage/staging"); got != `100644 apps/web/staging/.gitattributes
100644 apps/web/staging/deployment-web.yaml
100644 apps/web/staging/hydrator.metadata
100644 apps/web/staging/service-web.yaml` {
		t.Errorf("files:\n%s", got)
	}
	var metadata struct {
		RepoURL, DrySHA string
		References      []struct{ Commit struct{ SHA, RepoURL string } }
	}
	if err := json.Unmarshal([]byte(testworld.Git(t, f.bare, "show", "stage/staging:apps/web/staging/hydrator.metadata")), &metadata); err != nil {
		t.Fatal(err)
	}
	if metadata.DrySHA != e.GitOps.Commit || metadata.RepoURL != e.GitOps.URL || metadata.References[0].Commit.SHA != e.Source.Commit {
		t.Errorf("metadata %+v", metadata)
	}

	// The same again, and the same artifact from a newer GitOps commit: no commit, and the tree is not asked for.
	again := e
	again.GitOps.Commit = testworld.CommitID(2)
	again.Tree = func(context.Context) (fs.FS, error) { return nil, errors.New("asked for the tree") }
	for _, e := range []ledger.Change{e, again} {
		if got := write(t, f.writer(t), e); got[0].Written || got[0].Commit != results[0].Commit {
			t.Errorf("written again: %+v", got)
		}
	}

	// New content: what is stale goes.
	next := entry(t, "staging", 3, tree("deployment-web.yaml", "replicas: 2\n"))
	next.Attributes = true
	write(t, f.writer(t), next)
	if got := testworld.Git(t, f.bare, "ls-tree", "-r", "--name-only", "stage/staging"); got != "apps/web/staging/.gitattributes\napps/web/staging/deployment-web.yaml\napps/web/staging/hydrator.metadata" {
		t.Errorf("files:\n%s", got)
	}
	if got := write(t, f.writer(t), next); got[0].Written {
		t.Error("written again")
	}

	// Both commits are found, the older one below the newer.
	r := f.remote(t)
	for _, e := range []ledger.Change{e, next} {
		if got := check(t, r, e); got != "[]" {
			t.Errorf("check: %s", got)
		}
	}

	// The older hydration gives way.
	late := entry(t, "staging", 2, tree("deployment-web.yaml", "late\n"))
	if got := write(t, f.writer(t), late); got[0].Written || !got[0].Superseded {
		t.Errorf("late: %+v", got)
	}
	if got := check(t, r, late); got != "not shown" {
		t.Errorf("late: %s", got)
	}
	testworld.Git(t, f.bare, "fsck", "--strict", "--no-dangling")
}

// clone makes a work tree of a branch, for what people do by hand.
func (f *forge) clone(t *testing.T, branch string) string {
	return testworld.Clone(t, f.bare, "-b", branch)
}

// commitAndPush pushes what people change by hand in a clone.
func commitAndPush(t *testing.T, dir, message string) {
	t.Helper()
	testworld.Commit(t, dir, message)
	testworld.Git(t, dir, "push", "-q", "origin", "HEAD")
}

// TestSameBytes has changes by hand that leave the bytes of all files, and are none of the artifact's.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(at string) error{
		"[edited a.yaml]": func(at string) error { return os.Chmod(filepath.Join(at, "a.yaml"), 0o755) },
		"[edited b.yaml]": func(at string) error {
			return errors.Join(os.Remove(filepath.Join(at, "b.yaml")), os.Symlink("a.yaml", filepath.Join(at, "b.yaml")))
		},
	} {
		f := newForge(t)
		e := entry(t, "production", 1, tree("a.yaml", "same\n", "b.yaml", "same\n"))
		write(t, f.writer(t), e)
		dir := f.clone(t, "stage/production")
		if err := change(filepath.Join(dir, "apps/web/production")); err != nil {
			t.Fatal(err)
		}
		commitAndPush(t, dir, "by hand")
		if got := check(t, f.remote(t), e); got != want {
			t.Errorf("check: %s, want %s", got, want)
		}
	}
}

// The digest that was signed decides, not Git's ids.
func TestSignedDigestDecides(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	e := entry(t, "production", 1, tree("a.yaml", "a\n"))
	write(t, f.writer(t), e)
	files, err := e.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = ledger.Check(t.Context(), f.remote(t), e.Place, e.Digest, digest.FromString("other content"), files)
	if err == nil || !strings.Contains(err.Error(), "although their Git ids are equal") {
		t.Errorf("got %v", err)
	}
}

func TestEditedByHand(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	first := entry(t, "production", 1, tree("a.yaml", "a\n", "b.yaml", "b\n", "c.yaml", "c\n"))
	write(t, f.writer(t), first)
	dir := f.clone(t, "stage/production")
	at := filepath.Join(dir, "apps/web/production")
	for name, data := range map[string]string{"a.yaml": "edited\n", "new.yaml": "new\n", "../../../foreign": "theirs\n"} {
		if err := os.WriteFile(filepath.Join(at, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(at, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(at, "c.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	commitAndPush(t, dir, "by hand")
	want := "[edited a.yaml removed b.yaml edited c.yaml added new.yaml]"
	if got := check(t, f.remote(t), first); got != want {
		t.Errorf("check: %s", got)
	}

	// A newer artifact on top: the edit is the newest that claimed to be the first.
	second := entry(t, "production", 2, tree("a.yaml", "a2\n"))
	write(t, f.writer(t), second)
	if got := check(t, f.remote(t), first); got != want {
		t.Errorf("check below a newer one: %s", got)
	}
	if got := check(t, f.remote(t), second); got != "[]" {
		t.Errorf("check of the newer one: %s", got)
	}
	if got := testworld.Git(t, f.bare, "show", "stage/production:foreign"); got != "theirs" {
		t.Errorf("a foreign file: %q", got)
	}

	// What was edited on top of it is put right by the next run, though it is the same artifact.
	testworld.Git(t, dir, "pull", "-q")
	if err := os.WriteFile(filepath.Join(at, "a.yaml"), []byte("edited again\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	commitAndPush(t, dir, "by hand again")
	if got := check(t, f.remote(t), second); got != "[edited a.yaml]" {
		t.Errorf("check: %s", got)
	}
	if got := write(t, f.writer(t), second); !got[0].Written {
		t.Error("not put right")
	}
	if got := check(t, f.remote(t), second); got != "[]" {
		t.Errorf("check: %s", got)
	}
	// Other people's commits on top that leave our folder alone change nothing.
	testworld.Git(t, dir, "pull", "-q")
	if err := os.WriteFile(filepath.Join(dir, "foreign"), []byte("more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	commitAndPush(t, dir, "elsewhere")
	if got := check(t, f.remote(t), second); got != "[]" {
		t.Errorf("check: %s", got)
	}
	if got := write(t, f.writer(t), second); got[0].Written {
		t.Error("written on top of what leaves our folder alone")
	}
}

func TestInTheWay(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	write(t, f.writer(t), entry(t, "staging", 1, tree("a.yaml", "a\n")))
	dir := f.clone(t, "stage/staging")
	if err := os.RemoveAll(filepath.Join(dir, "apps")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "apps"), []byte("a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	commitAndPush(t, dir, "in the way")
	_, err := f.writer(t).Write(t.Context(), []ledger.Change{hydrated(entry(t, "staging", 2, tree("a.yaml", "b\n")))})
	if !errors.Is(err, git.ErrOccupied) || !strings.Contains(err.Error(), "apps is a file") || !strings.Contains(err.Error(), "stage/staging") {
		t.Errorf("got %v", err)
	}
}

// Many pipelines of one run on one branch cost one look at it, one commit and one push.
func TestManyPipelinesOnOneBranch(t *testing.T) {
	if testing.Short() {
		t.Skip("many commits")
	}
	t.Parallel()
	const n = 20
	f := newForge(t)
	var entries []ledger.Change
	for i := range n {
		e := entry(t, "staging", 1, tree("a.yaml", fmt.Sprintln(i)))
		e.Pipeline, e.Branch, e.Path = fmt.Sprintf("p%d", i), "all", fmt.Sprintf("apps/p%d", i)
		entries = append(entries, e)
	}
	for round, most := range []int64{5, 4} {
		r := f.remote(t)
		results := write(t, ledger.NewWriter(r, nil), entries...) // nobody races with us: nothing waits
		for i, result := range results {
			if first := round == 0; result.Written != first || result.Recorded != first || result.Commit != rev(t, f, "all") {
				t.Errorf("p%d, round %d: %+v", i, round, result)
			}
		}
		if trips := r.Stats().RoundTrips; trips > most {
			t.Errorf("round %d took %d round trips", round, trips)
		}
	}
	if got := testworld.Git(t, f.bare, "rev-list", "--count", "all"); got != "1" {
		t.Errorf("%s commits", got)
	}
	if got := strings.Count(testworld.Git(t, f.bare, "log", "-1", "--format=%(trailers:key=Lockage-Artifact,valueonly)", "all"), "staging registry.example.com/web@sha256:"); got != n {
		t.Errorf("%d trailers", got)
	}
	if got := strings.Count(testworld.Git(t, f.bare, "ls-tree", "-r", "--name-only", "all"), "\n") + 1; got != 3*n {
		t.Errorf("%d files", got)
	}
	for _, e := range entries {
		if got := check(t, f.remote(t), e); got != "[]" {
			t.Errorf("%s: %s", e.Pipeline, got)
		}
	}
}

func TestRace(t *testing.T) {
	if testing.Short() {
		t.Skip("many commits")
	}
	t.Parallel()
	f := newForge(t)
	var group sync.WaitGroup
	const writers = 8
	for i := range writers {
		w := f.writer(t)
		e := entry(t, "staging", 1, tree("a.yaml", fmt.Sprintf("%d\n", i)))
		e.Branch, e.Path = "shared", fmt.Sprintf("apps/%d", i)
		loads := 0
		files := e.Tree
		e.Tree = func(ctx context.Context) (fs.FS, error) { loads++; return files(ctx) }
		group.Go(func() {
			if _, err := w.Write(t.Context(), []ledger.Change{hydrated(e)}); err != nil {
				t.Error(err)
			}
			if loads != 1 {
				t.Errorf("the tree was asked for %d times", loads)
			}
		})
	}
	group.Wait()
	if got := strings.Count(testworld.Git(t, f.bare, "log", "--format=%H", "shared"), "\n") + 1; got != writers {
		t.Errorf("%d commits", got)
	}
	testworld.Git(t, f.bare, "fsck", "--strict", "--no-dangling")
}

// The lost race is lost for good if what won is newer.
func TestRaceAgainstNewer(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	newer := entry(t, "staging", 5, tree("a.yaml", "newer\n"))
	var lost atomic.Bool
	f.Before(func(r *http.Request) {
		if pushes(r) && lost.CompareAndSwap(false, true) {
			write(t, f.writer(t), newer)
		}
	})
	got := write(t, f.writer(t), entry(t, "staging", 4, tree("a.yaml", "older\n")))
	if !got[0].Superseded || got[0].Written {
		t.Errorf("results %+v", got)
	}
	if got := check(t, f.remote(t), newer); got != "[]" {
		t.Error(got)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	testworld.Hook(t, f.bare, "update", "case $1 in *production) echo 'production is protected: open a pull request' >&2; exit 1;; esac")
	_, err := f.writer(t).Write(t.Context(), []ledger.Change{
		hydrated(entry(t, "staging", 1, tree("a.yaml", "a\n"))), hydrated(entry(t, "production", 1, tree("a.yaml", "a\n"))),
	})
	if err == nil || !strings.Contains(err.Error(), "production is protected: open a pull request") {
		t.Errorf("got %v", err)
	}
	if refs := testworld.Git(t, f.bare, "for-each-ref"); refs != "" {
		t.Errorf("one branch was pushed without the other: %s", refs)
	}
}

// The answer to a push is lost: the next run finds everything in place.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	e := entry(t, "staging", 1, tree("a.yaml", "a\n"))
	ctx, cancel := context.WithCancel(t.Context())
	f.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !pushes(r) {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(httptest.NewRecorder(), r)
		cancel()
		<-r.Context().Done()
	})
	if _, err := f.writer(t).Write(ctx, []ledger.Change{hydrated(e)}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	f.Intercept(nil)
	_ = write(t, f.writer(t), e)
	if got := testworld.Git(t, f.bare, "rev-list", "--count", "stage/staging"); got != "1" {
		t.Errorf("%s commits", got)
	}
}

// An artifact is refused whose files a branch cannot show as they are: one takes a name of those beside it, or they are others than
// was signed.
func TestFilesThatCannotBeShown(t *testing.T) {
	t.Parallel()
	other := entry(t, "staging", 1, tree("a.yaml", "a\n"))
	other.Files = entry(t, "staging", 1, tree("a.yaml", "b\n")).Files
	for want, c := range map[string]ledger.Change{
		"has a file hydrator.metadata":  entry(t, "staging", 1, tree("a.yaml", "a\n", "hydrator.metadata", "{}\n")),
		"has a file .gitattributes":     entry(t, "staging", 1, tree(".gitattributes", "* -diff\n", "a.yaml", "a\n")),
		"has a file attestations.jsonl": entry(t, "staging", 1, tree("a.yaml", "a\n", "attestations.jsonl", "{}\n")),
		"what was signed says":          other,
	} {
		f := newForge(t)
		if _, err := f.writer(t).Write(t.Context(), []ledger.Change{hydrated(c)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if got := testworld.Git(t, f.bare, "for-each-ref"); got != "" {
			t.Errorf("%s: pushed %s", want, got)
		}
	}
}

// A person who can push to a branch can write its metadata, which reasons show to people.
func TestHostileMetadata(t *testing.T) {
	t.Parallel()
	for release, ok := range map[string]bool{
		"git-" + testworld.CommitID(1):          true,
		"git-1\nweb/production: promoted git-2": false,
		"git-1\x1b[2K":                          false,
		strings.Repeat("a", 5000):               false,
	} {
		data, err := json.Marshal(ledger.Metadata{Lockage: ledger.Facts{
			Claim: sign.Claim{Release: release}, Artifact: "registry.example.com/web@" + string(digest.FromString("x")),
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, ours := ledger.ParseMetadata(data); ours != ok {
			t.Errorf("%.40q: %v", release, ours)
		}
	}
}

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte(`{"drySha":"x","lockage":{"artifact":"r@sha256:` + strings.Repeat("a", 64) + `"}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, ours := ledger.ParseMetadata(data)
		if ours && !strings.Contains(m.Lockage.Artifact, "@sha256:") && !slices.Contains([]string{"sha384", "sha512"}, digest.Digest(strings.SplitN(m.Lockage.Artifact, "@", 2)[1]).Algorithm().String()) {
			t.Errorf("accepted %+v", m)
		}
	})
}

// A .gitattributes that is not the writer's changes how the files around it are checked out and shown: it is not one beside the
// artifact, but one too many.
func TestAttributesByHand(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	e := entry(t, "production", 1, tree("a.yaml", "a\n"))
	e.Attributes = true
	write(t, f.writer(t), e)
	if got := check(t, f.remote(t), e); got != "[]" {
		t.Fatalf("as written: %s", got)
	}
	dir := f.clone(t, "stage/production")
	name := filepath.Join(dir, e.Path, ".gitattributes")
	if err := os.WriteFile(name, []byte("*.yaml -diff ident\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	commitAndPush(t, dir, "attributes")
	if got := check(t, f.remote(t), e); got != "[added .gitattributes]" {
		t.Errorf("edited: %s", got)
	}
	if got := write(t, f.writer(t), e); !got[0].Written {
		t.Error("left as it is")
	}
	if got := check(t, f.remote(t), e); got != "[]" {
		t.Errorf("written anew: %s", got)
	}
	testworld.Git(t, dir, "pull", "-q")
	testworld.Git(t, dir, "rm", "-q", e.Path+"/.gitattributes")
	commitAndPush(t, dir, "no attributes")
	if got := check(t, f.remote(t), e); got != "[removed .gitattributes]" {
		t.Errorf("removed: %s", got)
	}
	write(t, f.writer(t), e)
	if got := check(t, f.remote(t), e); got != "[]" {
		t.Errorf("written anew after it was removed: %s", got)
	}
}

// A submodule names a commit of another repository: the branch does not have what has the same id.
func TestSubmoduleWithTheIDOfAFile(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	e := entry(t, "staging", 1, tree("deployment-web.yaml", "replicas: 1\n"))
	write(t, f.writer(t), e)
	dir := f.clone(t, "stage/staging")
	next := "replicas: 2\n"
	testworld.Git(t, dir, "update-index", "--add", "--cacheinfo", fmt.Sprintf("160000,%s,%s/sub", git.BlobID([]byte(next)), e.Path))
	testworld.Git(t, dir, "commit", "-q", "-m", "Add a submodule")
	testworld.Git(t, dir, "push", "-q", "origin", "HEAD")
	e = entry(t, "staging", 2, tree("deployment-web.yaml", next))
	write(t, f.writer(t), e)
	if got := check(t, f.remote(t), e); got != "[]" {
		t.Error(got)
	}
}
