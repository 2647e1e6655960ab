package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/demo"
	"github.com/lockage/lockage/internal/testworld"
)

// howto does the steps of a page of docs/howto, in the GitOps repository of a world whose pipeline is that of the pages.
type howto struct {
	*reviewWorld
	file string
	rest []testworld.Step
}

// newHowto is a world in which what all pages share is done.
func newHowto(t *testing.T, w *reviewWorld, file string) *howto {
	t.Helper()
	for _, stage := range []string{"staging", "production"} {
		write(t, w.path("gitops", "apps/web", stage+".yaml"), "{}\n")
	}
	h := &howto{reviewWorld: w}
	h.open("../../docs/howto/README.md")
	w.env = append(w.env, "PATH="+filepath.Dir(w.bin)+":"+os.Getenv("PATH"))
	write(t, w.path("gitops", "pipeline-defaults.yaml"), h.here(h.rest[0].Files["pipeline-defaults.yaml"]))
	commit := strings.TrimSpace(w.command("source", "git", "rev-parse", "HEAD"))
	image := w.registry + "/acme/web:git-" + commit
	pushImage(t, image, commit)
	write(t, w.path("gitops", "lockage.yaml"), "apiVersion: lockage.dev/v1alpha1\nkind: Pipeline\nname: web\nextends: pipeline-defaults.yaml\nstages: [{name: staging}]\n")
	w.command("gitops", w.bin, "lock", "write", "--commit", commit, "--image", image, "--kind", "helm",
		"--source-repo", w.path("source"), "--source-path", demo.ChartPath)
	h.open(file)
	return h
}

func (h *howto) open(file string) {
	h.file, h.rest = file, testworld.Steps(read(h.t, file))
}

func (h *howto) here(text string) string {
	return strings.ReplaceAll(text, "ghcr.io/", h.registry+"/")
}

// step does the next step, which must end with an exit status.
func (h *howto) step(code int) {
	h.t.Helper()
	if len(h.rest) == 0 {
		h.t.Fatalf("%s has no further step", h.file)
	}
	step := h.rest[0]
	h.rest = h.rest[1:]
	for path, content := range step.Files {
		write(h.t, h.path("gitops", path), h.here(content))
	}
	stdout, stderr, err := h.try("gitops", "bash", "-e", "-o", "pipefail", "-c", h.here(step.Shell))
	if exitOf(err) != code {
		h.t.Fatalf("%s: exit status %d, want %d, of\n%s\n%s%s", h.file, exitOf(err), code, step.Shell, stdout, stderr)
	}
	if err := step.Prints(strings.ReplaceAll(stdout, h.registry, "ghcr.io")); err != nil {
		h.t.Fatalf("%s: %v\n%s", h.file, err, stdout)
	}
}

// TestHowto does the pages that need a forge.
func TestHowto(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	g := gitea(t)
	for page, test := range map[string]func(*howto){
		"production-by-pull-request": productionByPullRequest,
		"promote-by-comment":         promoteByComment,
	} {
		t.Run(page, func(t *testing.T) {
			h := newHowto(t, newReviewWorld(t, g, bin, "howto-"+page), "../../docs/howto/"+page+".md")
			if test(h); len(h.rest) > 0 {
				t.Errorf("%d steps were not done", len(h.rest))
			}
		})
	}
}

func productionByPullRequest(h *howto) {
	ada := h.repo.Server.User(h.t, "ada")
	h.step(0)
	pull := h.last("stage/production")
	h.step(5)
	h.repo.Approve(h.t, pull.Number, ada, pull.Head.Sha)
	h.step(0)
}

// The change is a pull request of the GitOps repository, the first one there.
func promoteByComment(h *howto) {
	h.step(0)
	head := h.repo.Push(h.t, "change", "main", map[string]string{"apps/web/production.yaml": "replicas: 4\n"})
	var pull giteaPull
	h.repo.Server.API(h.t, "POST", h.repo.api("/pulls"), map[string]any{"head": "change", "base": "main", "title": "More replicas"}, &pull)
	if pull.Number != 1 || pull.Head.Sha != head {
		h.t.Fatalf("%+v", pull)
	}
	h.repo.Merge(h.t, pull.Number, h.repo.Server.User(h.t, "ada"), "merge")
	panel := func() string {
		h.t.Helper()
		var comments []struct{ Body string }
		h.repo.Server.API(h.t, "GET", h.repo.api("/issues/%d/comments", pull.Number), nil, &comments)
		if len(comments) != 1 {
			h.t.Fatalf("%d comments: %+v", len(comments), comments)
		}
		return comments[0].Body
	}
	h.step(0)
	wants(h.t, "panel", panel(), "flowchart LR", "s0 --> s1", "`promote web/production`")
	h.step(0)
	wants(h.t, "panel", panel(), "s1[\"production<br/>git-")
	if strings.Contains(panel(), "`promote web/production`") {
		h.t.Errorf("the panel is\n%s", panel())
	}
}
