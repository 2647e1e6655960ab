package promote_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/lockage/lockage/promote"
)

// fault is how servers fail.
type fault string

const (
	cut    fault = "cut"    // no connection from the chosen request on: what kill -9 leaves behind
	broken fault = "broken" // status 500 for the chosen request, however often it is repeated
	denied fault = "denied" // status 403 for it
	lost   fault = "lost"   // it is done, and the answer does not arrive; all else works
)

// faults fail a chosen request of all that reach the servers.
type faults struct {
	mu     sync.Mutex
	asked  []string
	at     int // counted from 1; 0 for never
	kind   fault
	chosen string
	hook   func(request string)
}

// before has a function called before each request is served; nil for none.
func (f *faults) before(hook func(request string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// fail forgets what was asked, and lets a request fail.
func (f *faults) fail(at int, kind fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.at, f.kind, f.chosen = nil, at, kind, ""
}

// refuse lets all requests of a kind be denied, until fail is called.
func (f *faults) refuse(request string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.at, f.kind, f.chosen = nil, 0, denied, "git "+request
}

// log is what was asked since.
func (f *faults) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *faults) wrap(server string, handler http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		request := server + " " + r.Method + " " + r.URL.Path
		f.asked = append(f.asked, request)
		n, at, kind := len(f.asked), f.at, f.kind
		if n == at {
			f.chosen = request
		}
		chosen, hook := request == f.chosen, f.hook
		f.mu.Unlock()
		if hook != nil {
			hook(request)
		}
		switch {
		case kind == cut && at > 0 && n >= at:
			panic(http.ErrAbortHandler)
		case kind == broken && chosen:
			http.Error(w, "out of order", http.StatusInternalServerError)
		case kind == denied && chosen:
			http.Error(w, "not you", http.StatusForbidden)
		case kind == lost && n == at:
			handler(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		default:
			handler(w, r)
		}
	})
}

// interrupted is a verb on the stage production that is made to fail, and its outcome.
type interrupted struct {
	name     string
	do       verb
	from     string // kept state
	asked    string // release
	to       string
	standing int // promotions before
}

// A promotion, and a rollback, are made to fail at each of their requests in turn. After each, what is live is sound, and the
// next run ends where an undisturbed one does. Nothing is in the history that did not happen. Without LOCKAGE_SOAK=1 each kind of
// fault hits one request of each verb in each scene, another one from kind to kind and scene to scene.
func TestFaults(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("fails many promotions")
	}
	kinds := []fault{cut, broken, denied, lost}
	for i, where := range []struct {
		name      string
		referrers bool
		declared  string
	}{
		{"referrers", true, mirrored + head},
		{"fallback", false, mirrored + head},
		{"no mirror", true, head},
	} {
		t.Run(where.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, where.referrers, where.declared)
			older, newer := s.releases[0], s.releases[1]
			for _, r := range []string{older, newer} {
				s.must(promote.Promote, r, "staging")
			}
			s.must(promote.Promote, older, production)
			promoted := s.keep()
			s.must(promote.Promote, newer, production)
			rolledBack := s.keep()
			for j, test := range []interrupted{
				{"promote", promote.Promote, promoted, "", newer, 1},
				{"rollback", promote.Rollback, rolledBack, older, older, 2},
			} {
				s.setBack(test.from)
				s.faults.fail(0, "")
				s.must(test.do, test.asked, production)
				requests := len(s.faults.log())
				for k, kind := range kinds {
					at, last := 1+((i*2+j)*len(kinds)+k)*requests/(3*2*len(kinds)), 0
					if os.Getenv("LOCKAGE_SOAK") == "1" {
						at, last = 1, requests
					}
					t.Run(test.name+"/"+string(kind), func(t *testing.T) {
						outer := s.t
						s.t = t
						defer func() { s.t = outer }()
						for ; ; at++ {
							s.failAt(test, at, kind)
							if at >= last {
								return
							}
						}
					})
				}
			}
		})
	}
}

// failAt lets a verb fail at a request, and runs it again.
func (s *scene) failAt(test interrupted, at int, kind fault) {
	t := s.t
	t.Helper()
	s.setBack(test.from)
	s.faults.fail(at, kind)
	result, err := s.try(test.do, test.asked, production)
	asked := s.faults.log()
	s.faults.fail(0, "")
	if len(asked) < at {
		t.Fatalf("%d requests, and none is number %d", len(asked), at)
	}
	name := fmt.Sprintf("%s at request %d (%s)", kind, at, asked[at-1])
	state, history := s.sound(production)
	done := len(history) == test.standing+1 && history[0].Release == test.to
	if !done && len(history) != test.standing {
		t.Errorf("%s: history is %v", name, history)
	}
	if err == nil && (!done || state.Drift()) {
		t.Errorf("%s: reported %s, and it is not: history %v, drift %v", name, result.Action, history, state.Drift())
	}
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: more than a line: %v", name, err)
	}
	if _, err := s.try(test.do, test.asked, production); err != nil {
		t.Errorf("%s: run again: %v", name, err)
	}
	state, history = s.sound(production)
	if len(history) != test.standing+1 || history[0].Release != test.to || state.Drift() {
		t.Errorf("%s: run again: history %v, drift %v", name, history, state.Drift())
	}
	if t.Failed() {
		t.Fatalf("%s: the first run said %v", name, err)
	}
}
