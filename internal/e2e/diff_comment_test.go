package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestDiffComment lets the job of a pull request keep its comment up to date, on a real forge.
func TestDiffComment(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	g := gitea(t)
	repository := g.Repo(t, "gitops")
	w := newWorld(t, bin, startOlareg(t))
	w.command("gitops", "git", "remote", "set-url", "origin", repository.As(g.Admin))
	w.command("gitops", "git", "push", "-q", "-f", "origin", "main")

	values := w.path("gitops", "apps/codeai/deployments/production/values.yaml")
	unchanged := read(t, values)
	change := func(content string) {
		t.Helper()
		write(t, values, content)
		w.command("gitops", "git", "commit", "-q", "--allow-empty", "-a", "-m", "a change")
		w.command("gitops", "git", "push", "-q", "origin", "HEAD:more")
	}
	w.command("gitops", "git", "checkout", "-q", "-b", "more")
	change(strings.Replace(unchanged, "minReplicas: 4", "minReplicas: 5", 1))
	var pull struct{ Number int }
	g.API(t, "POST", "/repos/acme/gitops/pulls", map[string]any{"head": "more", "base": "main", "title": "more"}, &pull)

	job := append(w.env, fmt.Sprintf("GITHUB_REF=refs/pull/%d/head", pull.Number), "LOCKAGE_FORGE=gitea")
	diff := func(args ...string) string {
		t.Helper()
		return w.command("gitops", bin, append([]string{"diff", "--base", "origin/main", "--comment", "--progress", "plain"}, args...)...)
	}
	comment := func() string {
		t.Helper()
		var comments []struct{ Body string }
		g.API(t, "GET", fmt.Sprintf("/repos/acme/gitops/issues/%d/comments", pull.Number), nil, &comments)
		if len(comments) != 1 {
			t.Fatalf("%d comments: %+v", len(comments), comments)
		}
		return comments[0].Body
	}

	w.env = job
	if output := w.refused("gitops", bin, "diff", "--base", "origin/main", "--comment"); !strings.Contains(output, "token") {
		t.Errorf("without a token it says %q", output)
	}
	w.env = append(job, "LOCKAGE_FORGE_TOKEN="+g.Admin.Token)
	diff()
	if got := comment(); !strings.Contains(got, "### `codeai/production") || !strings.Contains(got, "minReplicas") || strings.Contains(got, "codeai/staging") {
		t.Errorf("the comment is\n%s", got)
	}
	change(strings.Replace(unchanged, "minReplicas: 4", "minReplicas: 7", 1))
	diff()
	if got := comment(); !strings.Contains(got, "+ 7") || strings.Contains(got, "+ 5") {
		t.Errorf("after another change the comment is\n%s", got)
	}
	change(unchanged)
	diff()
	if got := comment(); !strings.Contains(got, "No stage is affected") || strings.Contains(got, "minReplicas") {
		t.Errorf("after the change was taken back the comment is\n%s", got)
	}
}
