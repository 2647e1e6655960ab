package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/policy"
)

// objects decodes the candidate and what is live, and compares them, as far as that is asked for.
func (c *collector) objects(ctx context.Context) (err error) {
	seen := c.needs.Seen
	var candidate, live []hydrate.Object
	if seen.Objects || seen.Diff {
		if c.Tree == nil {
			return fmt.Errorf("artifact %s: its files are not given", c.Candidate.Digest)
		}
		if candidate, err = diff.ReadBy(c.Run.Decoder, c.Tree); err != nil {
			return fmt.Errorf("artifact %s: %w", c.Candidate.Digest, err)
		}
	}
	if (seen.LiveObjects || seen.Diff) && c.Live != nil {
		tree, err := c.Live(ctx)
		if err == nil {
			live, err = diff.ReadBy(c.Run.Decoder, tree)
		}
		if err != nil {
			return fmt.Errorf("what is live: %w", err)
		}
	}
	return addObjects(&c.facts, candidate, live, seen)
}

// AddObjects adds to facts the objects of a candidate, those that are live, and how they differ.
func AddObjects(f *policy.Facts, candidate, live []hydrate.Object) error {
	return addObjects(f, candidate, live, policy.Seen{Objects: true, LiveObjects: true, Diff: true})
}

func addObjects(f *policy.Facts, candidate, live []hydrate.Object, seen policy.Seen) (err error) {
	see := func(candidate, live []hydrate.Object) (a policy.Applied) {
		a.Objects, a.LiveObjects = contents(candidate), contents(live)
		if seen.Diff && err == nil {
			a.Diff, err = compare(live, candidate)
		}
		return a
	}
	all := see(candidate, live)
	f.Objects, f.LiveObjects, f.Diff = all.Objects, all.LiveObjects, all.Diff
	applied, liveApplied := hydrate.Applied(candidate), hydrate.Applied(live)
	if len(applied) == len(candidate) && len(liveApplied) == len(live) {
		return err
	}
	without := see(applied, liveApplied)
	without.Without = named(candidate)
	f.Applied = &without
	return err
}

// named names objects that are left out.
func named(objects []hydrate.Object) string {
	const most = 3
	var names []string
	for _, o := range objects {
		if why, left := o.LeftOut(); left {
			names = append(names, fmt.Sprintf("%v: %s", o, why))
		}
	}
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, "; ")
}

// compare returns how objects differ, as JSON gives it: whole, nothing folded.
func compare(live, candidate []hydrate.Object) (any, error) {
	changes, err := diff.Compare(live, candidate, diff.Options{All: true})
	if err != nil {
		return nil, fmt.Errorf("compare with what is live: %w", err)
	}
	data, err := json.Marshal(changes)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var decoded any
	err = decoder.Decode(&decoded)
	return decoded, err
}

// contents returns the fields of objects. They are shared, and nothing that judges changes them.
func contents(objects []hydrate.Object) []map[string]any {
	var all []map[string]any
	for _, o := range objects {
		all = append(all, o.Content())
	}
	return all
}
