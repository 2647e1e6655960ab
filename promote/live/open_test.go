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

// remotes opens one remote, by the name origin.
type remotes struct{ origin *git.Remote }

var errNoRemote = errors.New("no such remote")

func (r remotes) Remote(_ context.Context, name string) (*git.Remote, error) {
	if name != "origin" || r.origin == nil {
		return nil, errNoRemote
	}
	return r.origin, nil
}

func (remotes) Remotes(context.Context) ([]string, error) { return []string{"origin"}, nil }
func (remotes) Root() string                              { return "" }

func TestOpen(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	client, origin := testworld.Client(), remotes{s.remote()}
	files := fstest.MapFS{"keys/promoter.pub": {Data: s.key.PublicKey().PEM()}}
	declared := pipeline.Expanded{
		Pipeline: "web", Stage: "production", Repository: s.repository.Name(),
		Ledger: pipeline.Ledger{Remote: "origin", Live: branch}, Mirror: &pipeline.Mirror{Path: path, When: pipeline.OnHydrate},
	}
	if _, err := live.Open(t.Context(), files, testworld.History{policy}, declared, client, origin); !errors.Is(err, verify.ErrIdentity) || live.Promotes(declared) {
		t.Errorf("no promoter: %v", err)
	}
	declared.Identities = map[string]pipeline.Identity{"promoter": {Key: "keys/promoter.pub"}}
	opened, err := live.Open(t.Context(), files, testworld.History{policy}, declared, client, origin)
	if err != nil || opened.Claim != s.stage.Claim || opened.Place != s.stage.Place || !live.Promotes(declared) {
		t.Fatalf("opened %+v, %v", opened, err)
	}
	// It is the stage that the scene makes by hand.
	s.chain(1)
	if state, err := live.Read(t.Context(), opened); err != nil || state.Live == nil {
		t.Errorf("state %+v, %v", state, err)
	}
	if _, err := live.Open(t.Context(), files, testworld.History{policy}, declared, client, remotes{}); !errors.Is(err, errNoRemote) || !strings.Contains(err.Error(), "ledger.remote") {
		t.Errorf("got %v", err)
	}
}
