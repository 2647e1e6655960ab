package e2e

import (
	"sync"
	"testing"
)

// TestTogether runs hydrations of one commit, and of an older one beside it, at the same time.
func TestTogether(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	for _, kind := range registries {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, bin, kind.start(t))
			w.command("gitops", "git", "worktree", "add", "-q", "--detach", w.path("older"))
			values := w.path("gitops", "apps/codeai/deployments/staging/values.yaml")
			write(t, values, read(t, values)+"replicas: 3\n")
			w.command("gitops", "git", "commit", "-q", "-a", "-m", "newer")
			w.command("gitops", "git", "push", "-q", "origin", "main")
			w.command("gitops", "git", "worktree", "add", "-q", "--detach", w.path("twin"))

			var group sync.WaitGroup
			for _, dir := range []string{"older", "gitops", "twin"} {
				group.Go(func() {
					if stdout, stderr, err := w.try(dir, bin, "hydrate"); err != nil {
						t.Errorf("%s: %v\n%s%s", dir, err, stdout, stderr)
					}
				})
			}
			group.Wait()

			first := w.hydrate()
			for _, stage := range w.hydrate() {
				if stage.Action != "unchanged" {
					t.Errorf("%s is %s after all runs have ended", stage.Stage, stage.Action)
				}
			}
			w.command("gitops", bin, "verify", "staging")
			w.judgeSignatures(first[0])

			older := decode[hydration](t, w.command("older", bin, "hydrate", "--at", "HEAD", "-o", "json"))
			for _, stage := range older.Results[0].Stages {
				want := "unchanged"
				if stage.Stage == "staging" {
					want = "superseded"
				}
				if stage.Action != want {
					t.Errorf("older commit: %s is %s, want %s", stage.Stage, stage.Action, want)
				}
			}
			if again := w.hydrate()[0]; again.Action != "unchanged" || again.Digest != first[0].Digest {
				t.Errorf("the older commit replaced its descendant's candidate: %+v", again)
			}
		})
	}
}
