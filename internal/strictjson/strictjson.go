// Package strictjson decodes JSON that all readers have to read alike: what is signed, and what a signed digest names.
package strictjson

import (
	"errors"
	"fmt"
	"strings"

	kjson "sigs.k8s.io/json"
)

// Decode decodes JSON as every reader does: programs take the first or the last of two equal keys, and some ignore the case of
// letters. A key that an object has twice, be it in another case, is an error, and one in another case than asked for is another
// key.
func Decode(data []byte, into any) error {
	var all any
	if err := Once(data, &all); err != nil {
		return err
	}
	if err := Twins(all); err != nil {
		return err
	}
	return kjson.UnmarshalCaseSensitivePreserveInts(data, into)
}

// Once decodes JSON in which no object has a key twice.
func Once(data []byte, into *any) error {
	twice, err := kjson.UnmarshalStrict(data, into)
	return errors.Join(append([]error{err}, twice...)...)
}

// Twins returns an error if two keys of an object differ in case only, as Unicode folds it: encoding/json takes the long s for an s.
func Twins(value any) error {
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			if err := Twins(item); err != nil {
				return err
			}
		}
	case map[string]any:
		met := make(map[string]bool, len(value))
		for key, v := range value {
			if lower := strings.ToLower(strings.ToUpper(key)); met[lower] {
				return fmt.Errorf("it has the key %.80q in two cases", lower)
			} else if met[lower] = true; v != nil {
				if err := Twins(v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
