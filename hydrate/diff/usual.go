package diff

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate"
)

// maxLabelsSought bounds the labels and annotations that are looked for in all objects; further ones are not folded.
const maxLabelsSought = 64

// usual decides what of [DefaultNoise] cannot matter: `caBundle` in the fields where Kubernetes has one, and labels and annotations of
// objects and of the Pods that workloads make, if they look like versions or checksums, and nothing in either tree names them: no
// selector, no downward API, no expression.
type usual struct {
	objects [][]hydrate.Object
	known   map[string]bool // whether something names a label or annotation
}

// looksHarmless matches versions and checksums.
var looksHarmless = regexp.MustCompile(`^[A-Za-z0-9+/=_.:-]{0,128}$`)

// folds reports whether the change of a field that a default pattern matches cannot matter.
func (u *usual) folds(c *comparison, f FieldChange) bool {
	if len(f.Inside) > 0 || len(f.Path) < 2 {
		return false
	}
	if f.Path.is("spec", "caBundle") {
		return c.is("apiregistration.k8s.io", "APIService")
	}
	last := len(f.Path) - 1
	if f.Path[last] == (step{name: "caBundle"}) {
		return c.is("apiextensions.k8s.io", "CustomResourceDefinition") && f.Path.is("spec", "conversion", "webhook", "clientConfig", "caBundle") ||
			c.is("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration") &&
				len(f.Path) == 4 && f.Path[0] == (step{name: "webhooks"}) && f.Path[1].item && f.Path[2] == (step{name: "clientConfig"})
	}
	return c.labelled(f.Path[:last-1]) && harmless(f.Before) && harmless(f.After) && !u.named(f.Path[last].name)
}

func harmless(value any) bool {
	return value == nil || !nested(value) && looksHarmless.MatchString(fmt.Sprint(value))
}

// labelled reports whether a path leads to the metadata of an object, or of what a workload makes.
func (c *comparison) labelled(at Path) bool {
	if at.is("metadata") {
		return true
	}
	switch c.object().Group {
	case "", "apps", "batch", "extensions":
	default:
		return false
	}
	return at.is("spec", "template", "metadata") || at.is("spec", "jobTemplate", "metadata") || at.is("spec", "jobTemplate", "spec", "template", "metadata") ||
		len(at) == 4 && at.below("spec", "volumeClaimTemplates") && at[2].item && at[3] == (step{name: "metadata"})
}

// named reports whether something in the objects names a label or annotation, or reads all of them.
func (u *usual) named(key string) bool {
	if is, known := u.known[key]; known {
		return is
	}
	if len(u.known) == maxLabelsSought {
		return true
	}
	is := slices.ContainsFunc(u.objects, func(list []hydrate.Object) bool {
		return slices.ContainsFunc(list, func(o hydrate.Object) bool { return names("", o.Content(), key) })
	})
	u.known[key] = is
	return is
}

// names reports whether a value below a key names a label or annotation, beside where that is given.
func names(parent string, value any, label string) bool {
	switch value := value.(type) {
	case string:
		return value == label || value == "metadata.labels" || value == "metadata.annotations" ||
			strings.Contains(value, label) && (strings.Contains(label, "/") || strings.Contains(value, "'"+label+"'") || strings.Contains(value, "labels."+label))
	case []any:
		return slices.ContainsFunc(value, func(v any) bool { return names(parent, v, label) })
	case map[string]any:
		for key, v := range value {
			_, nested := v.(map[string]any)
			if parent == "metadata" && nested && (key == "labels" || key == "annotations") {
				continue
			}
			if key == label || names(key, v, label) {
				return true
			}
		}
	}
	return false
}
