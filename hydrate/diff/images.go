package diff

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate"
)

// ImageChange is an image that replaces another one in objects, is new to them (Before is "") or is gone (After is "").
type ImageChange struct {
	Before  string `json:"before"`
	After   string `json:"after"`
	Objects int    `json:"objects"`
}

// images collects the images in a value by the path of their field: see [hydrate.IsImage].
func images(found map[string]string, at Path, value any) map[string]string {
	switch value := value.(type) {
	case map[string]any:
		for key, v := range value {
			here := at.key(key)
			if hydrate.IsImage(at.lastKey(), key, v) {
				found[here.String()] = text(v)
			}
			images(found, here, v)
		}
	case []any:
		keys, keyed := keysOf(value, []string{"name"})
		for i, v := range value {
			here := at.index(i)
			if keyed {
				here = at.item(keys[i])
			}
			images(found, here, v)
		}
	}
	return found
}

// imageChanges returns the images that changed in an object, sorted, each once, with Objects 0.
func (c *comparison) imageChanges() []ImageChange {
	before, after := images(map[string]string{}, nil, c.before), images(map[string]string{}, nil, c.after)
	all := maps.Clone(before)
	maps.Copy(all, after)
	var changes []ImageChange
	for at := range all {
		if before[at] != after[at] {
			changes = append(changes, ImageChange{Before: before[at], After: after[at]})
		}
	}
	slices.SortFunc(changes, compareImages)
	return slices.Compact(changes)
}

func compareImages(a, b ImageChange) int {
	return cmp.Or(strings.Compare(cmp.Or(a.After, a.Before), cmp.Or(b.After, b.Before)), strings.Compare(a.Before, b.Before), strings.Compare(a.After, b.After))
}

// countImages returns the image changes of all objects, sorted.
func countImages(comparisons []*comparison) []ImageChange {
	objects := map[ImageChange]int{}
	for _, c := range comparisons {
		for _, change := range c.imageChanges() {
			objects[change]++
		}
	}
	changes := []ImageChange{}
	for _, change := range slices.SortedFunc(maps.Keys(objects), compareImages) {
		change.Objects = objects[change]
		changes = append(changes, change)
	}
	return changes
}

// summary returns an image change in short: "ghcr.io/acme/app", "v1 → v2".
func (c ImageChange) summary() (repository, change string) {
	before, old := splitImage(c.Before)
	after, current := splitImage(c.After)
	switch {
	case c.Before == "":
		return after, "new " + current
	case c.After == "":
		return before, "no longer " + old
	case before == after:
		return after, old + " → " + current
	}
	return after, before + " " + old + " → " + current
}

// image returns the summary of an image change, and reports whether the field is an image of one repository.
func (f FieldChange) image() (repository, change string, ok bool) {
	before, after, ok := f.texts()
	if n := len(f.Path); !ok || len(f.Inside) > 0 || n < 2 || f.Path[n-1].item || !hydrate.IsImage(f.Path[:n-1].lastKey(), f.Path[n-1].name, after) {
		return "", "", false
	}
	old, _ := splitImage(before)
	repository, change = ImageChange{Before: before, After: after}.summary()
	return repository, change, old == repository
}

// splitImage splits a reference into repository and version, a digest shortened to twelve digits.
func splitImage(ref string) (repository, version string) {
	rest, digest, pinned := strings.Cut(ref, "@")
	repository, tag := rest, ""
	if colon := strings.LastIndexByte(rest, ':'); colon > strings.LastIndexByte(rest, '/') {
		repository, tag = rest[:colon], rest[colon+1:]
	}
	version = cmp.Or(tag, "latest")
	if pinned {
		const shown = len("sha256:") + 12
		if len(digest) > shown {
			digest = digest[:shown] + "…"
		}
		version = strings.TrimSpace(tag + " @" + digest)
	}
	return repository, version
}

// imageRisks reports images that changed, and those that may now change without a new release.
func imageRisks(c *comparison) []Risk {
	var changed, unpinned []string
	for _, change := range c.imageChanges() {
		repository, text := change.summary()
		changed = append(changed, repository+": "+text)
		if strings.Contains(change.Before, "@sha256:") && change.After != "" && !strings.Contains(change.After, "@sha256:") {
			unpinned = append(unpinned, change.After)
		}
	}
	if c.change != Changed {
		changed = nil
	}
	return slices.Concat(risk(RiskImage, Warning, "image is no longer pinned by digest", unpinned), risk(RiskImage, Info, "image changes", changed))
}
