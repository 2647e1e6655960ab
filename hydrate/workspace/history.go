package workspace

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockage/lockage/internal/git"
)

// ErrNoHistory is returned by Versions if no remote has the policy ref.
var ErrNoHistory = errors.New("the policy ref has no remote")

const (
	maxHistory   = 20_000 // commits that Versions reads
	historyBatch = 64     // commits read at a time: their folders cost one round trip a level
)

// Versions visits the distinct versions of a file at the commits of the policy ref, newest first and along first parents,
// until visit returns false. It skips commits without the file.
func (p *Policy) Versions(ctx context.Context, name string, visit func(data []byte) (more bool, err error)) error {
	if p.remote == nil {
		return ErrNoHistory
	}
	v := versions{remote: p.remote, name: name, visit: visit}
	seen := 0
	err := p.remote.Log(ctx, p.tip, func(c git.Commit) (bool, error) {
		seen++
		v.batch = append(v.batch, c)
		if len(v.batch) < min(historyBatch, seen) {
			return true, nil
		}
		more, err := v.flush(ctx)
		return more && seen < maxHistory, err
	})
	if err == nil {
		_, err = v.flush(ctx)
	}
	if err != nil {
		return fmt.Errorf("history of %s on %s: %w", name, p.name, err)
	}
	return nil
}

type versions struct {
	remote *git.Remote
	name   string
	visit  func([]byte) (bool, error)
	batch  []git.Commit
	last   git.Hash
	ended  bool
}

// flush visits the versions that the commits of the batch add.
func (v *versions) flush(ctx context.Context) (more bool, err error) {
	if v.ended || len(v.batch) == 0 {
		return !v.ended, nil
	}
	ids, err := v.remote.PathIDs(ctx, v.name, v.batch...)
	if err != nil {
		return false, err
	}
	v.batch = v.batch[:0]
	for _, id := range ids {
		if id == "" || id == v.last {
			continue
		}
		v.last = id
		data, err := v.remote.File(ctx, id)
		if err != nil {
			return false, err
		}
		if more, err := v.visit(data); err != nil || !more {
			v.ended = true
			return false, err
		}
	}
	return true, nil
}
