package promote_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/promote"
)

// tags is the artifact repository, for moving tags by hand.
func (s *scene) tags() *oci.Repository {
	s.t.Helper()
	repository, err := testworld.Client().Repository(s.demo.Artifacts)
	if err != nil {
		s.t.Fatal(err)
	}
	return repository
}

func (s *scene) retag(tag, target string) digest.Digest {
	s.t.Helper()
	repository := s.tags()
	desc, err := repository.Resolve(s.t.Context(), target)
	if err == nil {
		err = repository.Tag(s.t.Context(), desc, tag)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return desc.Digest
}

// The candidate's tag is moved to an artifact that nobody verified, before every ninth request that follows on its resolution: what
// was verified is what is promoted, signed and tagged, or nothing is.
func TestCandidateMoved(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, mirrored+head)
	older, newer := s.releases[0], s.releases[1]
	s.must(promote.Promote, newer, "staging")
	start := s.keep()
	candidate := production + "." + newer
	for at := 1; ; at += 9 {
		s.setBack(start)
		wanted, err := s.tags().Resolve(t.Context(), candidate)
		if err != nil {
			t.Fatal(err)
		}
		var moved atomic.Bool
		var mu sync.Mutex
		resolved, after := false, 0
		now := func(request string) bool {
			mu.Lock()
			defer mu.Unlock()
			if resolved {
				after++
			}
			resolved = resolved || strings.HasPrefix(request, "registry "+http.MethodGet) && strings.HasSuffix(request, candidate)
			return after == at
		}
		s.faults.before(func(request string) {
			if !moved.Load() && now(request) { // later ones may be the move's own
				moved.Store(true)
				s.retag(candidate, production+"."+older)
			}
		})
		_, err = s.try(promote.Promote, newer, production)
		s.faults.before(nil)
		if err != nil {
			t.Fatalf("moved before request %d: %v", at, err)
		}
		state, history := s.sound(production)
		if state.Tag != wanted.Digest || len(history) != 1 || history[0].Digest != wanted.Digest {
			t.Fatalf("moved before request %d: the tag names %s, history %v; verified was %s", at, state.Tag, history, wanted.Digest)
		}
		if !moved.Load() {
			if at < 20 {
				t.Errorf("only %d requests follow", at)
			}
			return
		}
	}
}
