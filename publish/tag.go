package publish

import (
	"context"
	"fmt"
	"slices"

	"github.com/lockage/lockage/oci"
)

// tag writes the tag of this hydration, and moves the tags that follow the newest one.
func (s *stage) tag(ctx context.Context, h *hydration) error {
	h, err := s.tagHydration(ctx, h)
	if err != nil {
		return err
	}
	stale, err := s.staleTags(ctx, h)
	if err != nil || len(stale) == 0 {
		return err
	}
	// The tags are about to move from another hydration to this one. A later comparison of the two must find that this one
	// belongs to this GitOps commit too, and not only to the older one that it was first made from.
	if !slices.Contains(h.commits, s.run.head) {
		if err := s.attestProvenance(ctx, h); err != nil {
			return err
		}
	}
	for _, tag := range stale {
		if _, err := s.writer.Tag(ctx, h.desc(), tag); err != nil {
			return err
		}
	}
	s.result.Action = Pushed
	return s.yield(ctx, h)
}

// tagHydration points the tag of this hydration at h. That tag never moves: if it names another artifact meanwhile, made of
// the same inputs by a render that is not deterministic, that artifact is the hydration, and h is dropped.
func (s *stage) tagHydration(ctx context.Context, h *hydration) (*hydration, error) {
	if s.tagged {
		return h, nil
	}
	other, err := s.load(ctx, s.tags.Hydration)
	switch {
	case err != nil:
		return nil, err
	case other == nil:
		s.result.Action = Pushed
		_, err := s.writer.Tag(ctx, h.desc(), s.tags.Hydration)
		return h, err
	case other.desc().Digest == h.desc().Digest:
		return h, nil
	case other.input() != s.input || !s.hydrated(other):
		return nil, fmt.Errorf("%s names %s already, which is another artifact, and the tag never moves: delete the tag if nothing uses it, and run hydrate again",
			s.repository.Reference(s.tags.Hydration), other.desc().Digest)
	}
	s.describe(other)
	return other, nil
}

// staleTags lists the moving tags that have to name h and do not. The image's tag stays with a later release of the same
// image, unless h is new.
func (s *stage) staleTags(ctx context.Context, h *hydration) ([]string, error) {
	var stale []string
	for _, tag := range []string{s.tags.Candidate, s.tags.Image} {
		named, err := s.repository.Lookup(ctx, tag)
		if err != nil {
			return nil, err
		}
		if named == h.desc().Digest {
			continue
		}
		if named != "" && tag == s.tags.Image && len(stale) == 0 && s.result.Action == Unchanged {
			other, err := s.load(ctx, tag)
			if err != nil {
				return nil, err
			}
			if other != nil && other.isFor(s.claim) && other.manifest.Annotations[oci.AnnotationRelease] != s.claim.Release {
				continue
			}
		}
		stale = append(stale, tag)
	}
	return stale, nil
}

// point points a tag at h, and reports whether that moved it.
func (s *stage) point(ctx context.Context, tag string, h *hydration) (moved bool, err error) {
	named, err := s.repository.Lookup(ctx, tag)
	if err != nil || named == h.desc().Digest {
		return false, err
	}
	return s.writer.Tag(ctx, h.desc(), tag)
}

// maxLooks bounds how often the tags are read again because they had to be moved.
const maxLooks = 20

// yield points the moved tags at the newest hydration of the image, if that is another one: it was written while this one
// was in progress. After it moved a tag it reads again: an even newer one may have been tagged just before.
func (s *stage) yield(ctx context.Context, own *hydration) error {
	for range maxLooks {
		image, candidate, err := s.newestOf(ctx, own)
		if err != nil {
			return err
		}
		moved, err := s.point(ctx, s.tags.Image, image)
		if err != nil {
			return err
		}
		if candidate != own {
			again, err := s.point(ctx, s.tags.Candidate, candidate)
			if err != nil {
				return err
			}
			moved = moved || again
		}
		switch {
		case moved: // read again
		case candidate != own:
			return s.supersede(ctx, candidate)
		default:
			return nil
		}
	}
	return fmt.Errorf("%s: others kept moving it; run hydrate again", s.repository.Reference(s.tags.Candidate))
}

// newestOf compares all hydrations of the image. It returns the newest one, and the newest of this release.
func (s *stage) newestOf(ctx context.Context, own *hydration) (image, candidate *hydration, err error) {
	tags, err := s.repository.Tags(ctx, oci.HydrationPrefix(s.tags.Image))
	if err != nil {
		return nil, nil, err
	}
	image, candidate = own, own
	for _, tag := range tags {
		if tag == s.tags.Hydration {
			continue
		}
		other, err := s.load(ctx, tag)
		if err != nil {
			return nil, nil, err
		}
		if other == nil || !other.isFor(s.claim) {
			continue
		}
		if image, err = s.newest(ctx, image, other); err != nil {
			return nil, nil, err
		}
		if other.manifest.Annotations[oci.AnnotationRelease] != s.claim.Release {
			continue
		}
		if candidate, err = s.newest(ctx, candidate, other); err != nil {
			return nil, nil, err
		}
	}
	return image, candidate, nil
}

// newest returns the hydration of two that was made from the later GitOps commit, and a if neither was.
func (s *stage) newest(ctx context.Context, a, b *hydration) (*hydration, error) {
	later, err := s.later(ctx, a.commits, b.commits)
	if later {
		return b, err
	}
	return a, err
}
