package promote

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
)

// openCandidates reads which candidates the ledger has of a stage.
func (r *run) openCandidates(ctx context.Context, s *stage, declared pipeline.Expanded, release string) error {
	remote, err := verify.LedgerRemote(ctx, declared, r.Workspace.Repository)
	if err != nil {
		return err
	}
	s.entries = verify.NameOf(declared, release)
	s.candidates, err = ledger.ReadCandidates(ctx, remote, s.entries)
	return err
}

// candidate returns the ledger's entry of a release for a stage, which is not proven; false for none.
func (r *run) candidate(ctx context.Context, s *stage, release string) (ledger.Entry, bool, error) {
	name := s.entries
	name.Release = release
	e, ok, err := s.candidates.Entry(ctx, name)
	if errors.Is(err, ledger.ErrEntry) {
		err = fmt.Errorf("%w: %w; hydrate again", policy.ErrDenied, err)
	}
	return e, ok, err
}
