package hydrate

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
)

// pinned matches image references that name their content.
var pinned = regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)

// Assertion says where every locked digest must occur in the output.
type Assertion string

// The assertions. What lies in `metadata` is read by people and tools: a digest there does not say what runs.
const (
	AssertOutsideMetadata Assertion = "" // in a scalar outside of `metadata`
	AssertAnywhere        Assertion = "anywhere"
	AssertNothing         Assertion = "false"
)

// assertImages checks that the digest of each locked image occurs where it must, in some object that everybody applies.
func assertImages(objects []Object, locked []lock.NamedImage, where Assertion) error {
	var missing []string
	noted := false // some digest that is missing occurs in metadata
	for _, image := range locked {
		missing = append(missing, image.Digest.String())
	}
	occurs := func(texts []string) func(string) bool {
		return func(digest string) bool {
			return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, digest) })
		}
	}
	for i := 0; i < len(objects) && len(missing) > 0; i++ {
		if _, left := objects[i].LeftOut(); left {
			continue
		}
		found := objects[i].found()
		missing = slices.DeleteFunc(missing, occurs(found.digests))
		if where == AssertAnywhere {
			missing = slices.DeleteFunc(missing, occurs(found.noted))
		}
		noted = noted || slices.ContainsFunc(missing, occurs(found.noted))
	}
	if len(missing) == 0 {
		return nil
	}
	instead := "render without the check (render.assertImage: false)"
	if noted {
		instead = "if a digest in labels or annotations is what you want, set render.assertImage: anywhere"
	}
	return fmt.Errorf("the locked image %s occurs in none of the %d rendered objects, outside of metadata; hand it to the package (render.set for a chart, "+
		"render.image for kustomize), or %s", strings.Join(missing, ", "), len(objects), instead)
}

// IsImage reports whether a value is the reference of an image, by its key and that of the map or list around it. It is the one list
// of where images stand: the `image` of a container, of an image volume (`image.reference`), and of anything else if it is
// spelled like a reference, so that custom resources count too. In files of a ConfigMap and in labels it is a text.
func IsImage(parent, key string, value any) bool {
	s, _ := value.(string)
	switch {
	case s == "":
		return false
	case key == "reference":
		return parent == "image"
	case key != "image" || parent == "data" || parent == "stringData" || parent == "labels" || parent == "annotations":
		return false
	}
	return isContainers(parent) || strings.ContainsAny(s, "/:@") && !strings.ContainsAny(s, " \t\r\n")
}

func isContainers(key string) bool {
	return key == "containers" || key == "initContainers" || key == "ephemeralContainers"
}

// Images returns the images of all objects, sorted, each once: see [IsImage].
func Images(objects []Object) []string {
	var images []string
	for _, o := range objects {
		for _, image := range o.found().images {
			images = append(images, image.ref())
		}
	}
	slices.Sort(images)
	return slices.Compact(images)
}

// requireDigests refuses images that are not pinned by digest.
func requireDigests(objects []Object) error {
	var found []string
	for _, o := range objects {
		for _, image := range o.found().images {
			if ref := image.ref(); !pinned.MatchString(ref) {
				found = append(found, fmt.Sprintf("%s: %v: %s: %s", o.Source, o, image.owner, ref))
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
	images  []foundImage
	secrets []foundSecret
	digests []string // strings outside of metadata that hold the digest of an image
	noted   []string // the same in metadata
}

// foundImage is the reference of an image in an object.
type foundImage struct {
	holder map[string]any
	key    string // in holder
	owner  string // for people: "container web"
}

func (i foundImage) ref() string { return text(i.holder[i.key]) }

// place is where a value stands.
type place struct {
	key      string // of the map or list around it
	owner    string // the container or volume, for people
	metadata bool   // at or below the key metadata
}

// add looks at a value and at every value below it.
func (f *findings) add(at place, v any) {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "sha256:") && at.metadata {
			f.noted = append(f.noted, v)
		} else if strings.Contains(v, "sha256:") {
			f.digests = append(f.digests, v)
		}
	case map[string]any:
		f.secrets = append(f.secrets, secretsIn(v)...)
		for key, item := range v {
			if IsImage(at.key, key, item) {
				f.images = append(f.images, foundImage{v, key, cmp.Or(at.owner, "field "+key)})
			}
			if key == "openAPIV3Schema" {
				continue // examples and defaults of a definition, which runs nothing
			}
			_, nested := item.(map[string]any)
			f.add(place{key, at.owner, at.metadata || key == "metadata" && nested}, item)
		}
	case []any:
		for _, item := range v {
			fields, _ := item.(map[string]any)
			switch name := text(fields["name"]); {
			case isContainers(at.key):
				at.owner = "container " + name
			case at.key == "volumes":
				at.owner = "volume " + name
			}
			f.add(at, item)
		}
	}
}
