package publish

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// pkg is a package of one document.
type pkg struct {
	text    string
	renders *atomic.Int32
}

func (p pkg) Inputs() []hydrate.Input {
	return []hydrate.Input{{Path: "chart", SHA256: sha256.Sum256([]byte(p.text))}}
}

func (p pkg) Render(context.Context, hydrate.Request) (hydrate.Rendered, error) {
	p.renders.Add(1)
	return hydrate.Rendered{Manifests: []hydrate.Manifest{{Source: "t.yaml", Document: 1, Data: []byte(p.text)}}}, nil
}

// linear is a policy ref with a linear history.
type linear struct{ testworld.History }

func (linear) URL() string { return "https://github.com/acme/gitops.git" }
func (linear) Commit(context.Context, string) (git.Commit, error) {
	return git.Commit{}, git.ErrNotFound
}
func (t linear) Tip() string                        { return t.History[len(t.History)-1] }
func (linear) Files(context.Context) (fs.FS, error) { return nil, errors.New("no files") }
func (linear) Releases(context.Context, fs.FS, string) iter.Seq2[string, error] {
	return func(func(string, error) bool) {}
}
func (linear) Since(context.Context, string, string) ([]string, error) { return nil, nil }

func (linear) Newer(context.Context, string, string) (string, error) { return "", nil }

// world is a registry, a Git repository that has the ledger, a hydrator's key and a policy ref.
type world struct {
	*testworld.Registry
	t       *testing.T
	bare    string
	key     *sign.Key
	ref     linear
	renders atomic.Int32
}

func newWorld(t *testing.T, options registry.Options) *world {
	t.Helper()
	return &world{Registry: testworld.NewRegistry(t, options), t: t, bare: testworld.Bare(t, ""), key: testworld.Key(t), ref: linear{history}}
}

// history are the GitOps commits g(1) to g(4).
var history = testworld.History{g(1), g(2), g(3), g(4)}

func g(n int) string { return testworld.CommitID(n) }

// before calls functions, each once and in order, before requests that have a method and a part of the path.
func (w *world) before(method, part string, do ...func()) {
	var mu sync.Mutex
	w.Before(func(r *http.Request) {
		mu.Lock()
		if r.Method != method || !strings.Contains(r.URL.Path, part) || len(do) == 0 {
			mu.Unlock()
			return
		}
		first := do[0]
		do = do[1:]
		mu.Unlock()
		first()
	})
}

func (w *world) repository() *oci.Repository { return w.Repository(w.t, "app") }

const (
	commit  = "0123456789abcdef0123456789abcdef01234567"
	release = "git-" + commit
	image   = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)

// job hydrates the stage production from GitOps commit gitops, where the chart's value is the given one.
func (w *world) job(gitops, value string) *stage {
	w.t.Helper()
	l := testworld.Lock(commit)
	text := fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {value: %q, image: %q}\n", value, image)
	repository := w.repository()
	return &stage{
		Stage: plan.Stage{
			Stage: hydrate.Stage{
				Pipeline: "app", Name: "production", Lock: lock.File{Lock: l, Path: "locks/current.yaml", Digest: digest.FromBytes(lock.Format(l))}, Renderer: "test v1",
				Package: pkg{text, &w.renders}, Options: hydrate.Options{Layout: hydrate.PerObject},
			},
			Declared: pipeline.Expanded{Ledger: pipeline.Ledger{Candidates: "candidates/app"}},
		},
		run: &run{
			Options: Options{Environment: Environment{
				Version: "test",
				Warn:    func(string) {},
				Step:    func(string) {},
				Random:  func(int64) int64 { return 0 },
			}},
			head:      gitops,
			tip:       gitops,
			policyRef: w.ref,
			renders:   make(chan struct{}, 1),
		},
		release:    &plan.Release{Pipeline: &pipeline.Pipeline{File: "lockage.yaml"}, SourceURL: l.Packaging.SourceRepo, Committed: time.Date(2026, 3, 22, 12, 34, 56, 0, time.UTC)},
		into:       &Release{},
		repository: repository,
		store:      NewStore(repository, false),
		open:       func(context.Context) (sign.Signer, error) { return w.key, nil },
		hydrator:   verify.Keys{Verifier: testworld.Verifier(w.t, "hydrator", w.key)},
		ledger:     testworld.Remote(w.t, w.bare),
	}
}

// try publishes a stage.
func try(t *testing.T, s *stage) (Stage, error) {
	s.run.stages(t.Context(), []*stage{s})
	return s.result, s.result.Err
}

// run publishes and expects an action.
func (w *world) run(job *stage, want Action) Stage {
	w.t.Helper()
	out, err := try(w.t, job)
	if err != nil {
		w.t.Fatal(err)
	}
	if out.Action != want {
		w.t.Fatalf("action is %s, want %s (%v)", out.Action, want, job.warnings)
	}
	return out
}

// candidate is the digest that the candidate's tag names; "" for none.
func (w *world) candidate() string {
	w.t.Helper()
	desc, err := w.repository().Resolve(w.t.Context(), oci.CandidateTag("production", release))
	if errors.Is(err, oci.ErrNotFound) {
		return ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return desc.Digest.String()
}

// requireVerified fails unless the candidate passes every check that rests on the hydrator's statements.
func (w *world) requireVerified(job *stage) {
	w.t.Helper()
	r := w.repository()
	desc, err := r.Resolve(w.t.Context(), oci.CandidateTag("production", release))
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := verify.Hydration(w.t.Context(), r, desc, job.hydrator, job.run.policyRef)
	if err != nil {
		w.t.Fatal(err)
	}
	claim := sign.Claim{Pipeline: "app", Stage: "production", Release: release, Repository: r.Name()}
	if v := policy.Hydrated(verify.Expect(job.Lock, claim), h); v.Result() != policy.Pass {
		w.t.Fatalf("the candidate does not verify: %s", v.Reason())
	}
}

func TestSecondRunIsUnchangedAndRendersNothing(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]registry.Options{"referrers": {}, "fallback": {WithoutReferrers: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options)
			first := w.run(w.job(g(1), "a"), Pushed)
			second := w.run(w.job(g(1), "a"), Unchanged)
			if first.Digest != second.Digest || first.Digest.String() != w.candidate() {
				t.Errorf("digests differ: %s, %s, candidate %s", first.Digest, second.Digest, w.candidate())
			}
			if second.Objects != 1 {
				t.Errorf("the unchanged run reports %d objects, want 1", second.Objects)
			}
			if n := w.renders.Load(); n != 1 {
				t.Errorf("%d renders, want 1", n)
			}
			w.requireVerified(w.job(g(1), "a"))
		})
	}
}

func TestOlderGitOpsCommitNeverReplacesNewerCandidate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	newer := w.run(w.job(g(2), "new"), Pushed)
	out := w.run(w.job(g(1), "old"), Superseded)
	if out.Digest != newer.Digest || w.candidate() != newer.Digest.String() {
		t.Errorf("candidate is %s, want %s", w.candidate(), newer.Digest)
	}
	if n := w.renders.Load(); n != 1 {
		t.Errorf("%d renders, want 1: what is superseded is not rendered", n)
	}
}

// The older hydration looked before the newer one wrote, and comes to the ledger last.
func TestOlderHydrationThatIsRecordedLastYields(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	var newer Stage
	w.before(http.MethodPut, ".sig", func() { newer = w.run(w.job(g(2), "new"), Pushed) })
	out := w.run(w.job(g(1), "old"), Superseded)
	if w.candidate() != newer.Digest.String() || out.Digest != newer.Digest {
		t.Errorf("candidate is %s, want the newer %s", w.candidate(), newer.Digest)
	}
}

// The older hydration is recorded before the newer one, and tags last: it has to give the tag back. A run that gives a tag back may
// be late in turn: an even newer one was recorded meanwhile.
func TestOlderHydrationThatTagsLastYields(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	var newest Stage
	w.before(http.MethodPut, "/"+oci.CandidateTag("production", release),
		func() { w.run(w.job(g(2), "newer"), Pushed) },
		func() {}, // that of g(2)
		func() { newest = w.run(w.job(g(3), "newest"), Pushed) },
	)
	out := w.run(w.job(g(1), "old"), Superseded)
	if w.candidate() != newest.Digest.String() || out.Digest != newest.Digest {
		t.Errorf("candidate is %s, want the newest %s", w.candidate(), newest.Digest)
	}
}

// A registry writer who sets a tag back changes nothing for long.
func TestTagThatWasSetBackFollowsTheLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	old := w.run(w.job(g(1), "old"), Pushed)
	newer := w.run(w.job(g(2), "new"), Pushed)
	desc, err := w.repository().Resolve(t.Context(), old.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	testworld.Tag(t, w.repository(), desc, oci.CandidateTag("production", release))
	w.run(w.job(g(2), "new"), Pushed)
	if w.candidate() != newer.Digest.String() {
		t.Errorf("candidate is %s, want %s", w.candidate(), newer.Digest)
	}
}

// The run read the policy ref before the commit that a newer run hydrated came there.
func TestHydrationOfACommitThatTheRunDoesNotKnow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	newer := w.run(w.job(g(3), "new"), Pushed)
	old := w.job(g(2), "old")
	old.run.policyRef = linear{history[:2]}
	old.run.policy = func(context.Context) (policyRef, error) { return w.ref, nil }
	if out := w.run(old, Superseded); out.Digest != newer.Digest || w.candidate() != newer.Digest.String() {
		t.Errorf("candidate is %s, want the newer %s", w.candidate(), newer.Digest)
	}
	if got := testworld.Git(t, w.bare, "rev-list", "--count", "candidates/app"); got != "1" {
		t.Errorf("%s commits: it was replaced for a moment", got)
	}
}

// The registry lost an artifact with its tags: the ledger has what was signed, and no key is needed.
func TestWhatTheRegistryLostComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{Deletes: true})
	first := w.run(w.job(g(1), "a"), Pushed)
	if err := w.repository().DeleteManifest(t.Context(), first.Digest); err != nil {
		t.Fatal(err)
	}
	if w.candidate() != "" {
		t.Fatal("nothing is lost")
	}
	again := w.job(g(2), "a")
	again.open = func(context.Context) (sign.Signer, error) { return nil, errors.New("asked for a key") }
	if out := w.run(again, Pushed); out.Digest != first.Digest || w.candidate() != first.Digest.String() {
		t.Errorf("candidate is %s, want %s", w.candidate(), first.Digest)
	}
	w.requireVerified(again)
	w.run(w.job(g(2), "a"), Unchanged)
}

// The tip keeps the newest releases, and all that are not older than what is live.
func TestNewest(t *testing.T) {
	t.Parallel()
	var all []string
	for n := range 2 * ledger.MaxCandidates {
		all = append(all, fmt.Sprint(n))
	}
	order := func(yield func(string, error) bool) {
		for _, id := range all {
			if !yield(id, nil) {
				return
			}
		}
	}
	for live, test := range map[string]struct{ newer, want int }{"": {0, 20}, "3": {3, 20}, "30": {30, 31}, "a hotfix": {1, 20}} {
		got, err := newest(order, all, "5", live, test.newer)
		if err != nil || len(got) != test.want || !slices.Contains(got, "5") || !slices.Contains(got, "0") || live != "" && !slices.Contains(got, live) {
			t.Errorf("live %q: kept %d, want %d: %v, %v", live, len(got), test.want, got, err)
		}
	}
}

func TestRevertedInputsAreNewerThanWhatTheyRevert(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	first := w.run(w.job(g(1), "a"), Pushed)
	w.run(w.job(g(2), "b"), Pushed)
	again := w.run(w.job(g(3), "a"), Pushed)
	if again.Digest != first.Digest || w.candidate() != first.Digest.String() {
		t.Fatalf("candidate is %s, want %s", w.candidate(), first.Digest)
	}
	w.run(w.job(g(2), "b"), Superseded)
	if w.candidate() != first.Digest.String() {
		t.Errorf("the reverted commit took the candidate back")
	}
}

func TestCandidateOfThePolicyRefsTipStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	first := w.run(w.job(g(1), "a"), Pushed)
	w.run(w.job(g(3), "a"), Unchanged) // g3 led back to g1's inputs
	late := w.job(g(2), "b")
	late.tipInput = w.job(g(3), "a").InputDigest()
	w.run(late, Superseded)
	if w.candidate() != first.Digest.String() {
		t.Errorf("a commit between took the candidate")
	}
}

func TestUnsignedCandidateIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	unsigned := w.job(g(4), "evil")
	other := testworld.Key(t)
	unsigned.open = func(context.Context) (sign.Signer, error) { return other, nil }
	unsigned.hydrator = verify.Keys{Verifier: testworld.Verifier(t, "hydrator", other)}
	if _, err := try(t, unsigned); err != nil {
		t.Fatal(err)
	}
	evil := w.candidate()
	good := w.run(w.job(g(1), "a"), Pushed)
	if w.candidate() == evil || w.candidate() != good.Digest.String() {
		t.Errorf("candidate is %s: an artifact that the hydrator did not sign kept the tag", w.candidate())
	}
}

func TestConcurrentHydrationsEndWithTheNewest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{WithoutReferrers: true})
	jobs := []*stage{w.job(g(1), "a"), w.job(g(2), "b"), w.job(g(3), "c"), w.job(g(4), "d"), w.job(g(4), "d")}
	var group sync.WaitGroup
	outs := make([]Stage, len(jobs))
	errs := make([]error, len(jobs))
	for i, job := range jobs {
		group.Go(func() { outs[i], errs[i] = try(t, job) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if w.candidate() != outs[3].Digest.String() {
		t.Errorf("candidate is %s, want that of the newest commit, %s", w.candidate(), outs[3].Digest)
	}
	w.requireVerified(jobs[3])
}

// A run that ends before any one of its writes leaves no tag at something unsigned, and the next run ends as an
// undisturbed one would.
func TestInterruptedAtEveryWrite(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]registry.Options{"referrers": {}, "fallback": {WithoutReferrers: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := int64(0); ; at++ { // before the first one, the push
				w := newWorld(t, options)
				job := w.job(g(1), "a")
				if at == 0 {
					testworld.Hook(t, w.bare, "pre-receive", "exit 1")
				} else {
					w.RefuseWrites(at)
				}
				_, err := try(t, job)
				w.Intercept(nil)
				testworld.Hook(t, w.bare, "pre-receive", "exit 0")
				if err == nil {
					if at < 10 {
						t.Fatalf("only %d writes were seen: the test interrupts nothing", at-1)
					}
					return
				}
				if w.candidate() != "" {
					w.requireVerified(job)
				}
				out, err := try(t, w.job(g(1), "a"))
				if err != nil {
					t.Fatalf("after an end before write %d: %v", at, err)
				}
				if w.candidate() != out.Digest.String() {
					t.Fatalf("after an end before write %d the candidate is %q, want %s", at, w.candidate(), out.Digest)
				}
				w.requireVerified(job)
				w.run(w.job(g(1), "a"), Unchanged)
			}
		})
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	w.RefuseWrites(1)
	job := w.job(g(1), "a")
	job.run.DryRun, job.store.dry = true, true
	dry := w.run(job, Pushed)
	w.Intercept(nil)
	if w.candidate() != "" {
		t.Error("a dry run left a tag")
	}
	if wet := w.run(w.job(g(1), "a"), Pushed); wet.Digest != dry.Digest {
		t.Errorf("the dry run says %s, the run %s", dry.Digest, wet.Digest)
	}
}

func TestOtherBytesForTheSameInputsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	w.run(w.job(g(1), "a"), Pushed)
	before := w.candidate()
	job := w.job(g(1), "a")
	job.Package = lying{job.Package}
	job.yielded = true // so that it renders
	_, err := try(t, job)
	if err == nil || !strings.Contains(err.Error(), "not deterministic") {
		t.Errorf("error is %v, want one that speaks of determinism", err)
	}
	if w.candidate() != before {
		t.Error("the candidate moved")
	}
}

// Two renders of the same inputs that are not the same meet: the one whose tag stands first is the hydration.
func TestTwinThatRenderedOtherBytesAdoptsTheFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	job := w.job(g(1), "a")
	job.Package = lying{job.Package}
	var first Stage
	w.before(http.MethodPut, ".sig", func() { first = w.run(w.job(g(1), "a"), Pushed) })
	out := w.run(job, Pushed)
	if out.Digest != first.Digest || w.candidate() != first.Digest.String() {
		t.Errorf("candidate is %s, outcome %s, want the first, %s", w.candidate(), out.Digest, first.Digest)
	}
}

func TestRunningAnOlderReleaseAgainLeavesTheImagesTag(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	w.run(w.job(g(1), "a"), Pushed)
	later := w.job(g(2), "a")
	later.Lock.GitCommit = strings.Repeat("f", 40)
	later.Lock.ReleaseID = "git-" + later.Lock.GitCommit
	newest := w.run(later, Pushed)
	w.run(w.job(g(3), "a"), Unchanged)
	desc, err := w.repository().Resolve(t.Context(), oci.TagsOf("production", image, release, later.InputDigest()).Image)
	if err != nil || desc.Digest != newest.Digest {
		t.Errorf("the image's tag is %s (%v), want the later release's %s", desc.Digest, err, newest.Digest)
	}
}

// lying renders something else for the same inputs.
type lying struct{ hydrate.Package }

func (lying) Render(context.Context, hydrate.Request) (hydrate.Rendered, error) {
	text := fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {image: %q, other: x}\n", image)
	return hydrate.Rendered{Manifests: []hydrate.Manifest{{Source: "t.yaml", Document: 1, Data: []byte(text)}}}, nil
}

func TestWrongKeyIsNoticedBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	job := w.job(g(1), "a")
	wrong := errors.New("wrong password")
	job.open = func(context.Context) (sign.Signer, error) { return nil, wrong }
	if _, err := try(t, job); !errors.Is(err, wrong) {
		t.Errorf("error is %v", err)
	}
	if n := w.Writes(); n != 0 {
		t.Errorf("%d writes were made before the key was opened", n)
	}
}
