package engine

import (
	"bytes"
	"encoding/json"
	"strings"
	"text/template"

	"github.com/BurntSushi/toml"
	"sigs.k8s.io/yaml"
	yaml3 "sigs.k8s.io/yaml/goyaml.v3"
)

// encodings are functions that Helm adds to sprig's. Those that cannot encode return "", but for toToml, which returns the
// error; those that cannot decode return the error in place of the content.
var encodings = template.FuncMap{
	"toYaml": toYAML, "toYamlPretty": toYAMLPretty, "toJson": lenient(encodeJSON), "toToml": toTOML,
	"fromYaml": decodeMap(DecodeYAML), "fromYamlArray": decodeList(DecodeYAML),
	"fromJson": decodeMap(json.Unmarshal), "fromJsonArray": decodeList(json.Unmarshal),
	"fromToml": decodeMap(toml.Unmarshal),
}

func encodeYAML(v any) (string, error) {
	data, err := yaml.Marshal(v)
	return strings.TrimSuffix(string(data), "\n"), err
}

func encodeJSON(v any) (string, error) {
	data, err := json.Marshal(v)
	return string(data), err
}

func encodeTOML(v any) (string, error) {
	var out bytes.Buffer
	err := toml.NewEncoder(&out).Encode(v)
	return out.String(), err
}

// lenient returns an encoder that returns "" where encode fails.
func lenient(encode func(any) (string, error)) func(any) string {
	return func(v any) string {
		out, err := encode(v)
		if err != nil {
			return ""
		}
		return out
	}
}

func toYAML(v any) string { return lenient(encodeYAML)(v) }

func toYAMLPretty(v any) string {
	var out bytes.Buffer
	encoder := yaml3.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSuffix(out.String(), "\n")
}

func toTOML(v any) string {
	out, err := encodeTOML(v)
	if err != nil {
		return err.Error()
	}
	return out
}

// decodeMap returns a function that decodes a map.
func decodeMap(decode func([]byte, any) error) func(string) map[string]any {
	return func(text string) map[string]any {
		out := map[string]any{}
		if err := decode([]byte(text), &out); err != nil {
			if out == nil {
				out = map[string]any{}
			}
			out["Error"] = err.Error()
		}
		return out
	}
}

// decodeList returns a function that decodes a list.
func decodeList(decode func([]byte, any) error) func(string) []any {
	return func(text string) []any {
		out := []any{}
		if err := decode([]byte(text), &out); err != nil {
			return []any{err.Error()}
		}
		return out
	}
}
