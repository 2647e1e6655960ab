package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lockage/lockage/internal/demo"
)

// dayStages are those of a team whose releases move on by themselves, up to production, which people review.
const dayStages = `stages:
  - {name: staging, auto: true, mirror: {review: none}}
  - {name: test, auto: true, after: [staging], mirror: {review: none}}
  - {name: levelbuilder, auto: true, after: [test], mirror: {review: none}}
  - {name: production, auto: true, after: [levelbuilder], mirror: {when: promote}, gates: [review: {by: [ada]}]}
`

// day is a day of that team.
type day struct {
	*reviewWorld
	ada      giteaUser
	store    *distribution
	released []string // ids, in their order
	reviewed []string // what ada approved
}

// TestTeamsDay lives through an hour of a busy team, on a forge and a registry that are not ours: releases come faster than people
// approve them, CI jobs that run again rewrite locks, two run at once, values are broken, and there are a noop, a hotfix, a rollback and
// a lost registry. With LOCKAGE_SOAK a release comes every three minutes of that hour, else as many as the events need.
func TestTeamsDay(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	g := gitea(t)
	store := newDistribution(t)
	d := &day{reviewWorld: newReviewWorldOn(t, g, bin, "teams-day", store.addr), ada: g.User(t, "ada"), store: store}
	declared, _, _ := strings.Cut(strings.ReplaceAll(reviewPipeline, "REGISTRY", d.registry), "stages:\n")
	write(t, d.path("gitops", "lockage.yaml"), declared+dayStages)
	d.copyStage("test", "levelbuilder")
	d.pushGitOps("the stages")

	events := []func(){d.approve, d.noop, d.approveLate, d.hotfix, d.atOnce, func() { d.rollback("levelbuilder") }, d.breakValues, d.loseRegistry, d.approve}
	every := 1
	if os.Getenv("LOCKAGE_SOAK") == "1" {
		every = 3
	}
	for i, event := range events {
		for n := range every {
			d.next()
			if (i+n)%2 == 1 {
				d.rewriteLock()
			}
			d.job()
			d.proposes(d.released[len(d.released)-1])
		}
		event()
	}
	d.proven()
}

// next makes a release.
func (d *day) next() {
	d.released = append(d.released, d.release())
}

// job is what CI runs after each push.
func (d *day) job() {
	d.t.Helper()
	d.command("gitops", d.bin, "hydrate")
	d.command("gitops", d.bin, "promote", "--ready")
}

// live returns the release that a stage has.
func (d *day) live(stage string) string {
	d.t.Helper()
	status := decode[struct {
		Results []struct {
			Stages []struct {
				Stage string
				Live  struct{ Release string }
				Error string
			}
		}
	}](d.t, d.command("gitops", d.bin, "status", stage, "-o", "json"))
	s := status.Results[0].Stages[0]
	if s.Error != "" {
		d.t.Errorf("%s: %s", stage, s.Error)
	}
	return s.Live.Release
}

func (d *day) lives(stage, release string) {
	d.t.Helper()
	if got := d.live(stage); got != release {
		stdout, stderr, _ := d.try("gitops", d.bin, "promote", stage, "--release", release, "--dry-run")
		d.t.Fatalf("%s has %s, want %s\n%s%s", stage, got, release, stdout, stderr)
	}
}

// open returns the pull requests that wait.
func (d *day) open() []giteaPull {
	d.t.Helper()
	return slices.DeleteFunc(d.pulls("stage/production"), func(p giteaPull) bool { return p.State != "open" })
}

// proposes checks that a release came to the last stage before production, and that the one pull request shows it.
func (d *day) proposes(release string) {
	d.t.Helper()
	d.lives("levelbuilder", release)
	open := d.open()
	if len(open) != 1 || open[0].Title != "codeai/production: "+release {
		d.t.Fatalf("%d pull requests are open, want one for %s: %+v", len(open), release, open)
	}
}

// approve lets ada approve what the pull request shows, and the next job promotes it, although a newer release is there.
func (d *day) approve() {
	d.t.Helper()
	pull := d.open()[0]
	shown := strings.TrimPrefix(pull.Title, "codeai/production: ")
	d.repo.Approve(d.t, pull.Number, d.ada, pull.Head.Sha)
	d.next()
	d.job()
	d.lives("production", shown)
	d.reviewed = append(d.reviewed, shown)
	d.proposes(d.released[len(d.released)-1])
}

// approveLate lets ada approve what the pull request showed when she began to read. It has moved on meanwhile: that approval counts
// for nothing, and she is shown the newer release.
func (d *day) approveLate() {
	d.t.Helper()
	before, read := d.live("production"), d.open()[0]
	d.next()
	d.job()
	d.repo.Approve(d.t, read.Number, d.ada, read.Head.Sha)
	d.job()
	d.lives("production", before)
	d.proposes(d.released[len(d.released)-1])
	d.approve()
}

// atOnce lets the jobs of two pushes run at the same time, in two checkouts.
func (d *day) atOnce() {
	d.t.Helper()
	d.next()
	clone := d.path("clone")
	d.command(".", "git", "clone", "-q", d.repo.As(d.repo.Server.Admin), clone)
	var both sync.WaitGroup
	for _, dir := range []string{"gitops", "clone"} {
		both.Go(func() {
			for _, args := range [][]string{{"hydrate"}, {"promote", "--ready"}} {
				if stdout, stderr, err := d.try(dir, d.bin, args...); err != nil {
					d.t.Errorf("%s: %s: %v\n%s%s", dir, args, err, stdout, stderr)
				}
			}
		})
	}
	both.Wait()
	d.job()
	d.proposes(d.released[len(d.released)-1])
	if err := os.RemoveAll(clone); err != nil {
		d.t.Error(err)
	}
}

// breakValues breaks the values of one stage: it stays where it is, with a word, the others go on, and it follows when they are mended.
func (d *day) breakValues() {
	d.t.Helper()
	path := d.path("gitops", "apps/codeai/deployments/production/values.yaml")
	before, good := d.open()[0].Title, read(d.t, path)
	write(d.t, path, "- not a map\n")
	d.pushGitOps("a mistake")
	d.next()
	stdout, stderr, err := d.try("gitops", d.bin, "hydrate", "-o", "wide")
	if exitOf(err) != 1 || !strings.Contains(stdout, "deployments/production/values.yaml: values are a map") {
		d.t.Fatalf("exit status %d of hydrate:\n%s%s", exitOf(err), stdout, stderr)
	}
	latest := d.released[len(d.released)-1]
	wants(d.t, "promote", d.command("gitops", d.bin, "promote", "--ready", "-o", "wide"), "not hydrated for this stage, because hydration failed or did not run: "+latest)
	d.lives("levelbuilder", latest)
	if open := d.open(); len(open) != 1 || open[0].Title != before {
		d.t.Fatalf("want the pull request %s: %+v", before, open)
	}
	wants(d.t, "status", d.command("gitops", d.bin, "status", "-o", "wide"), latest+" (not hydrated)")

	write(d.t, path, good)
	d.pushGitOps("mended")
	d.job()
	d.proposes(latest)
}

// rewriteLock is a CI job that runs again: the same lock with another time.
func (d *day) rewriteLock() {
	d.t.Helper()
	locks := d.path("gitops", "warehouses/codeai/builds")
	for _, name := range []string{"current.yaml", d.released[len(d.released)-1] + ".yaml"} {
		text := read(d.t, filepath.Join(locks, name))
		before, _, found := strings.Cut(text, "createdAt:")
		if !found {
			d.t.Fatalf("%s: no createdAt", name)
		}
		write(d.t, filepath.Join(locks, name), before+"createdAt: '2026-11-30T23:59:59Z'\n")
	}
	d.pushGitOps("CI ran again")
}

// lock records a release of a commit with an image.
func (d *day) lock(commit, image string, flags ...string) {
	d.t.Helper()
	d.command("gitops", d.bin, append([]string{"lock", "write", "--commit", commit, "--image", image, "--kind", "helm",
		"--source-repo", d.path("source"), "--source-path", demo.ChartPath}, flags...)...)
	d.pushGitOps("release")
}

// noop releases a commit that changes nothing, with the image that is there: all stages that have its content have it at once, and
// nobody is asked.
func (d *day) noop() {
	d.t.Helper()
	pull := d.open()[0]
	d.repo.Approve(d.t, pull.Number, d.ada, pull.Head.Sha)
	d.job()
	latest := d.released[len(d.released)-1]
	d.reviewed = append(d.reviewed, latest)
	d.lives("production", latest)
	pulls := len(d.pulls("stage/production"))

	d.command("source", "git", "commit", "-q", "--allow-empty", "-m", "of another application")
	commit := strings.TrimSpace(d.command("source", "git", "rev-parse", "HEAD"))
	d.lock(commit, d.registry+"/acme/codeai:"+latest)
	d.job()
	for _, stage := range []string{"staging", "test", "levelbuilder", "production"} {
		d.lives(stage, "git-"+commit)
	}
	if got := len(d.pulls("stage/production")); got != pulls {
		d.t.Errorf("a noop has a pull request: %d, were %d", got, pulls)
	}
	d.released = append(d.released, "git-"+commit)
}

// hotfix brings a fix of what production has to production, by name, past what the other stages have, and the next release is newer.
func (d *day) hotfix() {
	d.t.Helper()
	running := strings.TrimPrefix(d.live("production"), "git-")
	d.command("source", "git", "checkout", "-q", "-b", "hotfix", running)
	d.command("source", "git", "commit", "-q", "--allow-empty", "-m", "fix")
	commit := strings.TrimSpace(d.command("source", "git", "rev-parse", "HEAD"))
	d.command("source", "git", "checkout", "-q", "-")
	image := d.registry + "/acme/codeai:git-" + commit
	pushImage(d.t, image, commit)
	d.lock(commit, image, "--history-only")
	release := "git-" + commit
	d.command("gitops", d.bin, "hydrate", "--release", release)
	for _, stage := range []string{"staging", "test", "levelbuilder"} {
		d.judge("promoted", "promote", stage, "--release", release)
	}
	d.judge("pending", "promote", "production", "--release", release)
	pull := d.open()[0]
	if pull.Title != "codeai/production: "+release {
		d.t.Fatalf("the pull request is %s, want %s", pull.Title, release)
	}
	d.repo.Approve(d.t, pull.Number, d.ada, pull.Head.Sha)
	d.judge("promoted", "promote", "production", "--release", release)
	d.reviewed = append(d.reviewed, release)
	d.job()
	d.lives("production", release)
}

// rollback takes a release back before people approved it: nobody is asked for it any more, and it does not return by itself.
func (d *day) rollback(stage string) {
	d.t.Helper()
	left := d.live(stage)
	d.judge("rolled-back", "rollback", stage)
	d.job()
	if back := d.live(stage); back == left {
		d.t.Errorf("%s has %s again", stage, left)
	}
	for _, pull := range d.open() {
		if strings.Contains(pull.Title, left) {
			d.t.Errorf("%s is still open: %s", pull.HTMLURL, pull.Title)
		}
	}
}

// loseRegistry loses the registry's folder, and puts it back from Git.
func (d *day) loseRegistry() {
	d.t.Helper()
	before := d.live("production")
	d.store.stop()
	if err := os.RemoveAll(filepath.Join(filepath.Dir(d.store.conf), "store")); err != nil {
		d.t.Fatal(err)
	}
	d.store.start()
	d.command("gitops", d.bin, "repair", "--apply")
	d.job()
	d.lives("production", before)
	d.command("gitops", d.bin, "repair")
}

// proven checks what an auditor would: everything was live that was released, what production had was approved, every pull request
// ended with a promotion or waits, and all of it verifies, and can be rendered again.
func (d *day) proven() {
	d.t.Helper()
	digest := decode[struct {
		Results []struct{ Promotions []struct{ To string } }
	}](d.t, d.command("gitops", d.bin, "history", "production", "--limit", "1", "-o", "json")).Results[0].Promotions[0].To
	wants(d.t, "history", d.command("gitops", d.bin, "history", digest), "review: ", "ada", "source commit ")
	wants(d.t, "verify", d.command("gitops", d.bin, "verify", digest, "--rebuild"), "pass  rebuild ")
	for _, stage := range []string{"staging", "test", "levelbuilder", "production"} {
		d.command("gitops", d.bin, "verify", "live:"+stage)
	}
	for _, stage := range []string{"staging", "test", "levelbuilder"} {
		had := d.history(stage)
		for _, release := range d.released {
			if !slices.Contains(had, release) {
				d.t.Errorf("%s never had %s", stage, release)
			}
		}
	}
	had := d.history("production")
	for _, release := range d.reviewed {
		if !slices.Contains(had, release) {
			d.t.Errorf("production never had %s, which was approved", release)
		}
	}
	for _, pull := range d.pulls("stage/production") {
		release := strings.TrimPrefix(pull.Title, "codeai/production: ")
		wants(d.t, pull.HTMLURL, pull.Body, release, "sha256:", "Approve this", "What changes in")
		if pull.State != "open" && !slices.Contains(d.reviewed, release) {
			d.t.Errorf("%s ended, and nobody approved it: %s", pull.HTMLURL, pull.Title)
		}
	}
}

// history returns the releases that a stage had.
func (d *day) history(stage string) []string {
	d.t.Helper()
	h := decode[struct {
		Results []struct {
			Broken     string
			Promotions []struct{ Release string }
		}
	}](d.t, d.command("gitops", d.bin, "history", stage, "-o", "json")).Results[0]
	if h.Broken != "" {
		d.t.Errorf("%s: %s", stage, h.Broken)
	}
	var releases []string
	for _, p := range h.Promotions {
		releases = append(releases, p.Release)
	}
	return releases
}

// copyStage copies what a stage has in the GitOps repository to another stage.
func (d *day) copyStage(from, to string) {
	d.t.Helper()
	base := d.path("gitops", "apps/codeai/deployments")
	if err := os.CopyFS(filepath.Join(base, to), os.DirFS(filepath.Join(base, from))); err != nil {
		d.t.Fatal(err)
	}
	path := filepath.Join(base, to, "deployment.yaml")
	write(d.t, path, strings.ReplaceAll(read(d.t, path), from, to))
}
