package hydrate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// guardSecrets refuses objects with a Secret's data in the clear, unless its name is allowed, and returns the allowed names
// that were needed. Errors name objects, never their content.
//
// A Secret is populated if data or stringData has a value that is not empty. It may be an object of its own or part of
// another that applies it (an OpenShift Template, say). A Secret that SOPS encrypted passes if each of its values is
// encrypted; SealedSecret, ExternalSecret and similar kinds pass.
func guardSecrets(objects []Object, allowed []string) (used []string, err error) {
	var refused []string
	for _, o := range objects {
		for _, name := range o.found().secrets {
			switch {
			case slices.Contains(allowed, name):
				used = append(used, name)
			case o.Group == "" && o.Kind == "Secret":
				refused = append(refused, fmt.Sprintf("%s: %v", o.Source, o))
			default:
				refused = append(refused, fmt.Sprintf("%s: Secret %s in %v", o.Source, name, o))
			}
		}
	}
	slices.Sort(used)
	used = slices.Compact(used)
	if len(refused) == 0 {
		return used, nil
	}
	return used, fmt.Errorf("the render holds Secrets in the clear, which everybody could read who can pull the artifact:\n  %s\nuse SOPS, "+
		"SealedSecrets or ExternalSecrets, or name those that may be public (render.allowSecrets)", strings.Join(firstOf(refused, maxProblems), "\n  "))
}

// populatedSecret returns the name of a Secret with data in the clear.
func populatedSecret(content map[string]any) (name string, populated bool) {
	if content["kind"] != "Secret" || content["apiVersion"] != "v1" {
		return "", false
	}
	sops, _ := content["sops"].(map[string]any)
	encrypted := isEncrypted(text(sops["mac"]))
	meta, _ := content["metadata"].(map[string]any)
	return cmp.Or(text(meta["name"]), text(meta["generateName"])), isPopulated(content["data"], encrypted) || isPopulated(content["stringData"], encrypted)
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
