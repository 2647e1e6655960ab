package hydrate

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	maxDifferences = 40   // fields that one error names
	maxGenerated   = 1000 // fields that a provenance names
)

// difference is a field that comes out differently in another render: its place, never its value, which may be a password.
type difference struct{ Source, Object, Field string }

func (d difference) String() string {
	text := d.Source
	for _, part := range []string{d.Object, d.Field} {
		if part != "" {
			text += ": " + part
		}
	}
	return text
}

// repeater renders a stage once more, to find what is not a function of its inputs or of what is secret.
type repeater struct {
	pkg      Package
	request  Request
	decoder  *Decoder
	rendered Rendered
	objects  []Object
}

// random returns what depends on the random numbers that templates drew.
func (r repeater) random(ctx context.Context) ([]difference, error) {
	if !r.rendered.Random {
		return nil, nil
	}
	request := r.request
	request.Redraw = true
	return r.differences(ctx, request, "with other random numbers")
}

// generated returns what depends on the keys that templates generated.
func (r repeater) generated(ctx context.Context) ([]difference, error) {
	if !r.rendered.Generated {
		return nil, nil
	}
	return r.differences(ctx, r.request, "with other keys")
}

func (r repeater) differences(ctx context.Context, request Request, circumstance string) ([]difference, error) {
	again, err := r.pkg.Render(ctx, request)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return []difference{{Source: circumstance + " the render fails: " + err.Error()}}, nil
	}
	if slices.EqualFunc(r.rendered.Manifests, again.Manifests, func(a, b Manifest) bool { return string(a.Data) == string(b.Data) }) {
		return nil, nil
	}
	others, err := r.decoder.Objects(again.Manifests)
	if err != nil {
		return []difference{{Source: circumstance + " the render gives no objects: " + err.Error()}}, nil
	}
	return compareObjects(r.objects, others), nil
}

// nondeterministic returns the error that lists what depends on random numbers.
func nondeterministic(found []difference) error {
	var lines []string
	for _, d := range found {
		lines = append(lines, d.String())
	}
	return errors.New("templates draw random numbers, which anybody who reads both repositories can compute, secrets among them:\n  " +
		strings.Join(firstOf(lines, maxDifferences), "\n  ") + "\nset these in the values (an existing Secret by its name, say), or publish what comes out (render.nondeterminism: allow)")
}

// ruleNondeterminism is what the allowance of a field with a generated key begins with: "nondeterminism: Secret web-tls: data.tls.key".
const ruleNondeterminism = "nondeterminism"

// generatedAllowances names the fields that hold generated keys and certificates.
func generatedAllowances(found []difference) []string {
	var lines []string
	for _, d := range found {
		d.Source = ruleNondeterminism
		lines = append(lines, d.String())
	}
	return firstOf(lines, maxGenerated)
}

// Generated compares a file of the tree with that of another render, and lists the fields that differ and hold generated keys. It
// reports whether nothing else differs.
func (r Rendering) Generated(own, other []byte) (fields []string, only bool) {
	objects := func(file []byte) ([]Object, error) {
		var manifests []Manifest
		for i, document := range SplitStream(file) {
			manifests = append(manifests, Manifest{Source: ruleNondeterminism, Document: i + 1, Data: document})
		}
		return (&Decoder{}).Objects(manifests)
	}
	a, errA := objects(own)
	b, errB := objects(other)
	if errA != nil || errB != nil {
		return nil, false
	}
	found := compareObjects(a, b)
	only = len(found) > 0
	for _, d := range found {
		if only = only && slices.Contains(r.Allowances, d.String()); only {
			fields = append(fields, strings.TrimPrefix(d.String(), ruleNondeterminism+": "))
		}
	}
	return fields, only
}

// compareObjects lists how two renders of one stage differ, ordered by template and object.
func compareObjects(first, second []Object) []difference {
	byIdentity := map[identity]Object{}
	for _, o := range second {
		byIdentity[o.identity()] = o
	}
	var found []difference
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
			found = append(found, difference{o.Source, o.String(), field})
		}
	}
	// An object whose name or namespace is random has no counterpart, but the other render made one like it.
	for _, o := range alone {
		found = append(found, difference{o.Source, o.String(), "is not there, or not by this name, in another render"})
		for id, other := range byIdentity {
			if other.Source == o.Source && other.Kind == o.Kind && other.Group == o.Group {
				delete(byIdentity, id)
				break
			}
		}
	}
	for _, other := range byIdentity {
		found = append(found, difference{other.Source, other.Kind, "another render has one more"})
	}
	slices.SortFunc(found, func(a, b difference) int { return strings.Compare(a.String(), b.String()) })
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
