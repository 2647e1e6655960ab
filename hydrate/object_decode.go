package hydrate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	yaml11 "go.yaml.in/yaml/v2"
	"go.yaml.in/yaml/v3"
)

// maxKeyBytes is what YAML allows the key of a `key: value` line, quotes and escapes included, with some room left.
const maxKeyBytes = 1000

// decode decodes one YAML document to map[string]any, []any, string, bool, int64, uint64, float64 and nil.
//
// The result is that of sigs.k8s.io/yaml.Unmarshal with integers kept, by the same parser, without the detour over JSON.
// Where that package's answer depends on chance (keys 1 and "1" in one map) or mangles (binary data), this is an error.
func decode(data []byte) (any, error) {
	var value any
	if err := yaml11.Unmarshal(data, &value); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	d := decoder{budget: maxDocumentBytes}
	return d.value(value, 0)
}

type decoder struct {
	budget int // bytes that the values may still have; aliases count as what they expand to
}

func (d *decoder) spend(n int) error {
	if d.budget -= n + 1; d.budget < 0 {
		return fmt.Errorf("values of more than %d bytes, aliases expanded", maxDocumentBytes)
	}
	return nil
}

func (d *decoder) value(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("maps and lists nested more than %d deep", maxDepth)
	}
	switch v := v.(type) {
	case map[any]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			key, err := d.key(k)
			if err != nil {
				return nil, err
			}
			if _, twice := out[key]; twice {
				return nil, fmt.Errorf("key %.60q is given twice, once quoted and once not", key)
			}
			if out[key], err = d.value(item, depth+1); err != nil {
				return nil, err
			}
		}
		return out, d.spend(0)
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			var err error
			if out[i], err = d.value(item, depth+1); err != nil {
				return nil, err
			}
		}
		return out, d.spend(0)
	case string:
		if !utf8.ValidString(v) {
			return nil, errors.New("a value is binary data (tag !!binary); Kubernetes takes such data as a base64 string without the tag")
		}
		return v, d.spend(len(v))
	case int:
		return int64(v), d.spend(0)
	case float64:
		n, err := number(v)
		return n, errors.Join(err, d.spend(0))
	default: // nil, bool, int64, uint64
		return v, d.spend(0)
	}
}

// number brings a float to what JSON makes of it: whole numbers are integers.
func number(f float64) (any, error) {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil, fmt.Errorf("the number %v; JSON, and so Kubernetes, has no such number", f)
	case f == math.Trunc(f) && -1<<63 <= f && f < 1<<63:
		return int64(f), nil
	}
	return f, nil
}

func (d *decoder) key(k any) (string, error) {
	var key string
	switch k := k.(type) {
	case string:
		key = k
	case int:
		key = strconv.Itoa(k)
	case int64:
		key = strconv.FormatInt(k, 10)
	case bool:
		key = strconv.FormatBool(k)
	case float64:
		if math.IsNaN(k) || math.IsInf(k, 0) {
			return "", fmt.Errorf("a key is %s, not a string", describe(k))
		}
		// 32 bits are what sigs.k8s.io/yaml writes.
		key = strconv.FormatFloat(k, 'g', -1, 32)
	default:
		return "", fmt.Errorf("a key is %s, not a string", describe(k))
	}
	if !utf8.ValidString(key) {
		return "", errors.New("a key is binary data (tag !!binary)")
	}
	if 4*len(key) > maxKeyBytes && len(appendScalar(nil, key)) > maxKeyBytes {
		return "", fmt.Errorf("key %.60q… has more than the %d bytes that YAML allows", key, maxKeyBytes)
	}
	return key, d.spend(len(key))
}

// pairs is a map in the order of its keys.
type pairs []pair

type pair struct{ key, value any }

// asWritten is a plain scalar kept letter for letter: the MAC may cover 1.10, which is the number 1.1.
type asWritten string

// decodeOrdered decodes one document, an object that SOPS encrypted, to pairs, []any, string and asWritten. read is what
// decode makes of it. The document is published as it is, so that readers of YAML 1.1 and of YAML 1.2, and those that merge
// or take the first of two keys, must agree on it: what they may read differently is an error.
func decodeOrdered(data []byte, read any) (any, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	fields, _ := read.(map[string]any)
	metadata, _ := fields["metadata"].(map[string]any)
	if one, other := twins(fields, metadata); one != "" {
		return nil, fmt.Errorf("keys %.60q and %.60q, which some readers take for one; remove one", one, other)
	}
	if len(doc.Content) == 0 {
		return nil, errors.New("some readers take it for an empty document")
	}
	return orderedValue(doc.Content[0], read, 0)
}

// twins returns two keys of one map that differ in letter case only.
func twins(maps ...map[string]any) (one, other string) {
	for _, m := range maps {
		met := map[string]string{}
		for _, key := range sortedKeys(m) {
			lower := strings.ToLower(key)
			if before, twice := met[lower]; twice {
				return before, key
			}
			met[lower] = key
		}
	}
	return "", ""
}

func orderedValue(n *yaml.Node, read any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("maps and lists nested more than %d deep", maxDepth)
	}
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		return nil, fmt.Errorf("line %d: an anchor or alias; write the value out, SOPS encrypts none", n.Line)
	}
	switch n.Kind {
	case yaml.MappingNode:
		return orderedMap(n, read, depth)
	case yaml.SequenceNode:
		items, _ := read.([]any)
		if len(items) != len(n.Content) {
			return nil, disagreement(n)
		}
		out := make([]any, len(items))
		for i, item := range n.Content {
			var err error
			if out[i], err = orderedValue(item, items[i], depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	switch {
	case !readsAs(n, read):
		return nil, disagreement(n)
	case n.Style == 0 && n.Value == "":
		return nil, nil
	case n.Style == 0 && !strings.ContainsAny(n.Value, "\n"):
		return asWritten(n.Value), nil
	case n.Tag == "!!str":
		return n.Value, nil
	}
	return nil, fmt.Errorf("line %d: tag %s; remove it", n.Line, n.Tag)
}

func orderedMap(n *yaml.Node, read any, depth int) (any, error) {
	met := map[string]bool{}
	for entry := range slices.Chunk(n.Content, 2) {
		switch key := entry[0]; {
		case key.Anchor != "" || key.Kind == yaml.AliasNode:
			return nil, fmt.Errorf("line %d: an anchor or alias; write the key out", key.Line)
		case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
			return nil, fmt.Errorf("line %d: a merge key (<<), which some readers apply and others do not; write its fields out", key.Line)
		case key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str":
			return nil, disagreement(key)
		case met[key.Value]:
			return nil, fmt.Errorf("line %d: key %.60q is given twice, and readers take one or the other; remove one", key.Line, key.Value)
		default:
			met[key.Value] = true
		}
	}
	fields, _ := read.(map[string]any)
	out := make(pairs, 0, len(met))
	for entry := range slices.Chunk(n.Content, 2) {
		key := entry[0]
		item, has := fields[key.Value]
		if !has || len(fields) != len(met) {
			return nil, disagreement(key)
		}
		value, err := orderedValue(entry[1], item, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, pair{orderedKey(key), value})
	}
	return out, nil
}

// orderedKey keeps plain keys as they are.
func orderedKey(key *yaml.Node) any {
	if key.Style == 0 && !strings.Contains(key.Value, "\n") {
		return asWritten(key.Value)
	}
	return key.Value
}

// disagreement is the error for a value that readers of YAML 1.1 and 1.2 take for different ones.
func disagreement(n *yaml.Node) error {
	return fmt.Errorf("line %d: %.60q is one value under YAML 1.1 and another under YAML 1.2; quote it", n.Line, n.Value)
}

// readsAs reports whether YAML 1.2 reads a scalar as the same value.
func readsAs(n *yaml.Node, read any) bool {
	if n.ShortTag() == "!!timestamp" { // a string to all that read objects
		return read == n.Value
	}
	var modern any
	if err := n.Decode(&modern); err != nil {
		return false
	}
	switch v := modern.(type) {
	case int:
		modern = int64(v)
	case float64:
		modern, _ = number(v)
	}
	return modern == read
}
