package git

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestJoined makes pushes while another one is under way: they go together, but for the second of one branch, for one that the server
// does not take, which is repeated alone, and for one that is given up.
func TestJoined(t *testing.T) {
	t.Parallel()
	j := newJoint(pushesFit)
	first, begun := make(chan struct{}), make(chan struct{})
	var together [][]string
	var alone []string
	send := func(_ context.Context, updates []Update) []bool {
		var names []string
		var done []bool
		for _, u := range updates {
			names, done = append(names, u.Branch), append(done, u.Branch != "refused")
		}
		together = append(together, names)
		return done
	}
	errRefused := errors.New("refused")
	single := func(_ context.Context, u Update) error {
		alone = append(alone, u.Branch)
		switch u.Branch {
		case "first":
			close(begun)
			<-first
		case "refused":
			return errRefused
		}
		return nil
	}
	var group sync.WaitGroup
	errs := map[string]error{}
	var mu sync.Mutex
	push := func(ctx context.Context, branch string) {
		group.Go(func() {
			err := j.do(ctx, Update{Branch: branch}, send, single)
			mu.Lock()
			defer mu.Unlock()
			errs[branch] = errors.Join(errs[branch], err)
		})
	}
	waiting := func(n int) {
		for {
			j.mu.Lock()
			now := len(j.waiting)
			j.mu.Unlock()
			if now == n {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	push(t.Context(), "first")
	<-begun
	given, giveUp := context.WithCancel(t.Context())
	push(given, "given up")
	waiting(1)
	giveUp()
	waiting(0)
	for i, branch := range []string{"a", "b", "refused", "a"} {
		push(t.Context(), branch)
		waiting(i + 1)
	}
	close(first)
	group.Wait()

	if !errors.Is(errs["refused"], errRefused) || !errors.Is(errs["given up"], context.Canceled) || errs["first"] != nil || errs["a"] != nil || errs["b"] != nil {
		t.Errorf("got %v", errs)
	}
	if len(together) == 0 {
		t.Fatal("all went alone")
	}
	slices.Sort(together[0])
	slices.Sort(alone)
	if got, want := fmt.Sprint(together, alone), "[[a b refused]] [a first refused]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
