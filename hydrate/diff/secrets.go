package diff

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// hidden replaces a value that is not shown. It is made before anything is compared, so that no value of a Secret reaches
// the code that reports. The whole sum is kept to distinguish values, four digits of it are shown: with more, a reader of
// a pull request could try passwords until one fits.
type hidden struct {
	length int
	sum    [sha256.Size]byte
}

// hide hides a scalar. The length is that of the data if the value is its base64 encoding.
func hide(value any, encoded bool) hidden {
	text := fmt.Sprint(value)
	h := hidden{len(text), sha256.Sum256(fmt.Appendf(nil, "%T %v", value, value))}
	if data, err := base64.StdEncoding.DecodeString(text); encoded && err == nil {
		h.length = len(data)
	}
	return h
}

func (h hidden) String() string {
	return fmt.Sprintf("«%d bytes hidden, hash %x»", h.length, h.sum[:2])
}

// lastApplied is the annotation to which `kubectl apply` writes the whole object, including the data of a Secret.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// conceal returns value with the values of all Secrets in it hidden, also of those inside other objects.
func conceal(value any) any {
	object, _ := value.(map[string]any)
	secret := isSecret(object)
	return mapChildren(value, func(key string, v any) any {
		switch {
		case object["kind"] == "ConfigMap" && key == "binaryData":
			return concealAll(v, true)
		case !secret || key == "apiVersion" || key == "kind" || key == "type" || key == "immutable":
			return conceal(v)
		case key == "metadata":
			return concealMetadata(v)
		}
		// Not only data and stringData: a misspelt key holds the same secret.
		return concealAll(v, key == "data")
	})
}

// isSecret distinguishes a Secret from a reference to one, which has a name instead of metadata.
func isSecret(value map[string]any) bool {
	version, _ := value["apiVersion"].(string)
	_, object := value["metadata"].(map[string]any)
	return value["kind"] == "Secret" && !strings.Contains(version, "/") && object
}

func concealMetadata(value any) any {
	meta, ok := conceal(value).(map[string]any)
	if !ok {
		return concealAll(value, false)
	}
	annotations, _ := meta["annotations"].(map[string]any)
	for key, v := range annotations {
		if key == lastApplied || isJSON(text(v)) { // other programs record the object under other keys
			annotations[key] = concealAll(v, false)
		}
	}
	return meta
}

// concealAll hides every value but null and keeps the keys.
func concealAll(value any, encoded bool) any {
	return mapScalars(value, func(scalar any) any {
		if scalar == nil {
			return nil
		}
		return hide(scalar, encoded)
	})
}

// mapScalars returns a copy of value with each scalar replaced.
func mapScalars(value any, replace func(scalar any) any) any {
	if !nested(value) {
		return replace(value)
	}
	return mapChildren(value, func(_ string, v any) any { return mapScalars(v, replace) })
}

// mapChildren returns a copy of a map or list with each value in it replaced; key is "" in a list.
func mapChildren(value any, replace func(key string, v any) any) any {
	switch value := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, v := range value {
			out[key] = replace(key, v)
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, v := range value {
			out[i] = replace("", v)
		}
		return out
	}
	return value
}
