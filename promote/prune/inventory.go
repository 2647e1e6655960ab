package prune

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/oci"
)

// inventory is all tags of a repository, and what they name.
type inventory struct {
	tags  map[string]digest.Digest
	named map[digest.Digest][]string // the tags of each, sorted
}

// takeInventory resolves every tag. To delete a manifest is to delete all of its tags: so none may be overlooked.
func takeInventory(ctx context.Context, repository *oci.Repository) (*inventory, error) {
	tags, err := repository.Tags(ctx, "")
	if err != nil {
		return nil, err
	}
	inv := &inventory{tags: map[string]digest.Digest{}, named: map[digest.Digest][]string{}}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(listConcurrency)
	for _, tag := range tags {
		group.Go(func() error {
			desc, err := repository.Resolve(ctx, tag)
			if errors.Is(err, oci.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			inv.tags[tag] = desc.Digest
			inv.named[desc.Digest] = append(inv.named[desc.Digest], tag)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, names := range inv.named {
		slices.Sort(names)
	}
	return inv, nil
}

// written matches what follows a stage in the tags that hydration writes for it.
var written = regexp.MustCompile(`^\.(git-[0-9a-f]{40}|img-sha256-[0-9a-f]{64}(\.[0-9a-f]{12})?)$`)

// ofStage tells whether hydration could have written a tag for a stage. The stage's own tag is not among those.
func ofStage(tag, stage string) bool {
	rest, ok := strings.CutPrefix(tag, stage)
	return ok && written.MatchString(rest)
}

// artifacts are the digests that tags of a stage name, sorted.
func (inv *inventory) artifacts(stage string) []digest.Digest {
	var all []digest.Digest
	for d, tags := range inv.named {
		if slices.ContainsFunc(tags, func(tag string) bool { return ofStage(tag, stage) }) {
			all = append(all, d)
		}
	}
	slices.Sort(all)
	return all
}

// attachment matches the tags that name what is attached to a digest: the fallback tag of the referrers API, and where cosign
// keeps the older forms.
var attachment = regexp.MustCompile(`^sha256-([0-9a-f]{64})(\.(sig|att|sbom))?$`)

// bereft are the digests that something is attached to by a tag and that no tag names, sorted.
func (inv *inventory) bereft() []digest.Digest {
	var all []digest.Digest
	for tag := range inv.tags {
		if m := attachment.FindStringSubmatch(tag); m != nil {
			if d := digest.NewDigestFromEncoded(digest.SHA256, m[1]); len(inv.named[d]) == 0 {
				all = append(all, d)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// attached are the tags in the older forms that name what is attached to a digest and what nothing else names.
func (inv *inventory) attached(d digest.Digest) []string {
	var tags []string
	for _, suffix := range []string{".sig", ".att", ".sbom"} {
		tag := oci.FallbackTag(d) + suffix
		if named, ok := inv.tags[tag]; ok && len(inv.named[named]) == 1 {
			tags = append(tags, tag)
		}
	}
	return tags
}
