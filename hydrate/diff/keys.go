package diff

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// mergeKeys are the keys that may identify the items of a list, best first, as Kubernetes' API declares them for its lists
// (`x-kubernetes-list-map-keys`, `patchMergeKey`).
var mergeKeys = map[string][][]string{
	"ports":                     {{"name"}, {"containerPort", "protocol"}, {"port", "protocol"}},
	"volumeMounts":              {{"mountPath"}},
	"volumeDevices":             {{"devicePath"}},
	"hostAliases":               {{"ip"}},
	"subjects":                  {{"kind", "namespace", "name"}},
	"topologySpreadConstraints": {{"topologyKey", "whenUnsatisfiable"}},
	"tolerations":               {{"key", "operator", "value", "effect"}},
	"volumeClaimTemplates":      {{"metadata.name"}},
	"ownerReferences":           {{"uid"}},
}

// otherKeys are the same for all other lists: those that items of Kubernetes or of custom resources commonly have.
var otherKeys = [][]string{{"name"}, {"key"}, {"id"}, {"alert"}, {"record"}, {"host"}, {"path"}, {"port"}, {"refId"}, {"title"}, {"type"}}

// sharedKeys returns the keys of all items of two lists, if one of the list's merge keys identifies them on both sides.
func sharedKeys(list string, before, after []any) (olds, news []string, ok bool) {
	if len(before) == 0 || len(after) == 0 {
		return nil, nil, false
	}
	candidates := mergeKeys[list]
	if candidates == nil {
		candidates = otherKeys
	}
	for _, keys := range candidates {
		if olds, ok = keysOf(before, keys); !ok {
			continue
		}
		if news, ok = keysOf(after, keys); ok {
			return olds, news, true
		}
	}
	return nil, nil, false
}

// keysOf returns the step of a path to each item, "name=app", and reports whether all are different. Of several keys all
// but one may be missing, as a protocol may.
func keysOf(list []any, keys []string) ([]string, bool) {
	met := make(map[string]bool, len(list))
	out := make([]string, len(list))
	for i, item := range list {
		m, _ := item.(map[string]any)
		var parts []string
		for _, key := range keys {
			value := get(m, strings.Split(key, ".")...)
			if value == nil {
				continue
			}
			part, ok := keyText(value)
			if !ok {
				return nil, false
			}
			parts = append(parts, key+"="+part)
		}
		out[i] = strings.Join(parts, ",")
		if out[i] == "" || met[out[i]] {
			return nil, false
		}
		met[out[i]] = true
	}
	return out, true
}

func keyText(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		// What could be taken for a number, or ends the brackets, is quoted.
		if _, err := strconv.ParseFloat(value, 64); err != nil && isSimple(value, "_-$./:") {
			return value, true
		}
		return strconv.Quote(value), true
	case int64, uint64, bool, float64, json.Number:
		return fmt.Sprint(value), true
	}
	return "", false
}
