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
		for _, s := range objects[i].found().digests {
			missing = slices.DeleteFunc(missing, func(digest string) bool { return strings.Contains(s, digest) })
		}
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
		for _, container := range o.found().containers {
			images = append(images, text(container["image"]))
		}
	}
	slices.Sort(images)
	return slices.Compact(images)
}

// requireDigests refuses containers whose image is not pinned by digest.
func requireDigests(objects []Object) error {
	var found []string
	for _, o := range objects {
		for _, container := range o.found().containers {
			if image := text(container["image"]); !pinned.MatchString(image) {
				found = append(found, fmt.Sprintf("%s: %v: container %s: %s", o.Source, o, text(container["name"]), image))
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("images are not pinned by digest (render.requireDigests):\n  %s\nwrite them as REPOSITORY@sha256:…, or lock them and "+
		"set render.rewriteImages", strings.Join(firstOf(found, maxProblems), "\n  "))
}

// findings are what the rules of a stage look for in an object, wherever it is.
type findings struct {
	containers []map[string]any // those that name an image
	secrets    []string         // names of the Secrets with data in the clear
	digests    []string         // strings that hold the digest of an image
}

// add looks at a value and at every value below it. key is that of the map that holds the value, "" for items of lists.
func (f *findings) add(key string, v any) {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "sha256:") {
			f.digests = append(f.digests, v)
		}
	case map[string]any:
		if name, populated := populatedSecret(v); populated {
			f.secrets = append(f.secrets, name)
		}
		for key, item := range v {
			f.add(key, item)
		}
	case []any:
		holds := key == "containers" || key == "initContainers" || key == "ephemeralContainers"
		for _, item := range v {
			if container, _ := item.(map[string]any); holds && text(container["image"]) != "" {
				f.containers = append(f.containers, container)
			}
			f.add("", item)
		}
	}
}
