package e2e

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// reviewPipeline is the demo's, with two stages whose branches people review: staging, which shows what people merge, and
// test, which promotion writes.
const reviewPipeline = `apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: codeai
lock: warehouses/codeai/builds
artifacts: REGISTRY/acme/codeai-manifests
vars: apps/codeai/deployments/{stage}/deployment.yaml
render:
  releaseName: "codeai"
  namespace: "{namespace}"
  kubeVersion: "1.34"
  values: ["apps/codeai/envTypes/{envType}.values.yaml", "apps/codeai/deployments/{stage}/values.yaml"]
  set: {image: "{image}"}
mirror:
  branch: stage/{stage}
  path: apps/codeai/deployments/{stage}/deploy
  review: pull-request
  labels: [lockage, "{stage}"]
sign:
  hydrator: {key: env://HYDRATOR_KEY}
  promoter: {key: env://PROMOTER_KEY}
identities:
  hydrator: {key: keys/hydrator.pub}
  promoter: {key: keys/promoter.pub}
stages:
  - {name: staging}
  - {name: test, mirror: {when: promote}}
`

// reviewWorld is a world whose GitOps repository is on Gitea.
type reviewWorld struct {
	*world
	repo *giteaRepo
}

func newReviewWorld(t *testing.T, g *giteaServer, bin, name string) *reviewWorld {
	t.Helper()
	return newReviewWorldOn(t, g, bin, name, startOlareg(t))
}

func newReviewWorldOn(t *testing.T, g *giteaServer, bin, name, registry string) *reviewWorld {
	t.Helper()
	w := &reviewWorld{world: newWorld(t, bin, registry), repo: g.Repo(t, name)}
	write(t, w.path("gitops", "lockage.yaml"), strings.ReplaceAll(reviewPipeline, "REGISTRY", w.registry))
	w.env = append(w.env, "LOCKAGE_FORGE=gitea", "LOCKAGE_FORGE_TOKEN="+g.Admin.Token)
	w.command("gitops", "git", "remote", "set-url", "origin", w.repo.As(g.Admin))
	w.pushGitOps("reviews")
	return w
}

// proposed is what these tests read of a stage of `hydrate -o json`.
type proposed struct {
	Stage, Action, Branch, Commit, PullRequest, Compare, Error string
}

func (w *reviewWorld) propose(stage string) proposed {
	w.t.Helper()
	result := decode[struct{ Results []struct{ Stages []proposed } }](w.t, w.command("gitops", w.bin, "hydrate", stage, "-o", "json"))
	if len(result.Results) != 1 || len(result.Results[0].Stages) != 1 {
		w.t.Fatalf("%+v", result)
	}
	return result.Results[0].Stages[0]
}

// verdict is what these tests read of a stage of `promote -o json`.
type verdict struct {
	Action, Release, Commit, Error string
	Gates                          []struct{ Gate, Result, Reason string }
	Notes                          []string
}

// judge runs promote or rollback, and wants an action of it.
func (w *reviewWorld) judge(want string, args ...string) verdict {
	w.t.Helper()
	stdout, stderr, err := w.try("gitops", w.bin, append(args, "-o", "json")...)
	var results struct{ Results []verdict }
	if jerr := json.Unmarshal([]byte(stdout), &results); jerr != nil || len(results.Results) != 1 {
		w.t.Fatalf("%s: %v %v\n%s%s", strings.Join(args, " "), err, jerr, stdout, stderr)
	}
	v := results.Results[0]
	if code := map[string]int{"denied": 3, "pending": 5, "failed": 1}[want]; v.Action != want || exitOf(err) != code {
		w.t.Fatalf("%s: %s with exit status %d, want %s with %d\n%s%s", strings.Join(args, " "), v.Action, exitOf(err), want, code, stdout, stderr)
	}
	return v
}

func exitOf(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // it comes from Run itself
		return exit.ExitCode()
	}
	return -1
}

func (v verdict) review() string {
	for _, g := range v.Gates {
		if g.Gate == "review" {
			return g.Result + " " + g.Reason
		}
	}
	return ""
}

// giteaPull is a pull request as Gitea's API shows it.
type giteaPull struct {
	Number      int
	State       string
	Merged      bool
	Title, Body string
	HTMLURL     string `json:"html_url"`
	Head, Base  struct{ Ref, Sha string }
	Labels      []struct{ Name string }
}

// pulls returns all pull requests into a branch, oldest first.
func (w *reviewWorld) pulls(base string) []giteaPull {
	w.t.Helper()
	var all []giteaPull
	w.repo.Server.API(w.t, "GET", w.repo.api("/pulls?state=all&limit=50"), nil, &all)
	all = slices.DeleteFunc(all, func(p giteaPull) bool { return p.Base.Ref != base })
	slices.SortFunc(all, func(a, b giteaPull) int { return a.Number - b.Number })
	return all
}

func (w *reviewWorld) last(base string) giteaPull {
	w.t.Helper()
	all := w.pulls(base)
	if len(all) == 0 {
		w.t.Fatalf("no pull request into %s", base)
	}
	return all[len(all)-1]
}

// status returns the last word of a commit's status.
func (w *reviewWorld) status(commit, context string) string {
	w.t.Helper()
	var combined struct {
		Statuses []struct{ Context, Status, Description string }
	}
	w.repo.Server.API(w.t, "GET", w.repo.api("/commits/%s/status", commit), nil, &combined)
	for _, s := range combined.Statuses {
		if s.Context == context {
			return s.Status + ": " + s.Description
		}
	}
	return ""
}

func wants(t *testing.T, what, got string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(got, word) {
			t.Errorf("%s does not say %q:\n%s", what, word, got)
		}
	}
}

// TestPullRequests has people review stages on a real forge.
func TestPullRequests(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	g := gitea(t)
	for name, test := range map[string]func(*testing.T, *reviewWorld){
		"people-merge":      peopleMerge,
		"promotion-merges":  promotionMerges,
		"busy":              reviewBusy,
		"gate":              reviewGate,
		"attacks":           reviewAttacks,
		"protected-branch":  rollbackOfProtectedBranch,
		"two-at-once":       reviewRaces,
		"without-a-token":   reviewWithoutToken,
		"forge-fails-later": reviewConverges,
		"forge-fails":       forgeFails,
	} {
		t.Run(name, func(t *testing.T) { test(t, newReviewWorld(t, g, bin, "gitops-"+name)) })
	}
}

// People merge by whatever method, and promotion proves that what they merged is the artifact.
func peopleMerge(t *testing.T, w *reviewWorld) {
	ada := w.repo.Server.User(t, "ada")
	first := w.propose("staging")
	pull := w.last("stage/staging")
	if first.Action != "pushed" || first.PullRequest != pull.HTMLURL || first.Commit != pull.Head.Sha || first.Branch != "review/codeai/staging" {
		t.Errorf("%+v, %+v", first, pull)
	}
	wants(t, "title", pull.Title, "codeai/staging: git-")
	wants(t, "text", pull.Body, "Merge this", "Deployment", "sha256:", "stage/staging@")
	if len(pull.Labels) != 2 {
		t.Errorf("labels %+v", pull.Labels)
	}
	wants(t, "status", w.status(pull.Head.Sha, "lockage/staging"), "success: is artifact sha256:")
	if again := w.propose("staging"); again.Action != "unchanged" || again.PullRequest != first.PullRequest || again.Commit != first.Commit {
		t.Errorf("again: %+v", again)
	}
	wants(t, "gate", w.judge("pending", "promote", "staging").review(), "pending", first.PullRequest, "merge it")

	for i, style := range []string{"squash", "rebase", "merge"} {
		if i > 0 {
			w.release()
			w.propose("staging")
		}
		pull := w.last("stage/staging")
		w.repo.Merge(t, pull.Number, ada, style)
		wants(t, style, w.judge("promoted", "promote", "staging").review(), "pass merged: commit")
		if again := w.propose("staging"); again.Action != "unchanged" || again.Branch != "" || len(w.pulls("stage/staging")) != i+1 {
			t.Errorf("%s: hydrated again: %+v, %d pull requests", style, again, len(w.pulls("stage/staging")))
		}
	}

	// The open one moves on to a newer release.
	w.release()
	w.propose("staging")
	before := len(w.pulls("stage/staging"))
	newest := w.release()
	w.propose("staging")
	current := w.last("stage/staging")
	if len(w.pulls("stage/staging")) != before || current.State != "open" || current.Title != "codeai/staging: "+newest {
		t.Errorf("%+v", current)
	}
	// Closed by hand, it stays closed, and the release is denied.
	w.repo.Server.API(t, "PATCH", w.repo.api("/pulls/%d", current.Number), map[string]any{"state": "closed"}, nil)
	w.propose("staging")
	if again := w.last("stage/staging"); again.Number != current.Number || again.State != "closed" {
		t.Errorf("after it was closed there is %+v", again)
	}
	wants(t, "gate", w.judge("denied", "promote", "staging").review(), "fail", "closed without being merged")
}

// People approve, and promotion merges.
func promotionMerges(t *testing.T, w *reviewWorld) {
	g := w.repo.Server
	ada := g.User(t, "ada")
	first := w.propose("test")
	pull := w.last("stage/test")
	wants(t, "text", pull.Body, "Approve this")
	wants(t, "status", w.status(first.Commit, "lockage/test"), "pending: not promoted yet")
	wants(t, "gate", w.judge("pending", "promote", "test", "--dry-run").review(), "pending", "nobody approved")
	wants(t, "status after a dry run", w.status(first.Commit, "lockage/test"), "pending: not promoted yet")
	wants(t, "gate", w.judge("pending", "promote", "test").review(), "pending", "nobody approved", first.PullRequest)
	wants(t, "status", w.status(first.Commit, "lockage/test"), "pending: not yet: review: nobody approved")

	w.repo.Approve(t, pull.Number, ada, first.Commit)
	promoted := w.judge("promoted", "promote", "test")
	wants(t, "gate", promoted.review(), "pass", "approved by ada")
	wants(t, "status", w.status(first.Commit, "lockage/test"), "success: promoted: record sha256:")
	if got := w.last("stage/test"); got.State != "closed" {
		t.Errorf("after the promotion the pull request is %s", got.State)
	}
	w.command("gitops", "git", "fetch", "-q", "origin")
	if parents := strings.Fields(w.command("gitops", "git", "log", "-1", "--format=%P", "origin/stage/test")); len(parents) != 2 || parents[1] != first.Commit {
		t.Errorf("the live commit has the parents %v, and %s was approved", parents, first.Commit)
	}
	if again := w.propose("test"); again.Action != "unchanged" || again.Branch != "" || len(w.pulls("stage/test")) != 1 {
		t.Errorf("after the promotion: %+v", again)
	}
	w.judge("unchanged", "promote", "test")
	w.command("gitops", w.bin, "verify", "test")

	// Where manual merges may be marked, the pull request is shown as merged.
	g.API(t, "PATCH", w.repo.api(""), map[string]any{"has_pull_requests": true, "allow_manual_merge": true}, nil)
	w.release()
	second := w.propose("test")
	pull = w.last("stage/test")
	w.repo.Approve(t, pull.Number, ada, second.Commit)
	w.judge("promoted", "promote", "test")
	if got := w.last("stage/test"); !got.Merged {
		t.Errorf("after the promotion the pull request is %s, and not shown as merged", got.State)
	}

	// A merge by hand promotes nothing; the same release is promoted afterwards, by all gates.
	release := w.release()
	third := w.propose("test")
	pull = w.last("stage/test")
	w.repo.Approve(t, pull.Number, ada, third.Commit)
	w.repo.Merge(t, pull.Number, ada, "squash")
	wants(t, "status command", w.command("gitops", w.bin, "status", "-o", "json"), `"unpromoted"`)
	wants(t, "status", w.status(third.Commit, "lockage/test"), "pending")
	wants(t, "gate", w.judge("promoted", "promote", "test", "--release", release).review(), "pass")
	wants(t, "status", w.status(third.Commit, "lockage/test"), "success")

	// Where nobody had approved it, the merge has to be taken back.
	release = w.release()
	w.propose("test")
	w.repo.Merge(t, w.last("stage/test").Number, ada, "merge")
	wants(t, "gate", w.judge("denied", "promote", "test", "--release", release).review(), "fail", "merged by hand", "revert the merge")
	w.repo.Git(t, "", "fetch", "-q", "origin")
	w.repo.Git(t, "", "checkout", "-q", "--detach", "origin/stage/test")
	w.repo.Git(t, "", "revert", "-m", "1", "--no-edit", "HEAD")
	w.repo.Git(t, "", "push", "-q", "origin", "HEAD:stage/test")
	fifth := w.propose("test")
	if again := w.last("stage/test"); again.State != "open" || again.Head.Sha != fifth.Commit {
		t.Errorf("after the merge was taken back: %+v", again)
	}
	w.repo.Approve(t, w.last("stage/test").Number, ada, fifth.Commit)
	wants(t, "gate", w.judge("promoted", "promote", "test", "--release", release).review(), "pass")
}

// Releases come faster than people approve them: the pull request moves on until somebody does, and then waits for its promotion. A
// stage that is not auto has one too, for releases that passed the stages before, and none for a release that changes nothing.
func reviewBusy(t *testing.T, w *reviewWorld) {
	ada := w.repo.Server.User(t, "ada")
	declared := strings.ReplaceAll(reviewPipeline, "REGISTRY", w.registry)
	declared = strings.Replace(declared, "{name: staging}", "{name: staging, auto: true, mirror: {review: none}}", 1)
	declared = strings.Replace(declared, "{name: test, ", "{name: test, after: [staging], gates: [file: \"go/{release}\"], ", 1)
	write(t, w.path("gitops", "lockage.yaml"), declared)
	w.pushGitOps("a busy pipeline")
	ready := func() {
		t.Helper()
		w.command("gitops", w.bin, "promote", "--ready")
	}
	next := func() string {
		t.Helper()
		release := w.release()
		w.command("gitops", w.bin, "hydrate")
		return release
	}
	shows := func(release string, count int) giteaPull {
		t.Helper()
		pull := w.last("stage/test")
		if pull.State != "open" || pull.Title != "codeai/test: "+release || len(w.pulls("stage/test")) != count {
			t.Fatalf("%d pull requests, the last one %s: %s; want %s", len(w.pulls("stage/test")), pull.State, pull.Title, release)
		}
		return pull
	}

	next()
	if all := w.pulls("stage/test"); len(all) != 0 {
		t.Errorf("not due: %+v", all)
	}
	ready()
	second := next()
	ready()
	pull := shows(second, 1)
	wants(t, "text", pull.Body, "`file`")
	w.repo.Approve(t, pull.Number, ada, pull.Head.Sha)

	third := next()
	ready()
	if again := shows(second, 1); again.Head.Sha != pull.Head.Sha {
		t.Errorf("an approved head moved from %s to %s", pull.Head.Sha, again.Head.Sha)
	}
	wants(t, "promotion of the next one", w.judge("denied", "promote", "test", "--release", third, "--dry-run").review(), "shows "+second)
	write(t, w.path("gitops", "go", second), "")
	w.pushGitOps("the file")
	wants(t, "gate", w.judge("promoted", "promote", "test").review(), "approved by ada")
	shows(third, 2)

	// The approval is withdrawn before the next one comes.
	pull = shows(third, 2)
	w.repo.Approve(t, pull.Number, ada, pull.Head.Sha)
	w.repo.Review(t, pull.Number, ada, pull.Head.Sha, "REQUEST_CHANGES")
	fourth := next()
	ready()
	shows(fourth, 2)
}

// The gate review says whose approvals count, with either kind of merge.
func reviewGate(t *testing.T, w *reviewWorld) {
	g := w.repo.Server
	ada, bob, cleo := g.User(t, "ada"), g.User(t, "bob"), g.User(t, "cleo")
	g.Team(t, "acme", "gate-leads", "bob")
	const leads = "gate-leads"
	declared := strings.ReplaceAll(reviewPipeline, "REGISTRY", w.registry)
	declared = strings.Replace(declared, "{name: staging}", "{name: staging, gates: [review: {by: [ada, "+leads+"], count: 2}]}", 1)
	declared = strings.Replace(declared, "{name: test, ", "{name: test, gates: [review: {by: ["+leads+"]}], ", 1)
	write(t, w.path("gitops", "lockage.yaml"), declared)
	w.pushGitOps("whose approvals count")

	first := w.propose("staging")
	pull := w.last("stage/staging")
	w.repo.Approve(t, pull.Number, ada, first.Commit)
	w.repo.Approve(t, pull.Number, cleo, first.Commit)
	wants(t, "gate", w.judge("pending", "promote", "staging").review(), "pending 1 of 2, by ada", "cleo is not one of them")
	w.repo.Approve(t, pull.Number, bob, first.Commit)
	w.repo.Merge(t, pull.Number, ada, "squash")
	wants(t, "gate", w.judge("promoted", "promote", "staging").review(), "pass approved by ada", "bob at")
	// Merged without them.
	w.release()
	second := w.propose("staging")
	pull = w.last("stage/staging")
	w.repo.Approve(t, pull.Number, cleo, second.Commit)
	w.repo.Merge(t, pull.Number, cleo, "merge")
	wants(t, "gate", w.judge("denied", "promote", "staging").review(), "fail none", "cleo is not one of them")

	third := w.propose("test")
	pull = w.last("stage/test")
	w.repo.Approve(t, pull.Number, ada, third.Commit)
	pending := w.judge("pending", "promote", "test")
	wants(t, "gate", pending.review(), "pending none", "ada is not one of them")
	if pending.Gates[0].Gate != "pull-request" || pending.Gates[0].Result != "pass" {
		t.Errorf("gates %+v", pending.Gates)
	}
	w.repo.Approve(t, pull.Number, bob, third.Commit)
	wants(t, "gate", w.judge("promoted", "promote", "test").review(), "pass approved by bob")
}

// What nobody approved is denied, whatever it looks like.
func reviewAttacks(t *testing.T, w *reviewWorld) {
	g := w.repo.Server
	ada, bob := g.User(t, "ada"), g.User(t, "bob")
	first := w.propose("test")
	number := w.last("stage/test").Number

	t.Run("the author's own approval, and an older head's", func(t *testing.T) {
		w.repo.Approve(t, number, ada, first.Commit)
		file := strings.TrimSpace(strings.Split(w.command("gitops", "git", "ls-remote", "origin", "refs/heads/"+first.Branch), "\t")[0])
		if file != first.Commit {
			t.Fatalf("the review branch is at %s", file)
		}
		w.repo.Push(t, first.Branch, first.Branch, map[string]string{"apps/codeai/deployments/test/deploy/deployment-codeai.yaml": "kind: Evil\n"})
		wants(t, "gate", w.judge("denied", "promote", "test", "--dry-run").review(), "fail", "edited deployment-codeai.yaml")
		if again := w.propose("test"); again.Action != "pushed" || again.Commit != first.Commit || w.last("stage/test").Number != number {
			t.Fatalf("the edit was not put right: %+v", again)
		}
		write(t, w.path("gitops", "apps/codeai/deployments/test/values.yaml"), "replicas: 5\n")
		w.pushGitOps("other values")
		second := w.propose("test")
		if second.Commit == first.Commit || w.last("stage/test").Number != number {
			t.Fatalf("what was hydrated anew is not proposed: %+v", second)
		}
		eventually(func() bool { return w.last("stage/test").Head.Sha == second.Commit })
		wants(t, "gate", w.judge("pending", "promote", "test").review(), "pending", "nobody approved", "ada approved "+first.Commit[:12])
		first = second
	})
	t.Run("another release was merged meanwhile", func(t *testing.T) {
		w.repo.Approve(t, number, bob, first.Commit)
		w.repo.Push(t, "stage/test", "stage/test", map[string]string{"apps/other/a.yaml": "a: 1\n"})
		w.judge("promoted", "promote", "test", "--dry-run") // a change outside of the path
		w.repo.Push(t, "stage/test", "stage/test", map[string]string{"apps/codeai/deployments/test/deploy/other.yaml": "a: 1\n"})
		wants(t, "gate", w.judge("denied", "promote", "test").review(), "fail", "promote proposes it again")
		second := w.propose("test")
		wants(t, "gate", w.judge("pending", "promote", "test").review(), "bob approved "+first.Commit[:12])
		first = second
	})
	t.Run("closed", func(t *testing.T) {
		eventually(func() bool { return w.last("stage/test").Head.Sha == first.Commit })
		w.repo.Approve(t, number, ada, first.Commit)
		g.API(t, "PATCH", w.repo.api("/pulls/%d", number), map[string]any{"state": "closed"}, nil)
		wants(t, "gate", w.judge("denied", "promote", "test").review(), "fail", "closed")
		g.API(t, "PATCH", w.repo.api("/pulls/%d", number), map[string]any{"state": "open"}, nil)
		wants(t, "gate", w.judge("promoted", "promote", "test").review(), "pass", "ada")
	})
}

// Where the live branch takes no push, a rollback fails and names the right to give: no record waits in a branch.
func rollbackOfProtectedBranch(t *testing.T, w *reviewWorld) {
	g := w.repo.Server
	ada := g.User(t, "ada")
	var releases []string
	for range 2 {
		releases = append(releases, w.release())
		stage := w.propose("test")
		w.repo.Approve(t, w.last("stage/test").Number, ada, stage.Commit)
		w.judge("promoted", "promote", "test")
	}
	w.repo.Protect(t, "stage/*", map[string]any{"enable_push": false})
	failed := w.judge("failed", "rollback", "test")
	wants(t, "error", failed.Error, "need the right to push to branch stage/test")
	if pull := w.last("stage/test"); pull.State == "open" {
		t.Errorf("a pull request waits: %+v", pull)
	}
	status := w.command("gitops", w.bin, "status", "-o", "json")
	wants(t, "status", status, releases[1])
	w.repo.Unprotect(t, "stage/*")
	w.judge("rolled-back", "rollback", "test")
	w.command("gitops", w.bin, "history", "test")
	w.command("gitops", w.bin, "verify", "test", "--release", releases[0])
}

// Two processes at once end as one would.
func reviewRaces(t *testing.T, w *reviewWorld) {
	ada := w.repo.Server.User(t, "ada")
	both := func(args ...string) []error {
		errs := make([]error, 2)
		var group sync.WaitGroup
		for i := range errs {
			group.Go(func() {
				stdout, stderr, err := w.try("gitops", w.bin, args...)
				if errs[i] = err; err != nil {
					t.Logf("%s: %v\n%s%s", strings.Join(args, " "), err, stdout, stderr)
				}
			})
		}
		group.Wait()
		return errs
	}
	for _, err := range both("hydrate") {
		if err != nil {
			t.Error(err)
		}
	}
	open := slices.DeleteFunc(w.pulls("stage/test"), func(p giteaPull) bool { return p.State != "open" })
	if len(open) != 1 {
		t.Fatalf("%d pull requests are open", len(open))
	}
	w.repo.Approve(t, open[0].Number, ada, open[0].Head.Sha)
	errs := both("promote", "test")
	if errs[0] != nil && errs[1] != nil {
		t.Error("neither promoted")
	}
	w.judge("unchanged", "promote", "test")
	if got := strings.Count(w.command("gitops", w.bin, "history", "test", "-o", "json"), `"action": "promoted"`); got != 1 {
		t.Errorf("%d promotions", got)
	}
}

// Without a token the branch is written, and the output names the page that opens a pull request.
func reviewWithoutToken(t *testing.T, w *reviewWorld) {
	token := w.env[len(w.env)-1]
	w.env = w.env[:len(w.env)-1]
	stage := w.propose("test")
	wants(t, "compare link", stage.Compare, "/compare/stage/test...review/codeai/test")
	if stage.PullRequest != "" || w.repo.Head(t, stage.Branch) != stage.Commit || len(w.pulls("stage/test")) != 0 {
		t.Errorf("%+v", stage)
	}
	wants(t, "gate", w.judge("denied", "promote", "test").review(), "fail", "LOCKAGE_FORGE_TOKEN")
	w.env = append(w.env, token)
	if again := w.propose("test"); again.Action != "pushed" || again.PullRequest == "" || again.Commit != stage.Commit {
		t.Errorf("with a token: %+v", again)
	}
}

// A forge that refuses fails the stage after registry and branches are done; the next run does what is left.
func reviewConverges(t *testing.T, w *reviewWorld) {
	token := w.env[len(w.env)-1]
	w.env[len(w.env)-1] = "LOCKAGE_FORGE_TOKEN=wrong"
	_, stderr, err := w.try("gitops", w.bin, "hydrate", "test")
	if err != nil {
		t.Error("a pull request that is not kept fails hydrate:", err)
	}
	wants(t, "warning", stderr, "pull request", "401")
	head := w.repo.Head(t, "review/codeai/test")
	if head == "" {
		t.Error("the review branch is not there")
	}
	w.env[len(w.env)-1] = token
	if again := w.propose("test"); again.PullRequest == "" || again.Commit != head {
		t.Errorf("%+v", again)
	}
}
