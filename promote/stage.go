package promote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign/predicate"
)

// stage is one stage that is looked at: where its state is kept, what that is, and what becomes of it.
type stage struct {
	task
	repository *oci.Repository
	live       live.Stage
	state      live.State
	result     Result
}

// errNoRelease says that a pipeline has nothing to promote.
var errNoRelease = errors.New("nothing was released yet")

// open finds out where a stage's state is kept. It returns a stage even with an error, for the result.
func (r *run) open(ctx context.Context, t task) (*stage, error) {
	s := &stage{task: t}
	current, err := lock.Current(r.files, t.pipeline.Lock)
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("%w: %w", errNoRelease, err)
	}
	if err != nil {
		return s, err
	}
	// Where state is kept does not depend on the release; what does is expanded anew for each.
	declared, err := t.pipeline.Expand(t.stage.Name, current.Lock, r.files)
	if err != nil {
		return s, err
	}
	if s.repository, err = r.Client.Repository(declared.Repository); err != nil {
		return s, err
	}
	s.live, err = live.Open(ctx, r.files, declared, r.Client, r.Workspace.Repository)
	s.result.Branch = s.live.Place.Branch
	return s, err
}

// chain is the promotions of a stage, the newest first.
func (r *run) chain(ctx context.Context, s *stage) *sequence[live.Promotion] {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.chains[s.key()]
	if c == nil {
		c = newSequence(live.History(ctx, s.live))
		r.chains[s.key()] = c
	}
	return c
}

// forget drops what was read of a stage's promotions, because there is a new one.
func (r *run) forget(s *stage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.chains[s.key()]; c != nil {
		c.close()
		delete(r.chains, s.key())
	}
}

// close ends all reading.
func (r *run) close() {
	for _, h := range r.histories {
		h.close()
	}
	for _, c := range r.chains {
		c.close()
	}
}

// artifactOf is what is live, as records name it; nil for nothing.
func artifactOf(p *live.Promotion) *predicate.Artifact {
	if p == nil {
		return nil
	}
	return &p.To
}
