package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/oci"
)

// objects decodes the candidate and what is live, and compares them, as far as that is asked for.
func (c *collector) objects() error {
	candidate, err := read(c.Tree)
	if err != nil {
		return fmt.Errorf("artifact %s: %w", c.Candidate.Digest, err)
	}
	c.facts.Objects = contents(candidate)
	if !c.needs.LiveObjects && !c.needs.Diff {
		return nil
	}
	var live []hydrate.Object
	if c.Live != nil {
		if live, err = read(c.Live); err != nil {
			return fmt.Errorf("what is live: %w", err)
		}
		c.facts.LiveObjects = contents(live)
	}
	if !c.needs.Diff {
		return nil
	}
	changes, err := diff.Compare(live, candidate, diff.Options{})
	if err != nil {
		return fmt.Errorf("compare with what is live: %w", err)
	}
	c.facts.Diff, err = asJSON(changes)
	return err
}

func read(tree fs.FS) ([]hydrate.Object, error) {
	if t, ok := tree.(*oci.Tree); ok && t == nil {
		return nil, errors.New("its files are not given")
	}
	return diff.Read(tree)
}

// contents are the objects' fields, as policies read them: map[string]any, []any, string, bool, int64, float64 and nil. It
// is never nil.
func contents(objects []hydrate.Object) []map[string]any {
	all := make([]map[string]any, len(objects))
	for i, o := range objects {
		all[i], _ = plain(o.Content()).(map[string]any)
	}
	return all
}

// plain copies a value. Numbers become int64 where that is exact, and float64 where not.
func plain(value any) any {
	switch v := value.(type) {
	case map[string]any:
		fields := make(map[string]any, len(v))
		for key, field := range v {
			fields[key] = plain(field)
		}
		return fields
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = plain(item)
		}
		return items
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v)
		}
		return float64(v)
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64() // beyond its range, infinity is what is left to say
		return f
	}
	return value
}

// asJSON is a value as its JSON form gives it.
func asJSON(value any) (any, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var decoded any
	if err := decoder.Decode(&decoded); err != nil {
		return nil, err
	}
	return plain(decoded), nil
}
