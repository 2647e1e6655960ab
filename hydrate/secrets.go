package hydrate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// foundSecret is a Secret with data in the clear.
type foundSecret struct {
	name     string
	recorded bool // in an annotation, as `kubectl apply` records what it applied
}

// guardSecrets refuses objects with a Secret's data in the clear, unless its name is allowed, and returns the allowed names
// that were needed. Errors name objects, never their content.
//
// A Secret is populated if it has a value that is not empty beside its metadata and type. It may be an object of its own, part of
// another that applies it (an OpenShift Template, say), or recorded in an annotation. A Secret that SOPS encrypted passes if
// each of its values is encrypted; SealedSecret, ExternalSecret and similar kinds pass.
func guardSecrets(objects []Object, allowed []string) (used []string, err error) {
	var refused []string
	for _, o := range objects {
		for _, secret := range o.found().secrets {
			switch {
			case slices.Contains(allowed, secret.name):
				used = append(used, secret.name)
			case secret.recorded:
				refused = append(refused, fmt.Sprintf("%s: Secret %s in an annotation of %v", o.Source, secret.name, o))
			case o.Group == "" && strings.EqualFold(o.Kind, "Secret"):
				refused = append(refused, fmt.Sprintf("%s: %v", o.Source, o))
			default:
				refused = append(refused, fmt.Sprintf("%s: Secret %s in %v", o.Source, secret.name, o))
			}
		}
	}
	slices.Sort(used)
	used = slices.Compact(used)
	if len(refused) == 0 {
		return used, nil
	}
	slices.Sort(refused)
	return used, fmt.Errorf("the render holds Secrets in the clear, which everybody could read who can pull the artifact:\n  %s\nuse SOPS, "+
		"SealedSecrets or ExternalSecrets, or name those that may be public (render.allowSecrets)", strings.Join(firstOf(slices.Compact(refused), maxProblems), "\n  "))
}

// secretsIn returns the Secrets with data in the clear that a map is, or has in its annotations.
func secretsIn(content map[string]any) (found []foundSecret) {
	if name, populated := populatedSecret(content); populated {
		found = append(found, foundSecret{name: name})
	}
	if items, list := content["items"].([]any); list && strings.EqualFold(text(content["kind"]), "SecretList") {
		for _, item := range items {
			fields, _ := item.(map[string]any)
			fields = maps.Clone(fields)
			if fields != nil && fields["kind"] == nil {
				fields["kind"], fields["apiVersion"] = "Secret", "v1"
				found = append(found, secretsIn(fields)...)
			}
		}
	}
	annotations, _ := content["annotations"].(map[string]any)
	for _, value := range annotations {
		if s := strings.TrimSpace(text(value)); !strings.HasPrefix(s, "{") && !strings.Contains(s, "kind:") {
			continue
		}
		recorded, err := decode([]byte(text(value)))
		if err != nil {
			continue // no object
		}
		var f findings
		f.add(place{}, recorded)
		for _, secret := range f.secrets {
			found = append(found, foundSecret{secret.name, true})
		}
	}
	return found
}

// populatedSecret returns the name of a Secret with data in the clear.
func populatedSecret(content map[string]any) (name string, populated bool) {
	if !strings.EqualFold(text(content["kind"]), "Secret") || content["apiVersion"] == nil || strings.Contains(text(content["apiVersion"]), "/") {
		return "", false
	}
	sops, _ := content["sops"].(map[string]any)
	encrypted := isEncrypted(text(sops["mac"]))
	meta, object := content["metadata"].(map[string]any)
	for key, value := range content {
		switch key {
		case "apiVersion", "kind", "metadata", "type", "immutable", "sops":
			continue
		case "data", "stringData":
		default: // a misspelt key holds the same secret; but a reference to a Secret has other fields, and no metadata
			if !object {
				continue
			}
		}
		populated = populated || isPopulated(value, encrypted)
	}
	return cmp.Or(text(meta["name"]), text(meta["generateName"])), populated
}

// isPopulated reports whether data holds a value that is neither empty nor, in an object of SOPS, encrypted.
func isPopulated(data any, sops bool) bool {
	switch data := data.(type) {
	case nil:
		return false
	case string:
		return data != "" && (!sops || !isEncrypted(data))
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(data)), func(v any) bool { return isPopulated(v, sops) })
	case []any:
		return slices.ContainsFunc(data, func(v any) bool { return isPopulated(v, sops) })
	default:
		return true
	}
}

// isEncrypted reports whether a value has SOPS' form: ENC[AES256_GCM,data:…,iv:…,tag:…,type:str].
func isEncrypted(value string) bool {
	return strings.HasPrefix(value, "ENC[AES256_GCM,data:") && strings.HasSuffix(value, "]")
}
