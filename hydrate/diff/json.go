package diff

import (
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
)

// decodeJSON decodes a text that is a JSON map or list, into what objects consist of. It refuses what says less once it
// is decoded: maps with a key twice, and more than one document.
func decodeJSON(s string) (any, bool) {
	trimmed := strings.TrimSpace(s)
	if trimmed == "" || trimmed[0] != '{' && trimmed[0] != '[' || len(s) > maxJSON || depth(s) > maxJSONDepth {
		return nil, false
	}
	decoder := json.NewDecoder(strings.NewReader(s))
	decoder.UseNumber()
	value, err := nextJSON(decoder)
	if err != nil {
		return nil, false
	}
	_, err = decoder.Token()
	return value, errors.Is(err, io.EOF)
}

var errDuplicate = errors.New("a key is there twice")

// nextJSON reads the next value.
func nextJSON(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '[' {
			list := []any{}
			for decoder.More() {
				value, err := nextJSON(decoder)
				if err != nil {
					return nil, err
				}
				list = append(list, value)
			}
			_, err := decoder.Token()
			return list, err
		}
		return nextJSONMap(decoder)
	case json.Number:
		return number(token), nil
	}
	return token, nil
}

func nextJSONMap(decoder *json.Decoder) (any, error) {
	m := map[string]any{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		key, _ := token.(string) // nothing else stands before a colon
		if _, met := m[key]; met {
			return nil, errDuplicate
		}
		if m[key], err = nextJSON(decoder); err != nil {
			return nil, err
		}
	}
	_, err := decoder.Token()
	return m, err
}

// number returns the number as objects have it. One that would be written differently then stays as it was written, so
// that no difference is lost.
func number(n json.Number) any {
	if i, err := n.Int64(); err == nil && strconv.FormatInt(i, 10) == n.String() {
		return i
	}
	if f, err := n.Float64(); err == nil && strconv.FormatFloat(f, 'f', -1, 64) == n.String() {
		return f
	}
	return n
}
