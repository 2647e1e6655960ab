package model

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
)

const (
	staging    = "staging"
	production = "production"
	artifacts  = "registry.test/acme/web"
	candidates = "candidates/web"
)

// stages are in the order of promotion. Histories may rename them; here they keep these names.
var stages = []string{staging, production}

// pipelineFile is the pipeline file. What histories change is put in by [declared].
const pipelineFile = `apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: NAME
lock: locks
artifacts: ARTIFACTS
MIRRORrender:
  releaseName: web
  kubeVersion: "1.34"
  values: ["values/{stage}.yaml"]
  set: {image: "{image}"}
sign:
  hydrator: {key: HYDRATOR}
  promoter: {key: PROMOTER}
identities:
  hydrator: {key: keys/hydrator.pub}
  promoter: {key: keys/promoter.pub}
  sre: {key: keys/sre.pub}
stages:
  - {name: STAGING, auto: true}
  - {name: PRODUCTION, auto: true, after: [STAGING]GATES}
`

// texts are what the application's source says, by release: two releases in a row may be alike.
var texts = []string{"one", "two", "two", "three", "four", "four", "five", "six"}

// shared is what all histories start from.
type shared struct {
	source  string   // a bare repository with a commit for each text
	commits []string // of it
	origin  string   // the GitOps repository, with keys alone
	clone   string   // of it
	keys    string   // a folder with private keys
	public  map[string]string
	sre     *sign.Key
	stolen  []*sign.Key // the promoter's, by generation
}

func newShared(t testing.TB) *shared {
	t.Helper()
	s := &shared{source: testworld.Bare(t, ""), origin: testworld.Bare(t, ""), keys: t.TempDir(), public: map[string]string{}}
	source := testworld.Remote(t, s.source)
	for i, text := range texts {
		commit := change(t, source, "main", git.NewCommit{Message: fmt.Sprint("release ", i)}, map[string]string{"chart/app.txt": text})
		s.commits = append(s.commits, string(commit))
	}
	s.sre = s.makeKey(t, "sre")
	for i := range generations {
		s.stolen = append(s.stolen, s.makeKey(t, keyName("promoter", i)))
		s.makeKey(t, keyName("hydrator", i))
	}
	files := s.publicKeys(first)
	files["keys/sre.pub"] = s.public["sre"]
	head := change(t, testworld.Remote(t, s.origin), "main", git.NewCommit{Message: "keys"}, files)
	s.clone = filepath.Join(t.TempDir(), "clone")
	testworld.Git(t, filepath.Dir(s.clone), "init", "-q", "--bare", s.clone)
	setRef(t, s.clone, "main", head)
	return s
}

// makeKey makes a pair of keys.
func (s *shared) makeKey(t testing.TB, name string) *sign.Key {
	t.Helper()
	pair, err := testworld.KeyPair()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.keys, name+".key")
	if err := os.WriteFile(file, pair.Private, 0o600); err != nil {
		t.Fatal(err)
	}
	s.public[name] = string(pair.Public)
	key, err := sign.OpenKey(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// change pushes a commit with these files on top of a branch.
func change(t testing.TB, remote *git.Remote, branch string, commit git.NewCommit, files map[string]string) git.Hash {
	t.Helper()
	tips, err := remote.Tips(t.Context(), branch)
	if err != nil {
		t.Fatal(err)
	}
	draft, err := remote.Draft(t.Context(), tips[branch])
	if err != nil {
		t.Fatal(err)
	}
	put(t, draft, commit, files)
	if err := remote.Push(t.Context(), git.Update{Branch: branch, Draft: draft}); err != nil {
		t.Fatal(err)
	}
	return draft.Head()
}

// put adds a commit with these files to a draft.
func put(t testing.TB, draft *git.Draft, commit git.NewCommit, files map[string]string) {
	t.Helper()
	commit.By = git.Signature{Name: "Ada", Email: "ada@acme.example"}
	for name, text := range files {
		if err := draft.Put(t.Context(), path.Dir(name), map[string][]byte{path.Base(name): []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := draft.Commit(commit); err != nil {
		t.Fatal(err)
	}
}

// setRef points a branch of a bare repository at a commit, "" for none, as a person who may force a push can.
func setRef(t testing.TB, bare, branch string, commit git.Hash) {
	t.Helper()
	file := filepath.Join(bare, "refs", "heads", filepath.FromSlash(branch))
	err := os.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if commit != "" {
		err = errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(commit+"\n"), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// world is a GitOps repository with its ledger, and a registry. Both run in this process but for Git's receive-pack.
type world struct {
	*shared
	t      testing.TB
	bare   string // the GitOps repository
	remote *git.Remote
	dir    string // a clone, with the first commit checked out
	store  *store
	space  *workspace.Workspace
	now    time.Time
	declared

	readers map[string]live.Stage // at a tip of the policy ref
	read    git.Hash              // that tip
}

func newWorld(t testing.TB, s *shared, mirror string, quirks ...string) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{
		shared: s, t: t, bare: filepath.Join(dir, "gitops.git"), dir: filepath.Join(dir, "clone"), declared: first,
		store: newStore(t, quirks), now: time.Date(2026, 3, 22, 12, 0, 0, 0, time.UTC),
	}
	w.mirror = mirror
	for from, to := range map[string]string{s.origin: w.bare, s.clone: w.dir} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	config, err := os.OpenFile(filepath.Join(w.dir, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer config.Close()
	if _, err := fmt.Fprintf(config, "[remote \"origin\"]\n\turl = %s\n", w.bare); err != nil {
		t.Fatal(err)
	}
	w.remote = testworld.Remote(t, w.bare)
	if w.space, err = workspace.Open(t.Context(), w.dir, git.Options{Dir: w.dir, Environ: testworld.Environ(), Warn: func(string) {}}, policy.Kinds()); err != nil {
		t.Fatal(err)
	}
	return w
}

// tick advances the clock.
func (w *world) tick() time.Time {
	w.now = w.now.Add(time.Second)
	return w.now
}

// head returns the tip of a branch; "" if it does not exist.
func (w *world) head(branch string) git.Hash {
	w.t.Helper()
	tips, err := w.remote.Tips(w.t.Context(), branch)
	if err != nil {
		w.t.Fatal(err)
	}
	return tips[branch]
}

// commit pushes files to the policy ref.
func (w *world) commit(message string, files map[string]string) git.Hash {
	w.t.Helper()
	return change(w.t, w.remote, "main", git.NewCommit{Message: message, When: w.tick()}, files)
}

// merge pushes what `git pull` makes of a commit on an older tip: its first parent is that commit, its second one the tip.
func (w *world) merge(older git.Hash, files, all map[string]string) git.Hash {
	w.t.Helper()
	tip := w.head("main")
	draft, err := w.remote.Draft(w.t.Context(), older)
	if err != nil {
		w.t.Fatal(err)
	}
	put(w.t, draft, git.NewCommit{Message: "local", When: w.tick()}, files)
	put(w.t, draft, git.NewCommit{Message: "Merge branch main", When: w.tick(), Merged: []git.Hash{tip}}, all)
	draft.MovesFrom(tip)
	if err := w.remote.Push(w.t.Context(), git.Update{Branch: "main", Draft: draft}); err != nil {
		w.t.Fatal(err)
	}
	return draft.Head()
}

// release returns the id of a release.
func (w *world) release(n int) string { return "git-" + w.commits[n] }

// number returns the release of an id.
func (w *world) number(release string) int {
	w.t.Helper()
	for n := range w.commits {
		if w.release(n) == release {
			return n
		}
	}
	w.t.Fatalf("release %q was never made", release)
	return 0
}

// locks returns the files of a lock directory that a release writes.
func (w *world) locks(n int) map[string]string {
	text := string(lock.Format(lock.Lock{
		SchemaVersion: lock.SchemaVersion,
		ReleaseID:     w.release(n),
		GitCommit:     w.commits[n],
		Image:         lock.Image{Ref: "registry.test/acme/app:v1", Digest: testworld.Image},
		Packaging:     lock.Packaging{Kind: lock.Helm, SourceRepo: w.source, SourcePath: "chart"},
		CreatedAt:     w.tick().Format(time.RFC3339),
	}))
	return map[string]string{"locks/current.yaml": text, "locks/" + w.release(n) + ".yaml": text}
}

// valuesFile returns the values file of a stage in a version.
func (d declared) valuesFile(stage string, version int) map[string]string {
	return map[string]string{"values/" + d.name(stage) + ".yaml": fmt.Sprintf("version: %d\n", version)}
}

// content is what an artifact shows.
func content(a artifact) string {
	return fmt.Sprintf("%s version: %d", texts[a.release], a.values)
}

// renderer renders one object, which says what it was made of.
type renderer struct{}

func (renderer) Version(hydrate.Options) string { return "test v1" }
func (renderer) Overlays() bool                 { return false }

func (renderer) Open(_ context.Context, s hydrate.Source) (hydrate.Package, error) {
	text, err := fs.ReadFile(s.Files, path.Join(s.Path, "app.txt"))
	return chart(text), err
}

type chart []byte

func (c chart) Inputs() []hydrate.Input {
	return []hydrate.Input{{Path: "app.txt", SHA256: sha256.Sum256(c)}}
}

func (c chart) Render(_ context.Context, r hydrate.Request) (hydrate.Rendered, error) {
	says, err := json.Marshal(string(c) + " " + strings.TrimSpace(string(r.Values[0].Data)))
	data := fmt.Appendf(nil, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata:\n  says: %s\n  image: %s\n", says, r.Set[0].Value)
	return hydrate.Rendered{Manifests: []hydrate.Manifest{{Source: "app.yaml", Document: 1, Data: data}}}, err
}

// says returns what a folder on a branch shows.
func says(ctx context.Context, remote *git.Remote, at ledger.Place, commit git.Hash) (string, error) {
	files, err := ledger.Files(ctx, remote, commit, at.Path)
	if err != nil || files == nil {
		return "", err
	}
	return sayings(files)
}

// sayings returns what the only object among files says.
func sayings(files fs.FS) (string, error) {
	var text []byte
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		text = append(text, data...)
		return err
	})
	_, rest, _ := strings.Cut(string(text), "says: ")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Trim(line, `"'`), err
}

// environment is a process of its own, but for the configuration of git: all read the same.
func (w *world) environment() publish.Environment {
	return publish.Environment{
		Workspace: w.space,
		Client:    w.store.client(),
		Keys:      sign.NewKeyring(sign.PasswordFromEnv(nil)),
		Version:   "test",
		Now:       w.tick,
		Random:    func(int64) int64 { return 0 },
		Warn:      func(string) {},
		Step:      func(string) {},
	}
}

// registry is the artifact repository.
func (w *world) registry() *oci.Repository {
	w.t.Helper()
	repository, err := w.store.client().Repository(w.repository)
	if err != nil {
		w.t.Fatal(err)
	}
	return repository
}

// reader is [world.stage] in a process that reads alone.
func (w *world) reader(name string) live.Stage {
	w.t.Helper()
	if tip := w.head("main"); w.read != tip {
		w.read, w.readers = tip, map[string]live.Stage{}
		e := w.environment()
		for _, s := range stages {
			w.readers[s] = w.stage(e, s)
		}
	}
	return w.readers[name]
}

// stage is where a stage's state is kept, for a reader who trusts only the policy ref.
func (w *world) stage(e publish.Environment, name string) live.Stage {
	w.t.Helper()
	ref, err := e.Workspace.Policy(w.t.Context(), "", e.Warn)
	if err != nil {
		w.t.Fatal(err)
	}
	files, err := ref.Files(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	pipelines, err := e.Workspace.Pipelines(files, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	current, err := lock.Current(files, "locks")
	if err != nil {
		w.t.Fatal(err)
	}
	expanded, err := pipelines[0].Expand(w.name(name), current.Lock, files)
	if err != nil {
		w.t.Fatal(err)
	}
	stage, err := live.Open(w.t.Context(), files, ref, expanded, e.Client, e.Workspace.Repository)
	if err != nil {
		w.t.Fatal(err)
	}
	return stage
}
