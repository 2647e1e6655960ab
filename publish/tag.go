package publish

import (
	"context"
	"fmt"
	"slices"

	"github.com/lockage/lockage/oci"
)

// tag writes the tag of this hydration, and moves the tags that follow the newest one.
func (p *publication) tag(ctx context.Context, h *hydration) error {
	h, err := p.settle(ctx, h)
	if err != nil {
		return err
	}
	stale, err := p.stale(ctx, h)
	if err != nil || len(stale) == 0 {
		return err
	}
	// The tags are about to leave another hydration for this one. Whoever compares the two later must find that this one
	// belongs to this GitOps commit too, and not only to the older one that it was first made from.
	if !slices.Contains(h.commits, p.GitOpsCommit) {
		if err := p.attestProvenance(ctx, h); err != nil {
			return err
		}
	}
	for _, tag := range stale {
		if _, err := p.Writer.Tag(ctx, h.manifest.Descriptor, tag); err != nil {
			return err
		}
	}
	p.out.Action = Pushed
	return p.yield(ctx, h)
}

// settle gives h the tag of this hydration. That tag never moves: should it name another artifact meanwhile, made of
// the same inputs by a render that is not deterministic, that one is the hydration, and h is forgotten.
func (p *publication) settle(ctx context.Context, h *hydration) (*hydration, error) {
	if p.settled {
		return h, nil
	}
	other, err := p.load(ctx, p.tags.Hydration)
	switch {
	case err != nil:
		return nil, err
	case other == nil:
		p.out.Action = Pushed
		_, err := p.Writer.Tag(ctx, h.manifest.Descriptor, p.tags.Hydration)
		return h, err
	case other.manifest.Descriptor.Digest == h.manifest.Descriptor.Digest:
		return h, nil
	case other.manifest.Annotations[oci.AnnotationInputDigest] != p.input.String() || !p.hydrated(other):
		return nil, fmt.Errorf("%s names %s already, which is not this hydration; the tag never moves: remove it by hand if nothing uses it",
			p.Registry.Reference(p.tags.Hydration), other.manifest.Descriptor.Digest)
	}
	p.describe(other)
	return other, nil
}

// stale lists the moving tags that have to name h and do not. The image's tag stays with a later release of the same
// image, unless h is new.
func (p *publication) stale(ctx context.Context, h *hydration) ([]string, error) {
	var stale []string
	for _, tag := range []string{p.tags.Candidate, p.tags.Image} {
		desc, err := p.Registry.Resolve(ctx, tag)
		if notFound(err) != nil {
			return nil, err
		}
		if err == nil && desc.Digest == h.manifest.Descriptor.Digest {
			continue
		}
		if err == nil && tag == p.tags.Image && len(stale) == 0 && p.out.Action == Unchanged {
			other, err := p.load(ctx, tag)
			if err != nil {
				return nil, err
			}
			if other != nil && other.isFor(p.claim) && other.manifest.Annotations[oci.AnnotationRelease] != p.claim.Release {
				continue
			}
		}
		stale = append(stale, tag)
	}
	return stale, nil
}

// point makes a tag name h, and tells whether that moved it.
func (p *publication) point(ctx context.Context, tag string, h *hydration) (moved bool, err error) {
	desc, err := p.Registry.Resolve(ctx, tag)
	switch {
	case notFound(err) != nil:
		return false, err
	case err == nil && desc.Digest == h.manifest.Descriptor.Digest:
		return false, nil
	}
	return p.Writer.Tag(ctx, h.manifest.Descriptor, tag)
}

// maxLooks bounds how often the tags are looked at again because they had to be moved.
const maxLooks = 20

// yield gives the moved tags to the newest hydration of the image, should that be another one: it was written while
// this one was under way. Having moved a tag, it looks again: an even newer one may have been tagged just before.
func (p *publication) yield(ctx context.Context, own *hydration) error {
	for range maxLooks {
		image, candidate, err := p.newestOf(ctx, own)
		if err != nil {
			return err
		}
		moved, err := p.point(ctx, p.tags.Image, image)
		if err != nil {
			return err
		}
		if candidate != own {
			again, err := p.point(ctx, p.tags.Candidate, candidate)
			if err != nil {
				return err
			}
			moved = moved || again
		}
		switch {
		case moved: // look again
		case candidate != own:
			return p.supersede(ctx, candidate)
		default:
			return nil
		}
	}
	return fmt.Errorf("%s: others kept moving it; run again", p.Registry.Reference(p.tags.Candidate))
}

// newestOf looks at all hydrations of the image. It returns the newest one, and the newest of this release.
func (p *publication) newestOf(ctx context.Context, own *hydration) (image, candidate *hydration, err error) {
	tags, err := p.Registry.Tags(ctx, oci.HydrationPrefix(p.tags.Image))
	if err != nil {
		return nil, nil, err
	}
	image, candidate = own, own
	for _, tag := range tags {
		if tag == p.tags.Hydration {
			continue
		}
		other, err := p.load(ctx, tag)
		if err != nil {
			return nil, nil, err
		}
		if other == nil || !other.isFor(p.claim) {
			continue
		}
		if image, err = p.newest(ctx, image, other); err != nil {
			return nil, nil, err
		}
		if other.manifest.Annotations[oci.AnnotationRelease] != p.claim.Release {
			continue
		}
		if candidate, err = p.newest(ctx, candidate, other); err != nil {
			return nil, nil, err
		}
	}
	return image, candidate, nil
}

// newest returns the one of two hydrations that was made from the later GitOps commit, and a if neither was.
func (p *publication) newest(ctx context.Context, a, b *hydration) (*hydration, error) {
	later, err := p.later(ctx, a.commits, b.commits)
	if later {
		return b, err
	}
	return a, err
}
