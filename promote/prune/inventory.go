package prune

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/oci"
)

// inventory holds all tags of a repository, and what they name.
type inventory struct {
	tags  map[string]digest.Digest
	named map[digest.Digest][]string // the tags of each, sorted
}

// takeInventory resolves every tag: deleting a manifest deletes all of its tags, so that none may be overlooked.
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
			named, err := repository.Lookup(ctx, tag)
			if err != nil || named == "" {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			inv.tags[tag] = named
			inv.named[named] = append(inv.named[named], tag)
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

// written matches what follows the stage in the tags that hydration writes.
var written = regexp.MustCompile(`^\.(git-[0-9a-f]{40}(-[0-9a-f]{12})?|chart-[v0-9][0-9A-Za-z._-]{0,39}-[0-9a-f]{12}|(img|chart)-sha256-[0-9a-f]{64})(\.[0-9a-f]{12})?$`)

// ofStage reports whether hydration could have written a tag for a stage. Promotion writes the stage's own tag.
func ofStage(tag, stage string) bool {
	rest, ok := strings.CutPrefix(tag, stage)
	return ok && written.MatchString(rest)
}

// artifacts returns the digests that tags of a stage name, sorted.
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

// attachment matches the tags that name what is attached to a digest: the fallback tag of the referrers API, and cosign's tags
// of the older forms.
var attachment = regexp.MustCompile(`^sha256-([0-9a-f]{64})(\.(sig|att|sbom))?$`)

// untagged returns the digests that no tag names although a tag names what is attached to them, sorted.
func (inv *inventory) untagged() []digest.Digest {
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

// attached returns the tags of the older forms of a digest if no other tag names the same.
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

// releases holds what the policy ref knows of releases.
type releases struct {
	known   map[string]bool // of those that were asked about
	current map[string]bool // of these, the ones that once were
	kept    map[string]bool
}

// releases finds the newest releases of a lock directory, and which of those that are asked about were ever released: their
// lock exists, or was the current one, which is found too.
func (r Request) releases(ctx context.Context, dir, current string, asked map[string]bool) (releases, error) {
	found := releases{known: map[string]bool{current: true}, kept: map[string]bool{current: true}, current: map[string]bool{}}
	ids, err := lock.Releases(r.Files, dir)
	if err != nil {
		return found, err
	}
	for _, id := range ids {
		found.known[id] = true
	}
	missing := maps.Clone(asked)
	more := func() bool { return len(found.kept) < r.Keep || len(missing) > 0 }
	for id, err := range r.PolicyRef.Releases(ctx, r.Files, dir) {
		if err != nil {
			return found, err
		}
		if found.known[id], found.current[id] = true, true; len(found.kept) < r.Keep {
			found.kept[id] = true
		}
		if delete(missing, id); !more() {
			break
		}
	}
	return found, nil
}

// releasesIn returns the releases that candidates' tags of the stages name.
func releasesIn(inventories map[string]*inventory, stages []string) map[string]bool {
	all := map[string]bool{}
	for _, inv := range inventories {
		for tag := range inv.tags {
			if stage, release, ok := strings.Cut(tag, "."); ok && slices.Contains(stages, stage) && lock.CheckID(release) == nil {
				all[release] = true
			}
		}
	}
	return all
}

// check returns why a release is not old; "" if it is.
func (r releases) check(release, policyRef string) string {
	switch {
	case r.kept[release]:
		return "it is kept"
	case !r.known[release]:
		return fmt.Sprintf("its release %s is not on %s", release, policyRef)
	}
	return ""
}
