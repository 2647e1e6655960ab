package workspace

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/git"
)

// endless is a policy ref without a beginning. Each commit merges a branch that is as long, and the newest one brings the locks.
type endless struct {
	source
	asked int // lookups of a file in a commit
}

func (e *endless) Log(_ context.Context, from git.Hash, visit func(git.Commit) (bool, error)) error {
	branch, first, _ := strings.Cut(string(from), "-")
	var n int
	if _, err := fmt.Sscan(first, &n); err != nil {
		return err
	}
	for ; ; n++ {
		c := git.Commit{Hash: git.Hash(fmt.Sprint(branch, "-", n)), Parents: []git.Hash{git.Hash(fmt.Sprint(branch, "-", n+1))}}
		if branch == "main" {
			c.Parents = append(c.Parents, git.Hash(fmt.Sprint("b", n, "-0")))
		}
		if more, err := visit(c); err != nil || !more {
			return err
		}
	}
}

func (e *endless) PathsIDs(_ context.Context, names []string, commits ...git.Commit) ([][]git.Hash, error) {
	ids := make([][]git.Hash, len(names))
	for n := range names {
		for _, c := range commits {
			id := git.Hash("")
			if e.asked++; c.Hash == "main-0" {
				id = "locks"
			}
			ids[n] = append(ids[n], id)
		}
	}
	return ids, nil
}

func (*endless) FetchFiles(context.Context, ...git.Hash) error { return nil }

func (*endless) File(context.Context, git.Hash) ([]byte, error) { return nil, nil }

// TestEndOfLog: where the log ends because there are too many commits, what was merged there is not looked at.
func TestEndOfLog(t *testing.T) {
	t.Parallel()
	e, warned := &endless{}, 0
	p := &Policy{source: e, log: &log{source: e, name: "main", tip: "main-0", warn: func(string) { warned++ }}}
	found := 0
	for timeline := (&timeline{policy: p, dir: "locks"}); ; found++ {
		if _, ok, err := timeline.moment(t.Context(), found); err != nil {
			t.Fatal(err)
		} else if !ok {
			break
		}
	}
	if want := 3*maxHistory + logBatch; found != 3 || warned != 1 || e.asked > want {
		t.Errorf("%d moments, %d warnings, %d files looked up: want 3, 1, at most %d", found, warned, e.asked, want)
	}
}
