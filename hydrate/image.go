package hydrate

import (
	"fmt"
	"slices"
	"strings"
)

// AssertImage checks that each digest ("sha256:…") occurs in some string of some object.
func AssertImage(objects []Object, digests []string) error {
	missing := slices.Clone(digests)
	for _, o := range objects {
		if len(missing) == 0 {
			return nil
		}
		walk(o.content, func(_ string, v any) {
			if s, ok := v.(string); ok {
				missing = slices.DeleteFunc(missing, func(digest string) bool { return strings.Contains(s, digest) })
			}
		})
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("the locked image %s occurs in none of the %d rendered objects; hand it to the package (render.set), or "+
		"render without the check (render.assertImage: false)", strings.Join(missing, ", "), len(objects))
}

// Images returns the images of all containers, sorted, each once: the `image` of every entry of a list `containers`,
// `initContainers` or `ephemeralContainers`, wherever it stands, so that custom resources with Pod templates count too.
func Images(objects []Object) []string {
	var images []string
	for _, o := range objects {
		walk(o.content, func(key string, v any) {
			if key != "containers" && key != "initContainers" && key != "ephemeralContainers" {
				return
			}
			containers, _ := v.([]any)
			for _, c := range containers {
				container, _ := c.(map[string]any)
				if image := text(container["image"]); image != "" {
					images = append(images, image)
				}
			}
		})
	}
	slices.Sort(images)
	return slices.Compact(images)
}

// walk visits every value below content with the key of the map that holds it, "" for items of lists.
func walk(content map[string]any, visit func(key string, value any)) {
	for key, v := range content {
		visit(key, v)
		walkValue(v, visit)
	}
}

func walkValue(v any, visit func(string, any)) {
	switch v := v.(type) {
	case map[string]any:
		walk(v, visit)
	case []any:
		for _, item := range v {
			visit("", item)
			walkValue(item, visit)
		}
	}
}
