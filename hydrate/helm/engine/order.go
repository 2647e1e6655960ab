package engine

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/sprig/v3"
)

// sortedKeys returns the keys of maps, those of each in order.
func sortedKeys(from ...map[string]any) []string {
	out := []string{}
	for _, m := range from {
		out = append(out, slices.Sorted(maps.Keys(m))...)
	}
	return out
}

// sortedValues returns the values of a map in the order of their keys.
func sortedValues(from map[string]any) []any {
	out := []any{}
	for _, key := range sortedKeys(from) {
		out = append(out, from[key])
	}
	return out
}

var (
	mergers = sprig.GenericFuncMap()
	// errMerge is returned where Helm gives "" and leaves a map to which a random part of the other was added.
	errMerge = errors.New("the maps have values of different types at one key")
)

func merge(into map[string]any, from ...map[string]any) (any, error) {
	return mergeBy("mustMerge", into, from)
}

func mergeOverwrite(into map[string]any, from ...map[string]any) (any, error) {
	return mergeBy("mustMergeOverwrite", into, from)
}

func mergeBy(name string, into map[string]any, from []map[string]any) (any, error) {
	f, _ := mergers[name].(func(map[string]any, ...map[string]any) (any, error))
	merged, err := f(into, from...)
	if err != nil {
		return nil, errMerge
	}
	return merged, nil
}

// verb matches one verb of a format, with its flags, width and precision.
var verb = regexp.MustCompile(`(?s)%([-+# 0-9.*\[\]]*)(.|$)`)

// printf is fmt.Sprintf, but for addresses in memory, which are others in each process.
func printf(format string, args ...any) (string, error) {
	verbs := verb.FindAllStringSubmatch(strings.ReplaceAll(format, "%%", ""), -1)
	plain := len(verbs) == len(args) // Arguments without a verb are printed, too, but not by their own methods.
	for _, v := range verbs {
		if v[2] == "p" {
			return "", errors.New("%p prints an address in memory, which differs between renders")
		}
		plain = plain && !strings.Contains(v[1], "#") && strings.Contains("sqvxXT", v[2])
	}
	for _, arg := range args {
		if !plain && holdsPointer(reflect.ValueOf(arg), 0) {
			return "", fmt.Errorf("%q prints addresses in memory of a %T, which differ between renders", format, arg)
		}
	}
	return fmt.Sprintf(format, args...), nil
}

// holdsPointer reports whether fmt prints an address for a value if it does not ask the value's own methods.
func holdsPointer(v reflect.Value, depth int) bool {
	switch v.Kind() {
	case reflect.Interface:
		return holdsPointer(v.Elem(), depth)
	case reflect.Pointer:
		return !v.IsNil() && (depth > 0 || holdsPointer(v.Elem(), 1))
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return !v.IsNil()
	case reflect.Struct:
		for i := range v.NumField() {
			if holdsPointer(v.Field(i), depth+1) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if holdsPointer(v.Index(i), depth+1) {
				return true
			}
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			if holdsPointer(iter.Key(), depth+1) || holdsPointer(iter.Value(), depth+1) {
				return true
			}
		}
	}
	return false
}
