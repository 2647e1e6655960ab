package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	yaml11 "go.yaml.in/yaml/v2"
)

// DecodeYAML decodes a document into a map, a list or an interface as sigs.k8s.io/yaml.Unmarshal does, which Helm calls. That
// package goes through maps in Go's order: of keys that are one string in JSON (1 and "1"), and of several keys that it
// refuses, it takes any. Here the first are an error, and of the others the first in order is reported.
func DecodeYAML(data []byte, into any) error {
	var document any
	err := yaml11.Unmarshal(data, &document)
	if err == nil {
		document, err = jsonable(document)
	}
	var encoded []byte
	if err == nil {
		encoded, err = json.Marshal(document)
	}
	if err != nil {
		return fmt.Errorf("error converting YAML to JSON: %w", err)
	}
	// Decoded into &into, null changes nothing.
	if err := json.NewDecoder(bytes.NewReader(encoded)).Decode(&into); err != nil {
		return fmt.Errorf("error unmarshaling JSON: while decoding JSON: %w", err)
	}
	return nil
}

// jsonable turns the keys of maps into strings.
func jsonable(value any) (any, error) {
	var err error
	switch value := value.(type) {
	case map[any]any:
		type entry struct {
			key   string
			value any
		}
		var entries []entry
		for k, v := range value {
			key, err := jsonKey(k)
			if err != nil {
				return nil, err // The one such key is nil.
			}
			entries = append(entries, entry{key, v})
		}
		slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
		out := make(map[string]any, len(entries))
		for _, e := range entries {
			if _, twice := out[e.key]; twice {
				return nil, fmt.Errorf("key %q is given twice, once quoted and once not", e.key)
			}
			if out[e.key], err = jsonable(e.value); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(value))
		for i, v := range value {
			if out[i], err = jsonable(v); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return value, nil
}

func jsonKey(key any) (string, error) {
	switch key := key.(type) {
	case string:
		return key, nil
	case int:
		return strconv.Itoa(key), nil
	case int64:
		return strconv.FormatInt(key, 10), nil
	case bool:
		return strconv.FormatBool(key), nil
	case float64:
		switch {
		case math.IsNaN(key):
			return ".nan", nil
		case math.IsInf(key, 1):
			return ".inf", nil
		case math.IsInf(key, -1):
			return "-.inf", nil
		}
		return strconv.FormatFloat(key, 'g', -1, 32), nil
	}
	return "", fmt.Errorf("unsupported map key of type: %T, key: %+#v", key, key)
}
