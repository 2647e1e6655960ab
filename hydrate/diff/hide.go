package diff

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// hidden stands for a value that is not shown. It is made before anything is compared, so that no value of a Secret
// reaches the code that reports. The whole sum is kept for telling values apart, four digits of it are shown: with more,
// whoever reads a pull request could try passwords until one fits.
type hidden struct {
	length int
	sum    [sha256.Size]byte
}

// hide hides a scalar. The length is that of the data where the value is its base64 encoding.
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

// lastApplied is where `kubectl apply` writes the whole object, data of Secrets and all.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// concealed returns value with the values of all Secrets in it hidden, those inside of other objects too.
func concealed(value any) any {
	switch value := value.(type) {
	case map[string]any:
		secret := isSecret(value)
		out := make(map[string]any, len(value))
		for key, v := range value {
			switch {
			case !secret && key == "binaryData":
				out[key] = concealAll(v, true)
			case !secret || key == "apiVersion" || key == "kind" || key == "type" || key == "immutable":
				out[key] = concealed(v)
			case key == "metadata":
				out[key] = concealMetadata(v)
			default:
				// Not only data and stringData: a misspelt key holds the same secret.
				out[key] = concealAll(v, key == "data")
			}
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, v := range value {
			out[i] = concealed(v)
		}
		return out
	}
	return value
}

// isSecret tells a Secret from a reference to one, which has a name instead of metadata.
func isSecret(value map[string]any) bool {
	version, _ := value["apiVersion"].(string)
	_, object := value["metadata"].(map[string]any)
	return value["kind"] == "Secret" && !strings.Contains(version, "/") && object
}

func concealMetadata(value any) any {
	meta, ok := concealed(value).(map[string]any)
	if !ok {
		return concealAll(value, false)
	}
	if annotations, ok := meta["annotations"].(map[string]any); ok && annotations[lastApplied] != nil {
		annotations[lastApplied] = concealAll(annotations[lastApplied], false)
	}
	return meta
}

// concealAll hides every value but null and keeps the keys.
func concealAll(value any, encoded bool) any {
	switch value := value.(type) {
	case nil:
		return nil
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, v := range value {
			out[key] = concealAll(v, encoded)
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, v := range value {
			out[i] = concealAll(v, encoded)
		}
		return out
	default:
		return hide(value, encoded)
	}
}
