package strictyaml

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
)

// JSON returns n as JSON, or the problems: strings, booleans, null, lists and maps as they are, times as strings, and numbers
// exactly, integers of any size.
func (n *Node) JSON() (json.RawMessage, Problems) {
	var problems Problems
	value := n.plain(&problems)
	if len(problems) > 0 {
		return nil, problems
	}
	data, err := json.Marshal(value)
	if err != nil {
		return nil, Problems{{n.Pos, err.Error()}}
	}
	return data, nil
}

// plain returns n as encoding/json encodes it, null in place of what has a problem.
func (n *Node) plain(problems *Problems) any {
	if n == nil {
		return nil
	}
	switch n.Kind {
	case Map:
		value := make(map[string]any, len(n.Entries))
		d := decoding{}
		for _, e := range n.Entries {
			if !d.isMergeKey(e) {
				value[e.Key] = e.Value.plain(problems)
			}
		}
		*problems = append(*problems, d.problems...)
		return value
	case List:
		value := make([]any, len(n.Items))
		for i, item := range n.Items {
			value[i] = item.plain(problems)
		}
		return value
	}
	switch n.Tag {
	case "!!str", "!!timestamp":
		return n.Value
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if number, ok := n.number(); ok {
			return number
		}
	}
	problems.Add(n.Pos, "%s has no place in JSON: write a string, a number, true, false, null, a list or a map", n.describe())
	return nil
}

// number returns a number as JSON writes it; not ok for what JSON has no number for, such as .inf.
func (n *Node) number() (number json.Number, ok bool) {
	text := strings.ReplaceAll(n.Value, "_", "")
	if i, ok := new(big.Int).SetString(text, 0); ok {
		return json.Number(i.String()), true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return "", false
	}
	data, err := json.Marshal(f) // the shortest text that reads as f; not of infinity
	return json.Number(data), err == nil
}
