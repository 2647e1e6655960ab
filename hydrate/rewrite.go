package hydrate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
)

// rewriteImages pins by digest the images that name a locked repository with or without a tag: they become
// REPOSITORY@DIGEST, with the repository as written. Pinned images and objects that SOPS encrypted stay. If the lock has
// two images of one repository, the tag decides.
func rewriteImages(objects []Object, locked []lock.NamedImage) ([]Object, error) {
	out := slices.Clone(objects)
	for i, o := range objects {
		if _, encrypted := o.content["sops"].(map[string]any); encrypted {
			continue
		}
		changed := map[string]string{}
		var ambiguous string
		for _, found := range o.found().images {
			image := found.ref()
			switch candidates := lockedAs(image, locked); len(candidates) {
			case 0:
			case 1:
				changed[image] = lock.Image{Ref: image, Digest: candidates[0].Digest}.Pinned()
			default:
				ambiguous = image
			}
		}
		if ambiguous != "" {
			return nil, fmt.Errorf("%s: %v: the image %s may be any of several locked images of that repository; name one by its tag or digest", o.Source, o, ambiguous)
		}
		if len(changed) == 0 {
			continue
		}
		copied, err := parseDocument(o.YAML()) // objects share their content
		if err != nil {
			return nil, err
		}
		out[i] = copied[0]
		out[i].Source = o.Source
		var f findings // not found(), which keeps what the copy holds before it is changed
		f.add(place{}, out[i].content)
		for _, found := range f.images {
			if pinned, locked := changed[found.ref()]; locked {
				found.holder[found.key] = pinned
			}
		}
	}
	return out, nil
}

// lockedAs returns the locked images that a reference without digest may mean, by different digests.
func lockedAs(image string, locked []lock.NamedImage) (candidates []lock.NamedImage) {
	if strings.Contains(image, "@") {
		return nil
	}
	written := lock.Image{Ref: image}
	for _, l := range locked {
		if !l.IsOf(written.Repository()) {
			continue
		}
		if l.Tag() != "" && l.Tag() == written.Tag() {
			return []lock.NamedImage{l}
		}
		if !slices.ContainsFunc(candidates, func(c lock.NamedImage) bool { return c.Digest == l.Digest }) {
			candidates = append(candidates, l)
		}
	}
	return candidates
}
