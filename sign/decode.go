package sign

import (
	"errors"
	"fmt"
	"strings"

	kjson "sigs.k8s.io/json"
)

// Decode decodes JSON that somebody signed, as every reader does: programs take the first or the last of two equal keys, and some
// ignore the case of letters. A key that an object has twice, be it in another case, is an error, and one in another case than
// asked for is another key.
func Decode(data []byte, into any) error {
	var all any
	if err := decodeOnce(data, &all); err != nil {
		return err
	}
	if err := twins(all); err != nil {
		return err
	}
	return kjson.UnmarshalCaseSensitivePreserveInts(data, into)
}

// decodeOnce decodes JSON in which no object has a key twice.
func decodeOnce(data []byte, into *any) error {
	twice, err := kjson.UnmarshalStrict(data, into)
	return errors.Join(append([]error{err}, twice...)...)
}

// twins returns an error if two keys of an object differ in case only.
func twins(value any) error {
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			if err := twins(item); err != nil {
				return err
			}
		}
	case map[string]any:
		met := make(map[string]bool, len(value))
		for key, v := range value {
			if lower := strings.ToLower(key); met[lower] {
				return fmt.Errorf("it has the key %.80q in two cases", lower)
			} else if met[lower] = true; v != nil {
				if err := twins(v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// envelope decodes a statement. Its predicate may be anybody's: no key is there twice, and [Decode] reads those that are ours.
func (w *wireStatement) envelope(payload []byte) error {
	var all any
	if err := decodeOnce(payload, &all); err != nil {
		return err
	}
	if fields, ok := all.(map[string]any); ok && fields["predicate"] != nil {
		fields["predicate"] = nil
	}
	if err := twins(all); err != nil {
		return err
	}
	return kjson.UnmarshalCaseSensitivePreserveInts(payload, w)
}
