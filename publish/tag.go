package publish

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
)

// maxLooks bounds how often the ledger is read again because tags had to be moved.
const maxLooks = 20

// tag makes the tags follow the ledger. Registries have no compare-and-swap on tags: after a tag was moved the ledger is read
// again, since a run that recorded a newer hydration may have tagged it before this one did.
func (r *run) tag(ctx context.Context, stages []*stage) {
	stages = filter(stages, func(s *stage) bool { return s.result.Err == nil })
	for range maxLooks {
		moved := r.tagOnce(ctx, stages)
		if r.DryRun || len(moved) == 0 {
			return
		}
		stages = nil
		for remote, own := range byRemote(moved, func(s *stage) *git.Remote { return s.ledger }) {
			now, err := ledger.ReadCandidates(ctx, remote, wanted(own)...)
			for _, s := range own {
				changed, err := false, err
				if err == nil {
					changed, err = s.follow(ctx, now)
				}
				if err != nil {
					s.fail(fmt.Errorf("ledger: %w", err))
				} else if changed {
					stages = append(stages, s)
				}
			}
		}
	}
	for _, s := range stages {
		s.fail(fmt.Errorf("%s: others kept hydrating it; run hydrate again", s))
	}
}

// follow takes over the entry that the ledger has now, and reports whether it is of another artifact.
func (s *stage) follow(ctx context.Context, now *ledger.Candidates) (bool, error) {
	s.candidates = now
	e, ok, err := now.Entry(ctx, s.candidate())
	if errors.Is(err, ledger.ErrEntry) || err == nil && !ok {
		return false, fmt.Errorf("%s has no entry of %s any more: somebody set the branch back; run hydrate again", s.Declared.Ledger.Candidates, s)
	}
	if err != nil || e.Digest == s.entry.Digest {
		return false, err
	}
	if _, ok, err = s.prove(ctx, e); err != nil || !ok {
		return false, err
	}
	s.take(ctx, e)
	return true, nil
}

// tagOnce points the tags of the stages at their entries, and returns the stages that had a tag moved.
func (r *run) tagOnce(ctx context.Context, stages []*stage) []*stage {
	var moved []*stage
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(concurrency)
	for _, s := range stages {
		group.Go(func() error {
			is, err := s.tag(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.fail(err)
			} else if is {
				moved = append(moved, s)
			}
			return nil
		})
	}
	_ = group.Wait() // the results hold the errors
	return moved
}

// tag points the tags at the stage's entry, the candidate's last, and reports whether it moved one.
func (s *stage) tag(ctx context.Context) (moved bool, err error) {
	all := s.tags.All()
	if s.tagged {
		return false, nil
	}
	if s.recorded && s.desc.Digest == s.entry.Digest && !s.collides() && s.store.Tag(ctx, s.desc, all...) == nil {
		s.pushed() // what the tags named before does not matter, but to a registry that refuses
		return true, nil
	}
	for _, tag := range all {
		named, err := s.repository.Lookup(ctx, tag)
		switch {
		case err != nil:
			return moved, err
		case named == s.entry.Digest:
			continue
		case named != "" && tag == s.tags.Hydration:
			return moved, fmt.Errorf("%s names %s, which is another artifact, and the tag never moves: delete the tag if nothing uses it, and run hydrate again",
				s.repository.Reference(tag), named)
		case named != "" && tag == s.tags.Image:
			if later, err := s.isLater(ctx, named); err != nil {
				return moved, err
			} else if later {
				continue
			}
		}
		if s.desc.Digest != s.entry.Digest {
			if s.desc, err = s.repository.Resolve(ctx, s.entry.Digest.String()); err != nil {
				return moved, err
			}
		}
		if err := s.store.Tag(ctx, s.desc, tag); err != nil {
			return moved, err
		}
		moved = true
		s.pushed()
	}
	return moved, nil
}

// collides reports whether the entry that this one replaced has the same hydration's tag.
func (s *stage) collides() bool {
	before := s.replaced
	return before != nil && before.Digest != s.entry.Digest && oci.TagsOf(s.Name, before.Tagged(), before.Release, before.Input).Hydration == s.tags.Hydration
}

// isLater reports whether an artifact is the candidate of another release of the same image, hydrated later than the stage's: the
// image's tag stays there.
func (s *stage) isLater(ctx context.Context, named digest.Digest) (bool, error) {
	at := s.candidate()
	releases, err := s.candidates.Releases(ctx, at.Branch, s.Name)
	if err != nil || s.recorded {
		return false, err
	}
	for _, release := range releases {
		at.Release = release
		e, ok, err := s.candidates.Entry(ctx, at)
		if errors.Is(err, ledger.ErrEntry) || err == nil && (!ok || e.Digest != named || e.Release == s.entry.Release) {
			continue
		}
		if err != nil {
			return false, err
		}
		if _, ok, err = s.prove(ctx, e); err != nil || !ok {
			return false, err
		}
		return s.run.ref().IsAncestor(ctx, s.entry.GitOps.Commit, e.GitOps.Commit)
	}
	return false, nil
}
