package model

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

var (
	releases = flag.Int("releases", 0, "releases in the history of TestGrowth (default: few)")
	width    = flag.Int("width", 4, "stages of TestGrowth")
	depth    = flag.Int("depth", 0, "depth of the clones of TestGrowth (default: all of the policy ref)")
)

const (
	// signed is how many of the promotions below the newest are whole: no reader goes further back.
	signed = 550
	// listed is what a release may cost in shallow clones, in bytes: its place in the lock directory, as some commits had it.
	listed = 200
	// filled is the first time of the history.
	filled = 1_700_000_000
)

// grown is a pipeline with a long history: of locks on the policy ref, of candidates, and of promotions in every stage.
type grown struct {
	*shared
	t      *testing.T
	bare   string
	url    string
	store  *store
	stages []string
	n      int
	now    time.Time
	bytes  atomic.Int64 // that the Git server sent
	trips  atomic.Int64
}

// TestGrowth measures what the commands of a fresh clone fetch of the ledger after few releases and after many: the same. A shallow clone
// has not the folders of earlier commits of the policy ref.
func TestGrowth(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("makes long histories")
	}
	many := *releases
	if many == 0 {
		many = 300
	}
	s := newShared(t)
	few := newGrown(t, s, 30, *width).measure()
	for i, m := range newGrown(t, s, many, *width).measure() {
		t.Logf("%-8s %7d bytes in %3d requests after 30 releases, %7d bytes in %3d requests after %d, %d stages",
			m.verb, few[i].bytes, few[i].trips, m.bytes, m.trips, many, *width)
		allowed := few[i].bytes * 5 / 4
		if *depth > 0 {
			allowed += int64(listed * many)
		}
		if m.bytes > allowed || m.trips > few[i].trips*5/4+3 { // concurrent reads share some requests
			t.Errorf("%s fetches more after more releases", m.verb)
		}
	}
}

func newGrown(t *testing.T, s *shared, n, width int) *grown {
	t.Helper()
	g := &grown{shared: s, t: t, bare: filepath.Join(t.TempDir(), "gitops.git"), store: newStore(t, nil), n: n}
	for i := range width {
		g.stages = append(g.stages, fmt.Sprintf("s%02d", i))
	}
	if err := os.CopyFS(g.bare, os.DirFS(s.origin)); err != nil {
		t.Fatal(err)
	}
	backend := testworld.GitBackend(filepath.Dir(g.bare))
	g.url = testworld.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.trips.Add(1)
		backend.ServeHTTP(counting{w, &g.bytes}, r)
	})).URL + "/gitops.git"
	g.fill()
	return g
}

// counting counts the bytes of responses.
type counting struct {
	http.ResponseWriter
	bytes *atomic.Int64
}

func (c counting) Write(data []byte) (int, error) {
	c.bytes.Add(int64(len(data)))
	return c.ResponseWriter.Write(data)
}

// old returns an id of an old release.
func old(i int) string { return fmt.Sprintf("%040x", 0xabcde000000+i) }

// fill makes the history.
func (g *grown) fill() {
	g.t.Helper()
	first := first
	first.mirror = showsNext
	head, _, _ := strings.Cut(first.file(g.keys)["lockage.yaml"], "stages:\n")
	head += "stages:\n"
	values := map[string]string{}
	for i, stage := range g.stages {
		after := ", after: [" + g.stages[0] + "]"
		if i == 0 {
			after = ""
		}
		head += "  - {name: " + stage + ", auto: true" + after + "}\n"
		values["values/"+stage+".yaml"] = "version: 0\n"
	}
	values["lockage.yaml"] = head
	change(g.t, testworld.Remote(g.t, g.bare), "main", git.NewCommit{Message: "stages"}, values)

	cmd := exec.Command("git", "fast-import", "--quiet", "--force")
	cmd.Dir, cmd.Env = g.bare, testworld.Environ()
	in, err := cmd.StdinPipe()
	var out bytes.Buffer
	cmd.Stderr = &out
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		g.t.Fatal(err)
	}
	w := &stream{to: in}
	for i := range g.n {
		w.commit("main", i)
		text := g.lock(old(i), filled+i)
		w.file("locks/git-"+old(i)+".yaml", text)
		w.file("locks/current.yaml", text)
	}
	for i := range g.n {
		w.commit(candidates, i)
		for _, stage := range g.stages {
			w.file(stage+"/git-"+old(i)+".jsonl", filler(stage, i, 400))
			if i >= ledger.MaxCandidates {
				w.remove(stage + "/git-" + old(i-ledger.MaxCandidates) + ".jsonl")
			}
		}
	}
	for _, stage := range g.stages {
		for i := range g.n - signed {
			w.commit("live/web/"+stage, i)
			w.file("deploy/"+stage+"/app.yaml", filler(stage, i, 100))
			w.file("deploy/"+stage+"/attestations.jsonl", filler(stage, i, 400))
		}
	}
	if err := errors.Join(w.err, in.Close(), cmd.Wait()); err != nil {
		g.t.Fatalf("git fast-import: %v\n%s", err, &out)
	}
	g.promoted(head)
}

// filler is text of some length that no other file has.
func filler(stage string, i, n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(digest.FromString(fmt.Sprint(stage, i, b.Len())).Encoded() + "\n")
	}
	return b.String()[:n]
}

func (g *grown) lock(commit string, at int) string {
	return string(lock.Format(lock.Lock{
		SchemaVersion: lock.SchemaVersion,
		ReleaseID:     "git-" + commit,
		GitCommit:     commit,
		Image:         lock.Image{Ref: "registry.test/acme/app:v1", Digest: testworld.Image},
		Packaging:     lock.Packaging{Kind: lock.Helm, SourceRepo: g.source, SourcePath: "chart"},
		CreatedAt:     time.Unix(int64(at), 0).UTC().Format(time.RFC3339),
	}))
}

// stream is the input of git fast-import.
type stream struct {
	to  interface{ Write([]byte) (int, error) }
	err error
	on  map[string]bool
}

func (s *stream) line(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.to, format+"\n", args...)
	}
}

func (s *stream) commit(branch string, i int) {
	s.line("commit refs/heads/%s\ncommitter lockage <noreply@lockage.dev> %d +0000\ndata <<.\ncommit %d\n.", branch, filled+i, i)
	if s.on == nil {
		s.on = map[string]bool{"main": false}
	}
	if begun, known := s.on[branch]; known && !begun {
		s.line("from refs/heads/%s^0", branch)
	}
	s.on[branch] = true
}

func (s *stream) file(name, text string) {
	s.line("M 100644 inline %s\ndata %d\n%s", name, len(text), text)
}

func (s *stream) remove(name string) { s.line("D %s", name) }

// promoted puts promotions on top of each live ref, signed and one after the other. The newest is of an artifact that exists.
func (g *grown) promoted(pipeline string) {
	g.t.Helper()
	ctx := g.t.Context()
	repository, err := g.client().Repository(artifacts)
	if err != nil {
		g.t.Fatal(err)
	}
	key, err := sign.OpenKey(ctx, filepath.Join(g.keys, keyName("promoter", 0)+".key"), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	remote := testworld.Remote(g.t, g.bare)
	tip, _, err := remote.Tip(ctx, "main")
	if err != nil {
		g.t.Fatal(err)
	}
	last := testworld.Push(g.t, repository, fstest.MapFS{"app.yaml": {Data: []byte("kind: ConfigMap\n")}}, nil)
	for _, stage := range g.stages {
		branch := "live/web/" + stage
		tips, err := remote.Tips(ctx, branch)
		if err != nil {
			g.t.Fatal(err)
		}
		draft, err := remote.Draft(ctx, tips[branch])
		if err != nil {
			g.t.Fatal(err)
		}
		record := predicate.Promotion{Action: predicate.Promoted, Beside: predicate.Nothing, Policy: predicate.Policy{
			Ref: "origin@main", Commit: string(tip), File: "lockage.yaml", Digest: digest.FromString(pipeline),
		}}
		for i := max(0, g.n-signed); i < g.n; i++ {
			digests := oci.Digests{Digest: digest.FromString(fmt.Sprint(stage, i)), Content: digest.FromString(fmt.Sprint("content", stage, i))}
			if i == g.n-1 {
				digests = oci.Digests{Digest: last.Descriptor.Digest, Content: last.ContentDigest}
			}
			record.Claim = sign.Claim{Pipeline: "web", Stage: stage, Release: "git-" + old(i), Repository: artifacts}
			record.To = predicate.Artifact{Release: record.Release, Digests: digests}
			record.Time = time.Unix(int64(filled+i), 0)
			record.Sequence, record.Parent, record.Nonce = i-max(0, g.n-signed)+1, string(draft.Head()), "nonce"
			g.promote(ctx, draft, key, &record)
		}
		if err := remote.Push(ctx, git.Update{Branch: branch, Draft: draft}); err != nil {
			g.t.Fatal(err)
		}
	}
}

// promote adds the commit of a promotion to a draft.
func (g *grown) promote(ctx context.Context, draft *git.Draft, key *sign.Key, record *predicate.Promotion) {
	g.t.Helper()
	app := []byte(filler(record.Stage, record.Sequence, 100))
	metadata, err := json.Marshal(ledger.Metadata{DrySHA: record.Policy.Commit, Lockage: ledger.Facts{
		Claim: sign.Claim{Pipeline: "web", Stage: record.Stage, Release: record.Release}, Artifact: artifacts + "@" + record.To.Digest.String(),
		Content: record.To.Content,
	}})
	if err != nil {
		g.t.Fatal(err)
	}
	files := map[string]git.Blob{"app.yaml": git.NewBlob(app), ledger.MetadataFile: git.NewBlob(metadata)}
	var items []git.Item
	for name, blob := range files {
		items = append(items, git.Item{Path: name, Mode: git.ModeFile, ID: blob.ID})
	}
	tree, err := git.TreeID(items)
	if err != nil {
		g.t.Fatal(err)
	}
	record.Tree = string(tree)
	statement, err := record.Statement()
	if err != nil {
		g.t.Fatal(err)
	}
	bundle, err := sign.Sign(ctx, key, statement)
	if err != nil {
		g.t.Fatal(err)
	}
	files[ledger.StatementsFile] = git.NewBlob(append(slices.Clone(bundle.JSON), '\n'))
	if err := draft.Replace(ctx, "deploy/"+record.Stage, files); err != nil {
		g.t.Fatal(err)
	}
	put(g.t, draft, git.NewCommit{Message: "Promote", When: record.Time}, nil)
	record.Previous = bundle.Digest()
}

func (g *grown) client() *oci.Client {
	return oci.NewClient(oci.Options{Transport: g.store, MaxRetryWait: time.Millisecond})
}

// measured is what a command fetched.
type measured struct {
	verb         string
	bytes, trips int64
}

// measure releases twice, and measures what fresh clones fetch for the second one: the first makes all that is live whole.
func (g *grown) measure() []measured {
	g.t.Helper()
	g.now = time.Unix(int64(filled+g.n)+86400, 0)
	for i := range 2 {
		commit := g.commits[i]
		text := g.lock(commit, int(g.now.Unix()))
		change(g.t, testworld.Remote(g.t, g.bare), "main", git.NewCommit{Message: "release"},
			map[string]string{"locks/current.yaml": text, "locks/git-" + commit + ".yaml": text})
		g.now = g.now.Add(24 * time.Hour)
		var all []measured
		for _, verb := range []struct {
			name string
			run  func(context.Context, publish.Environment) error
		}{{"status", g.status}, {"hydrate", g.hydrate}, {"promote", g.promoteAll}} {
			extent := "--single-branch"
			if *depth > 0 {
				extent = fmt.Sprint("--depth=", *depth)
			}
			clone := testworld.Clone(g.t, g.url, extent)
			e := g.environment(clone)
			g.bytes.Store(0)
			g.trips.Store(0)
			if err := verb.run(g.t.Context(), e); err != nil {
				g.t.Fatalf("%s: %v", verb.name, err)
			}
			all = append(all, measured{verb.name, g.bytes.Load(), g.trips.Load()})
		}
		if i == 1 {
			return all
		}
	}
	return nil
}

func (g *grown) environment(clone string) publish.Environment {
	g.t.Helper()
	space, err := workspace.Open(g.t.Context(), clone, git.Options{
		Dir: clone, CacheDir: g.t.TempDir(), Environ: testworld.Environ(), Warn: func(string) {},
	}, policy.Kinds())
	if err != nil {
		g.t.Fatal(err)
	}
	return publish.Environment{
		Workspace: space,
		Client:    g.client(),
		Keys:      sign.NewKeyring(sign.PasswordFromEnv(nil)),
		Version:   "test",
		Now:       func() time.Time { return g.now },
		Random:    func(int64) int64 { return 0 },
		Warn:      func(string) {},
		Step:      func(string) {},
	}
}

func (g *grown) status(ctx context.Context, e publish.Environment) error {
	ref, err := e.Workspace.Policy(ctx, "", e.Warn)
	if err != nil {
		return err
	}
	files, err := ref.Files(ctx)
	if err != nil {
		return err
	}
	pipelines, err := e.Workspace.Pipelines(files, nil)
	if err != nil {
		return err
	}
	current, err := lock.Current(files, "locks")
	if err != nil {
		return err
	}
	for _, stage := range g.stages {
		declared, err := pipelines[0].Expand(stage, current.Lock, files)
		if err == nil {
			_, err = live.Survey(ctx, files, ref, declared, current.ReleaseID, e.Client, e.Workspace.Repository, g.now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *grown) hydrate(ctx context.Context, e publish.Environment) error {
	all, err := publish.Run(ctx, publish.Options{Environment: e, Renderers: map[lock.Kind]hydrate.Renderer{lock.Helm: renderer{}}})
	if err != nil {
		return err
	}
	err = all[0].Err
	for _, s := range all[0].Stages {
		err = errors.Join(err, s.Err)
	}
	return err
}

func (g *grown) promoteAll(ctx context.Context, e publish.Environment) error {
	all, err := promote.Promote(ctx, promote.Options{Environment: e, Ready: true})
	for _, r := range all {
		err = errors.Join(err, r.Err)
		if r.Action != promote.Promoted {
			err = errors.Join(err, fmt.Errorf("%s is %s", r.Stage, r.Action))
		}
	}
	return err
}
