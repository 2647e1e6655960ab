package hydrate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
)

// pinned matches image references that name their content.
var pinned = regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)

// assertImages checks that the digest of each locked image occurs in some string of some object.
func assertImages(objects []Object, locked []lock.NamedImage) error {
	var missing []string
	for _, image := range locked {
		missing = append(missing, image.Digest.String())
	}
	for i := 0; i < len(objects) && len(missing) > 0; i++ {
		walk("", objects[i].content, func(_ string, v any) {
			if s, ok := v.(string); ok {
				missing = slices.DeleteFunc(missing, func(digest string) bool { return strings.Contains(s, digest) })
			}
		})
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("the locked image %s occurs in none of the %d rendered objects; hand it to the package (render.set; for kustomize an entry "+
		"of images), or render without the check (render.assertImage: false)", strings.Join(missing, ", "), len(objects))
}

// Images returns the images of all containers, sorted, each once: of every list `containers`, `initContainers` or
// `ephemeralContainers` anywhere in an object, so that custom resources with Pod templates count too.
func Images(objects []Object) []string {
	var images []string
	for _, o := range objects {
		o.containers(func(container map[string]any) { images = append(images, text(container["image"])) })
	}
	slices.Sort(images)
	return slices.Compact(images)
}

// containers visits the containers that name an image.
func (o Object) containers(visit func(container map[string]any)) {
	walk("", o.content, func(key string, v any) {
		if key != "containers" && key != "initContainers" && key != "ephemeralContainers" {
			return
		}
		list, _ := v.([]any)
		for _, c := range list {
			if container, _ := c.(map[string]any); text(container["image"]) != "" {
				visit(container)
			}
		}
	})
}

// requireDigests refuses containers whose image is not pinned by digest.
func requireDigests(objects []Object) error {
	var found []string
	for _, o := range objects {
		o.containers(func(container map[string]any) {
			if image := text(container["image"]); !pinned.MatchString(image) {
				found = append(found, fmt.Sprintf("%s: %v: container %s: %s", o.Source, o, text(container["name"]), image))
			}
		})
	}
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("images are not pinned by digest (render.requireDigests):\n  %s\nwrite them as REPOSITORY@sha256:…, or lock them and "+
		"set render.rewriteImages", strings.Join(firstOf(found, maxProblems), "\n  "))
}

// walk visits v and every value below it with the key of the map that holds it, "" for items of lists.
func walk(key string, v any, visit func(key string, value any)) {
	visit(key, v)
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			walk(key, item, visit)
		}
	case []any:
		for _, item := range v {
			walk("", item, visit)
		}
	}
}
