package helm

import (
	"fmt"
	"maps"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/lfs"
)

// mergeValues layers values files and sets values over them, as `helm template -f … --set-literal …` does.
func mergeValues(d dialect, files []hydrate.File, set []hydrate.SetValue) (map[string]any, error) {
	merged := map[string]any{}
	for _, f := range files {
		if reason, ok := lfs.Unreadable(f.Data); ok {
			return nil, fmt.Errorf("values file %s %s", f.Path, reason)
		}
		content, err := d.parse(f.Data)
		if err != nil {
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
		if encrypted(layer) {
			return nil, fmt.Errorf("values file %s %s", f.Path, sopsError)
		}
		merged = mergeMaps(merged, layer)
	}
	return setValues(merged, set)
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
