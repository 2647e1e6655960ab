package strictyaml

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Decoder is a type that decodes itself, because its YAML has more than one shape. DecodeNode is called on a pointer to its
// zero value; partial is true in DecodePartial.
type Decoder interface {
	DecodeNode(n *Node, partial bool) Problems
}

// Decode fills the struct that v points to and returns every problem, unsorted; values without a problem are filled.
//
// A field `yaml:"key"` takes the value of key; `yaml:"key,required"` requires the key; `yaml:"key,scalar"` is a string that
// takes any scalar as written, for formats that programs write (a commit id may look like a number, and not every writer
// quotes it). Fields without the tag are left alone; those of an embedded struct count as the struct's own. Types are
// structs, pointers, slices, maps by string, string, bool, int and Decoder. A key with the value null counts as absent; null
// is refused in any other place.
func Decode(n *Node, v any) Problems { return decode(n, v, false) }

// DecodePartial is Decode for a document that another one completes: required keys may be absent.
func DecodePartial(n *Node, v any) Problems { return decode(n, v, true) }

// Field is a key of a map, and a pointer to what its value fills.
type Field struct {
	Key     string
	Into    any
	options string
}

// DecodeFields is Decode, or with partial DecodePartial, for a map whose keys are known at run time only. path names the map
// in problems.
func DecodeFields(n *Node, path string, partial bool, fields []Field) Problems {
	d := decoding{partial: partial}
	if d.isKind(n, Map, path, "a map") {
		d.fields(n, fields, path)
	}
	return d.problems
}

func decode(n *Node, v any, partial bool) Problems {
	d := decoding{partial: partial}
	if n.IsNull() {
		d.wrongType(n, "", "a map")
		return d.problems
	}
	d.value(n, reflect.ValueOf(v).Elem(), "", false)
	return d.problems
}

type decoding struct {
	partial  bool
	problems Problems
}

// appendFields adds the fields of a struct that have a key, those of embedded structs included.
func appendFields(fields []Field, v reflect.Value) []Field {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		switch tag, tagged := field.Tag.Lookup("yaml"); {
		case tagged && tag != "-":
			key, options, _ := strings.Cut(tag, ",")
			fields = append(fields, Field{key, v.Field(i).Addr().Interface(), options})
		case field.Anonymous && field.Type.Kind() == reflect.Struct:
			fields = appendFields(fields, v.Field(i))
		}
	}
	return fields
}

// value decodes n into v. path names n in problems; it is empty at the root.
func (d *decoding) value(n *Node, v reflect.Value, path string, anyScalar bool) {
	if dec, ok := v.Addr().Interface().(Decoder); ok {
		d.problems = append(d.problems, dec.DecodeNode(n, d.partial)...)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, anyScalar)
	case reflect.Struct:
		if d.isKind(n, Map, path, "a map") {
			d.fields(n, appendFields(nil, v), path)
		}
	case reflect.Slice:
		if d.isKind(n, List, path, "a list") {
			v.Set(reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items)))
			for i, item := range n.Items {
				at := path + "[" + strconv.Itoa(i) + "]"
				if item.IsNull() {
					d.wrongType(item, at, "a value")
					continue
				}
				d.value(item, v.Index(i), at, anyScalar)
			}
		}
	case reflect.Map:
		if d.isKind(n, Map, path, "a map") {
			v.Set(reflect.MakeMapWithSize(v.Type(), len(n.Entries)))
			for _, e := range n.Entries {
				if d.isMergeKey(e) {
					continue
				}
				item := reflect.New(v.Type().Elem()).Elem()
				d.value(e.Value, item, join(path, e.Key), anyScalar)
				v.SetMapIndex(reflect.ValueOf(e.Key), item)
			}
		}
	default:
		d.scalar(n, v, path, anyScalar)
	}
}

func (d *decoding) scalar(n *Node, v reflect.Value, path string, anyScalar bool) {
	switch v.Kind() {
	case reflect.String:
		if !n.IsString() && (!anyScalar || n.Kind != Scalar) {
			d.wrongType(n, path, "a string")
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Tag != "!!bool" {
			d.wrongType(n, path, "true or false")
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if err != nil || n.Tag != "!!int" {
			d.wrongType(n, path, "a decimal number")
			return
		}
		v.SetInt(int64(i))
	default:
		panic("strictyaml: cannot decode into " + v.Type().String())
	}
}

func (d *decoding) isKind(n *Node, kind Kind, path, want string) bool {
	if n.Kind != kind {
		d.wrongType(n, path, want)
	}
	return n.Kind == kind
}

func (d *decoding) fields(n *Node, fields []Field, path string) {
	var known []string
	for _, f := range fields {
		known = append(known, f.Key)
		switch value := n.Get(f.Key); {
		case f.options == "required" && value != nil && (value.IsNull() || value.IsString() && value.Value == ""):
			d.problems.Add(value.Pos, "%s is empty: give it a value", join(path, f.Key))
		case !value.IsNull():
			d.value(value, reflect.ValueOf(f.Into).Elem(), join(path, f.Key), f.options == "scalar")
		case f.options == "required" && !d.partial:
			d.problems.Add(n.Pos, "%s is missing", join(path, f.Key))
		}
	}
	for _, e := range n.Entries {
		if slices.Contains(known, e.Key) || d.isMergeKey(e) {
			continue
		}
		msg := fmt.Sprintf("unknown key %q", e.Key)
		if path != "" {
			msg += " in " + path
		}
		if near := Nearest(e.Key, known); near != "" {
			msg += fmt.Sprintf(" (did you mean %q?)", near)
		}
		d.problems.Add(e.KeyPos, "%s", msg)
	}
}

// isMergeKey reports whether a key is `<<`, whose meaning YAML 1.2 dropped, and adds a problem for it.
func (d *decoding) isMergeKey(e Entry) bool {
	if e.Key != "<<" {
		return false
	}
	d.problems.Add(e.KeyPos, "merge keys (<<) are not read: write the keys out")
	return true
}

func (d *decoding) wrongType(n *Node, path, want string) {
	if path == "" {
		path = "the document"
	}
	msg := fmt.Sprintf("%s: expected %s, found %s", path, want, n.describe())
	switch {
	case n.IsNull():
		msg = fmt.Sprintf("%s is empty: give it %s", path, want)
	case want == "a string" && n.Kind == Scalar:
		msg += fmt.Sprintf(": write %q with quotes", n.Value)
	case want == "a string" && len(n.Entries) == 1 && n.Entries[0].Value.IsNull(): // a bare {name}
		name := n.Entries[0].Key
		msg = fmt.Sprintf(`%s: {%s} without quotes is a YAML map: write "{%s}"`, path, name, name)
	}
	d.problems.Add(n.Pos, "%s", msg)
}

func (n *Node) describe() string {
	switch n.Kind {
	case Map:
		return "a map"
	case List:
		return "a list"
	}
	return cmp.Or(map[string]string{
		"!!str":       "a string",
		"!!bool":      "the boolean " + n.Value,
		"!!int":       "the number " + n.Value,
		"!!float":     "the number " + n.Value,
		"!!timestamp": "the time " + n.Value,
		"!!null":      "nothing",
	}[n.Tag], "a value tagged "+n.Tag)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Nearest returns the known key that word is probably a misspelling of, or "".
func Nearest(word string, known []string) string {
	const maxDistance, maxLength = 2, 64
	if len(word) > maxLength {
		return ""
	}
	best, at := "", maxDistance+1
	for _, k := range known {
		dist := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(k))
		if dist < at && dist < len(k) {
			best, at = k, dist
		}
	}
	return best
}
