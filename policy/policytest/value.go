package policytest

import (
	"strconv"
	"strings"

	"github.com/lockage/lockage/internal/strictyaml"
)

// raw keeps a part of the document as it stands.
type raw struct{ *strictyaml.Node }

func (r *raw) DecodeNode(n *strictyaml.Node, _ bool) strictyaml.Problems {
	r.Node = n
	return nil
}

// value is any YAML, as JSON would have it.
type value struct{ any }

func (v *value) DecodeNode(n *strictyaml.Node, _ bool) strictyaml.Problems {
	var problems strictyaml.Problems
	v.any = convert(n, &problems)
	return problems
}

// convert returns maps by string, lists, strings, booleans, integers, floating-point numbers and nil.
func convert(n *strictyaml.Node, problems *strictyaml.Problems) any {
	switch n.Kind {
	case strictyaml.Map:
		m := make(map[string]any, len(n.Entries))
		for _, e := range n.Entries {
			m[e.Key] = convert(e.Value, problems)
		}
		return m
	case strictyaml.List:
		list := make([]any, len(n.Items))
		for i, item := range n.Items {
			list[i] = convert(item, problems)
		}
		return list
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int":
		if i, err := strconv.ParseInt(n.Value, 0, 64); err == nil {
			return i
		}
		problems.Add(n.Pos, "the number %s is not one of 64 bits", n.Value)
	case "!!float":
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil && f-f == 0 {
			return f
		}
		problems.Add(n.Pos, "the number %s has no form in JSON", n.Value)
	}
	return n.Value
}
