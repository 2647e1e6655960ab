package live_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
)

// remotes opens nothing.
type remotes struct{}

var errNoRemote = errors.New("no such remote")

func (remotes) Remote(context.Context, string) (*git.Remote, error) { return nil, errNoRemote }

func (remotes) Remotes(context.Context) ([]string, error) { return []string{"origin"}, nil }
func (remotes) Root() string                              { return "" }

func TestOpen(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	client := testworld.Client()
	files := fstest.MapFS{"keys/promoter.pub": {Data: s.key.PublicKey().PEM()}}
	declared := pipeline.Expanded{Pipeline: "web", Stage: "production", Repository: s.repository.Name()}
	if _, err := live.Open(t.Context(), files, declared, client, remotes{}); !errors.Is(err, verify.ErrIdentity) || live.Promotes(declared) {
		t.Errorf("no promoter: %v", err)
	}
	declared.Identities = map[string]pipeline.Identity{"promoter": {Key: "keys/promoter.pub"}}
	opened, err := live.Open(t.Context(), files, declared, client, remotes{})
	if err != nil || opened.Claim != s.stage.Claim || opened.Remote != nil || !live.Promotes(declared) {
		t.Fatalf("opened %+v, %v", opened, err)
	}
	// It is the stage that the scene makes by hand.
	p := s.next(nil, s.release(1))
	s.record(p)
	s.tag(p.release)
	if state, err := live.Read(t.Context(), opened); err != nil || state.Live == nil {
		t.Errorf("state %+v, %v", state, err)
	}
	declared.Mirror = &pipeline.Mirror{Remote: "origin", When: pipeline.OnHydrate}
	if _, err := live.Open(t.Context(), files, declared, client, remotes{}); !errors.Is(err, errNoRemote) || !strings.Contains(err.Error(), "mirror.remote of stage production") {
		t.Errorf("got %v", err)
	}
}
