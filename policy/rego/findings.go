package rego

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// answers collects what rules give. The same message of one rule is one finding, however many objects it is about:
// a rule that looks at data.lockage gives it for each.
type answers struct {
	findings []*Finding
	index    map[[2]string]*Finding
}

// add reads a value that a rule gave: a set or list of entries, or what rules without `contains` give.
func (a *answers) add(rule string, object int, value any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s gave a value nested deeper than %d levels", rule, maxDepth)
	}
	switch v := value.(type) {
	case nil:
		return nil
	case bool:
		if !v {
			return nil
		}
		return a.found(rule, object, "(without a message)")
	case string:
		return a.found(rule, object, v)
	case []any:
		for _, entry := range v {
			if err := a.add(rule, object, entry, depth+1); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		if msg, ok := v["msg"].(string); ok {
			return a.found(rule, object, msg)
		}
		// deny[msg] without `contains` is a map of messages to true, deny.topic one of further rules.
		for _, key := range slices.Sorted(maps.Keys(v)) {
			below := v[key]
			if below == true {
				below = key
			}
			if err := a.add(rule, object, below, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%s gave a value of type %T: write messages, or objects with the message in msg", rule, value)
}

func (a *answers) found(rule string, object int, message string) error {
	f := a.index[[2]string{rule, message}]
	if f == nil {
		if len(a.findings) == maxFindings {
			return fmt.Errorf("the policies gave more than %d different messages", maxFindings)
		}
		f = &Finding{Rule: rule, Message: message}
		a.index[[2]string{rule, message}] = f
		a.findings = append(a.findings, f)
	}
	if object >= 0 {
		f.Objects = append(f.Objects, object)
	}
	return nil
}

func (a *answers) report(rules []string) Report {
	r := Report{Rules: rules}
	for _, f := range a.findings {
		if denies(f.Rule[strings.LastIndexByte(f.Rule, '.')+1:]) {
			r.Denials = append(r.Denials, *f)
		} else {
			r.Warnings = append(r.Warnings, *f)
		}
	}
	return r
}
