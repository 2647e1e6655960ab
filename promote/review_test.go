package promote

import (
	"testing"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
)

// TestSameFiles compares folders of commits: neither one without the folder nor one that is gone has the files of another.
func TestSameFiles(t *testing.T) {
	t.Parallel()
	dir, first := testworld.Checkout(t, map[string]string{"web/app.yaml": "a", "other": "1"})
	commit := func(files map[string]string) git.Hash {
		testworld.Write(t, dir, files)
		return testworld.Commit(t, dir, "next")
	}
	beside, edited := commit(map[string]string{"other": "2"}), commit(map[string]string{"web/app.yaml": "b"})
	testworld.Git(t, dir, "rm", "-q", "-r", "web")
	removed := testworld.Commit(t, dir, "removed")
	remote := testworld.Remote(t, testworld.Bare(t, dir))
	for name, test := range map[string]struct {
		a, b git.Hash
		want bool
	}{
		"something beside them": {first, beside, true},
		"edited":                {first, edited, false},
		"removed":               {edited, removed, false},
		"never there":           {removed, removed, false},
		"gone":                  {first, git.Hash(testworld.CommitID(1)), false},
	} {
		if got, err := sameFiles(t.Context(), remote, "web", string(test.a), string(test.b)); err != nil || got != test.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestMerges merges a proposal that reviewers saw on what the stage branch has, once.
func TestMerges(t *testing.T) {
	t.Parallel()
	const head = git.Hash("proposed")
	for name, test := range map[string]struct {
		proposal ledger.Proposal
		want     git.Hash
	}{
		"as it was reviewed":         {ledger.Proposal{Head: head, Current: true}, head},
		"on something else":          {ledger.Proposal{Head: head}, ""},
		"merged by hand":             {ledger.Proposal{Head: head, Landed: true}, ""},
		"as the branch has it again": {ledger.Proposal{Head: head, Current: true, Landed: true}, ""},
	} {
		s := &stage{review: &review{proposal: test.proposal, pull: forge.PullRequest{Number: 1}}}
		j := &judgement{proposed: true}
		j.declared.Mirror = &pipeline.Mirror{When: pipeline.OnPromote}
		if got := s.merges(j); got != test.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
