package hydrate

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxDifferences bounds the fields that one error names.
const maxDifferences = 40

// differences renders once more what may come out differently, and names what did: template, object and field, never a
// value, which may be a password.
func differences(ctx context.Context, decoder *Decoder, rendered Rendered, objects []Object) ([]string, error) {
	if rendered.Again == nil {
		return nil, nil
	}
	again, err := rendered.Again(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return []string{"at another time and with other luck the render fails: " + err.Error()}, nil
	}
	if slices.EqualFunc(rendered.Manifests, again.Manifests, func(a, b Manifest) bool { return string(a.Data) == string(b.Data) }) {
		return nil, nil
	}
	others, err := decoder.Objects(again.Manifests)
	if err != nil {
		return []string{"at another time and with other luck the render gives no objects: " + err.Error()}, nil
	}
	return compareObjects(objects, others), nil
}

// nondeterministic returns the error that lists differences.
func nondeterministic(found []string) error {
	return errors.New("the same inputs would not give the same output again, since templates use the clock or randomness:\n  " +
		strings.Join(firstOf(found, maxDifferences), "\n  ") + "\nset these in the values (an existing Secret by its name, say), or publish whatever comes out (render.nondeterminism: allow)")
}

// compareObjects lists how two renders of one stage differ, ordered by template and object.
func compareObjects(first, second []Object) []string {
	byIdentity := map[identity]Object{}
	for _, o := range second {
		byIdentity[o.identity()] = o
	}
	var found []string
	var alone []Object // of first
	for _, o := range first {
		id := o.identity()
		other, same := byIdentity[id]
		if !same {
			alone = append(alone, o)
			continue
		}
		delete(byIdentity, id)
		for _, field := range differingFields(nil, "", o.content, other.content) {
			found = append(found, fmt.Sprintf("%s: %v: %s", o.Source, o, field))
		}
	}
	// An object whose name or namespace is random has no counterpart, but the other render made one like it.
	for _, o := range alone {
		found = append(found, fmt.Sprintf("%s: %v: is not there, or not by this name, in another render", o.Source, o))
		for id, other := range byIdentity {
			if other.Source == o.Source && other.Kind == o.Kind && other.Group == o.Group {
				delete(byIdentity, id)
				break
			}
		}
	}
	for _, other := range byIdentity {
		found = append(found, fmt.Sprintf("%s: %s: another render has one more", other.Source, other.Kind))
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// differingFields appends the paths at which two values differ, such as
// spec.template.metadata.annotations["checksum/config"].
func differingFields(fields []string, path string, a, b any) []string {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return append(fields, path)
		}
		for _, key := range sortedKeys(a) {
			other, there := b[key]
			if !there {
				fields = append(fields, join(path, key))
				continue
			}
			fields = differingFields(fields, join(path, key), a[key], other)
		}
		for _, key := range sortedKeys(b) {
			if _, there := a[key]; !there {
				fields = append(fields, join(path, key))
			}
		}
		return fields
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return append(fields, path)
		}
		for i := range a {
			fields = differingFields(fields, path+"["+strconv.Itoa(i)+"]", a[i], b[i])
		}
		return fields
	}
	if !reflect.DeepEqual(a, b) {
		return append(fields, path)
	}
	return fields
}

// join appends a key to a path, quoted where it holds more than letters, digits, dashes and underscores.
func join(path, key string) string {
	plain := key != "" && !strings.ContainsFunc(key, func(r rune) bool {
		return r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	switch {
	case !plain:
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}
