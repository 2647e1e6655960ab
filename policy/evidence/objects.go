package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
)

// objects decodes the candidate and what is live, and compares them, as far as that is asked for.
func (c *collector) objects(context.Context) error {
	candidate, err := read(c.Tree)
	if err != nil {
		return fmt.Errorf("artifact %s: %w", c.Candidate.Digest, err)
	}
	if !c.needs.Changes {
		c.facts.Objects = contents(candidate)
		return nil
	}
	var live []hydrate.Object
	if c.Live != nil {
		if live, err = read(c.Live); err != nil {
			return fmt.Errorf("what is live: %w", err)
		}
	}
	return AddObjects(&c.facts, candidate, live)
}

func read(tree *oci.Tree) ([]hydrate.Object, error) {
	if tree == nil {
		return nil, errors.New("its files are not given")
	}
	return diff.Read(tree)
}

// AddObjects adds to facts the objects of a candidate, those that are live, and how they differ.
func AddObjects(f *policy.Facts, candidate, live []hydrate.Object) error {
	f.Objects, f.LiveObjects = contents(candidate), contents(live)
	changes, err := diff.Compare(live, candidate, diff.Options{})
	if err != nil {
		return fmt.Errorf("compare with what is live: %w", err)
	}
	data, err := json.Marshal(changes)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return decoder.Decode(&f.Diff)
}

// contents returns the fields of objects. They are shared, and nothing that judges changes them.
func contents(objects []hydrate.Object) []map[string]any {
	var all []map[string]any
	for _, o := range objects {
		all = append(all, o.Content())
	}
	return all
}
