package helm

import (
	"fmt"
	"maps"
	"strings"

	"helm.sh/helm/v3/pkg/strvals"
	"sigs.k8s.io/yaml"

	"github.com/lockage/lockage/hydrate"
)

// mergeValues layers values files and sets literal strings over them, as `helm template -f … --set-literal …` does.
func mergeValues(files []hydrate.File, set []hydrate.SetValue) (map[string]any, error) {
	merged := map[string]any{}
	for _, f := range files {
		var content any
		if err := yaml.Unmarshal(f.Data, &content); err != nil {
			return nil, fmt.Errorf("values file %s: %s", f.Path, cleanYAML(err))
		}
		layer, isMap := content.(map[string]any)
		if !isMap && content != nil {
			kind := "a single value"
			if _, isList := content.([]any); isList {
				kind = "a list"
			}
			return nil, fmt.Errorf("values file %s: values are a map, and this is %s", f.Path, kind)
		}
		merged = mergeMaps(merged, layer)
	}
	for _, s := range set {
		if s.Key == "" || strings.Contains(s.Key, "=") {
			return nil, fmt.Errorf("set %q: a key is a path into the values, such as image.tag or hosts[0].name", s.Key)
		}
		if err := strvals.ParseLiteralInto(s.Key+"="+s.Value, merged); err != nil {
			return nil, fmt.Errorf("set %q: does the path lead through a value that is not a map or list? (%w)", s.Key, err)
		}
	}
	return merged, nil
}

// mergeMaps returns a copy of a with b merged over it: maps are merged, other values are replaced.
func mergeMaps(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	for key, value := range b {
		over, isMap := value.(map[string]any)
		under, wasMap := out[key].(map[string]any)
		if isMap && wasMap {
			value = mergeMaps(under, over)
		}
		out[key] = value
	}
	return out
}
