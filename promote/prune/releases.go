package prune

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
)

// releases holds what the policy ref knows of releases.
type releases struct {
	known map[string]bool // of those that were asked about
	kept  map[string]bool
}

// releases finds the newest releases of a lock directory, and which of those that are asked about were ever released: their
// lock exists, or was the current one.
func (r Request) releases(ctx context.Context, dir, current string, asked map[string]bool) (releases, error) {
	found := releases{known: map[string]bool{current: true}, kept: map[string]bool{current: true}}
	ids, err := lock.Releases(r.Files, dir)
	if err != nil {
		return found, err
	}
	for _, id := range ids {
		found.known[id] = true
	}
	missing := maps.Clone(asked)
	maps.DeleteFunc(missing, func(id string, _ bool) bool { return found.known[id] })
	more := func() bool { return len(found.kept) < r.Keep || len(missing) > 0 }
	if !more() {
		return found, nil
	}
	for id, err := range r.PolicyRef.Releases(ctx, r.Files, dir) {
		if err != nil {
			return found, err
		}
		if found.known[id] = true; len(found.kept) < r.Keep {
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
