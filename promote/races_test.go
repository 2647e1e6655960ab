package promote_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/promote"
)

// gathering opens when so many have arrived.
type gathering struct {
	mu      sync.Mutex
	missing int
	open    chan struct{}
}

func newGathering(n int) *gathering { return &gathering{missing: n, open: make(chan struct{})} }

func (g *gathering) arrive() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.missing--; g.missing == 0 {
		close(g.open)
	}
}

// outcome is how one of several promotions that ran at once ended.
type outcome struct {
	release string
	result  promote.Result
	err     error
}

// together runs one promotion for each release, and lets all of them push at the same moment.
func (s *scene) together(releases ...string) []outcome {
	s.t.Helper()
	g := newGathering(len(releases))
	s.faults.before(func(request string) {
		if strings.HasSuffix(request, "POST /gitops.git/git-receive-pack") {
			g.arrive()
			<-g.open
		}
	})
	defer s.faults.before(nil)
	outcomes := make([]outcome, len(releases))
	var group sync.WaitGroup
	for i, r := range releases {
		o := s.options(r, production) // what shares nothing with the others is a process of its own
		group.Go(func() {
			defer g.arrive() // for a promotion that ends before its push; after one that pushed, the gathering is open
			results, err := promote.Promote(s.t.Context(), o)
			if err == nil {
				outcomes[i] = outcome{r, results[0], results[0].Err}
			} else {
				outcomes[i] = outcome{r, promote.Result{}, err}
			}
		})
	}
	group.Wait()
	return outcomes
}

func TestRaces(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, mirrored+head)
	older, newer := s.releases[0], s.releases[1]
	for _, r := range []string{older, newer} {
		s.must(promote.Promote, r, "staging")
	}
	start := s.keep()
	for name, releases := range map[string][]string{
		"two of one release": {newer, newer},
		"two releases":       {older, newer},
		"eight":              {older, newer, older, newer, older, newer, older, newer},
	} {
		t.Run(name, func(t *testing.T) {
			s.setBack(start)
			outcomes := s.together(releases...)
			winners := map[digest.Digest]string{} // releases, by record: two may have found the same one
			winner := ""
			for _, o := range outcomes {
				if o.err == nil && o.result.Action == promote.Promoted {
					winner = o.release
					winners[o.result.Record] = winner
				}
			}
			if len(winners) != 1 {
				t.Fatalf("%d promotions won: %v", len(winners), winners)
			}
			for _, o := range outcomes {
				switch {
				case o.release == winner && o.err == nil: // the same was wanted
				case o.release != winner && errors.Is(o.err, promote.ErrConflict) && strings.Contains(o.err.Error(), winner) && strings.Contains(o.err.Error(), "by the key "):
				default:
					t.Errorf("%s, where %s won: %s: %v", o.release, winner, o.result.Action, o.err)
				}
			}
			state, history := s.sound(production)
			if len(history) != 1 || history[0].Release != winner || state.Drift() {
				t.Errorf("history %v, drift %v, where %s won", history, state.Drift(), winner)
			}
		})
	}
}

// Another run makes the first promotion, by a newer commit of the policy ref, while this one has the older one: this one decides nothing by
// that, and takes the other's record in the registry for none that the live ref lost.
func TestPolicyMovesOn(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, mirrored+head)
	older, newer := s.releases[0], s.releases[1]
	o := s.options(newer, "staging")
	var once sync.Once
	s.faults.before(func(request string) {
		if strings.HasPrefix(request, "registry ") {
			once.Do(func() {
				s.faults.before(nil)
				s.edit("lockage.yaml", "stages:\n", "# in order\nstages:\n")
				s.must(promote.Promote, older, "staging")
			})
		}
	})
	results, err := promote.Promote(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := results[0].Err; !errors.Is(err, promote.ErrConflict) || !strings.Contains(err.Error(), "has moved on") {
		t.Errorf("%s, %v", results[0].Action, err)
	}
	if _, history := s.sound("staging"); len(history) != 1 {
		t.Errorf("history %v", history)
	}
}

// The run that lost may run again at once: its statements do not block it.
func TestLoserRunsAgain(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, mirrored+head)
	older, newer := s.releases[0], s.releases[1]
	for _, r := range []string{older, newer} {
		s.must(promote.Promote, r, "staging")
	}
	outcomes := s.together(older, newer)
	for _, o := range outcomes {
		if o.err != nil {
			s.must(promote.Promote, o.release, production)
			_, history := s.sound(production)
			if len(history) != 2 || history[0].Release != o.release {
				t.Errorf("history %v", history)
			}
		}
	}
	if !slices.ContainsFunc(outcomes, func(o outcome) bool { return o.err != nil }) {
		t.Error("nobody lost")
	}
}
