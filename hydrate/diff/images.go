package diff

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// images returns the images in an object by the path of the field: every `image` that is a text without blanks, so that
// those of custom resources count too.
func images(content map[string]any) map[string]string {
	found := map[string]string{}
	var walk func(at path, value any)
	walk = func(at path, value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, v := range value {
				if ref, ok := v.(string); ok && key == "image" && ref != "" && !strings.ContainsAny(ref, " \t\r\n") {
					found[at.to(key).String()] = ref
				} else {
					walk(at.to(key), v)
				}
			}
		case []any:
			keys, ok := keysOf(value, []string{"name"})
			for i, v := range value {
				key := strconv.Itoa(i)
				if ok {
					key = keys[i]
				}
				walk(at.toItem(key), v)
			}
		}
	}
	walk(nil, content)
	for _, key := range []string{"data", "binaryData"} { // of a ConfigMap, say, with a file that is called image
		delete(found, key+".image")
	}
	return found
}

// change is an image that stands for another one.
type imagePair struct{ before, after string }

// imageChanges returns the images that changed in an object, sorted, each once.
func (p *pair) imageChanges() []imagePair {
	before, after := images(p.was), images(p.now)
	var changes []imagePair
	for at, image := range before {
		if after[at] != image {
			changes = append(changes, imagePair{image, after[at]})
		}
	}
	for at, image := range after {
		if before[at] == "" {
			changes = append(changes, imagePair{"", image})
		}
	}
	slices.SortFunc(changes, comparePairs)
	return slices.Compact(changes)
}

func comparePairs(a, b imagePair) int {
	return cmp.Or(strings.Compare(cmp.Or(a.after, a.before), cmp.Or(b.after, b.before)), strings.Compare(a.before, b.before), strings.Compare(a.after, b.after))
}

// imageTally counts the objects in which images changed.
type imageTally map[imagePair]int

func (t imageTally) add(p *pair) {
	for _, change := range p.imageChanges() {
		t[change]++
	}
}

func (t imageTally) changes() []ImageChange {
	changes := make([]ImageChange, 0, len(t))
	for change, n := range t {
		changes = append(changes, ImageChange{Before: change.before, After: change.after, Objects: n})
	}
	slices.SortFunc(changes, func(a, b ImageChange) int {
		return comparePairs(imagePair{a.Before, a.After}, imagePair{b.Before, b.After})
	})
	return changes
}

// summary writes an image change short: "ghcr.io/acme/app: v1 → v2".
func (c ImageChange) summary() (repository, change string) {
	before, wasVersion := splitImage(c.Before)
	after, isVersion := splitImage(c.After)
	switch {
	case c.Before == "":
		return after, "new " + isVersion
	case c.After == "":
		return before, "no longer " + wasVersion
	case before == after:
		return after, wasVersion + " → " + isVersion
	}
	return after, before + " " + wasVersion + " → " + isVersion
}

// image says how an image changed, in short, where the field is one. It is another
// version of one repository's.
func (f FieldChange) image() (repository, change string, ok bool) {
	before, was := f.Before.(string)
	after, is := f.After.(string)
	if !was || !is || f.Inside != "" || !strings.HasSuffix(f.Path, ".image") {
		return "", "", false
	}
	old, _ := splitImage(before)
	repository, change = ImageChange{Before: before, After: after}.summary()
	return repository, change, old == repository
}

// splitImage splits a reference into repository and what follows it, the digest cut to twelve digits.
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

// imageRisks tells which images changed, and which may now change without a new release.
func imageRisks(p *pair) []Risk {
	var changed, unpinned []string
	for _, change := range p.imageChanges() {
		repository, text := ImageChange{Before: change.before, After: change.after}.summary()
		changed = append(changed, repository+": "+text)
		if strings.Contains(change.before, "@sha256:") && change.after != "" && !strings.Contains(change.after, "@sha256:") {
			unpinned = append(unpinned, change.after)
		}
	}
	var risks []Risk
	if len(unpinned) > 0 {
		risks = append(risks, Risk{RiskImage, Warning, "image is no longer pinned by digest", unpinned})
	}
	if len(changed) > 0 && p.change == Changed {
		risks = append(risks, Risk{RiskImage, Info, "image changes", changed})
	}
	return risks
}
