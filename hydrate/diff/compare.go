package diff

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate"
)

// Bounds on what is compared and reported.
const (
	maxObjects = 20_000 // on each side
	maxFields  = 500    // reported of one object; all of them are judged
)

// Compare says what changed from before to after. An error is two objects of one identity on one side, more than
// 20,000 objects, or a noise pattern that cannot be read.
func Compare(before, after []hydrate.Object, options Options) (Changes, error) {
	folder, err := newFolder(options)
	if err != nil {
		return Changes{}, err
	}
	pairs, err := match(before, after)
	if err != nil {
		return Changes{}, err
	}
	changes := Changes{Objects: []ObjectChange{}, All: options.All}
	images := imageTally{}
	for _, p := range pairs {
		if !p.compare() {
			changes.Counts.Unchanged++
			continue
		}
		images.add(p)
		risks := p.risks()
		if folder.fold(p, quiet(risks)) {
			continue
		}
		changes.Counts.add(p.change)
		changes.Objects = append(changes.Objects, p.report(risks))
	}
	changes.Noise = folder.counted()
	changes.Images = images.changes()
	return changes, nil
}

func (c *Counts) add(change Change) {
	switch change {
	case Added:
		c.Added++
	case Removed:
		c.Removed++
	case Renamed:
		c.Renamed++
	default:
		c.Changed++
	}
}

// pair is one object before and after, or on one side only.
type pair struct {
	change        Change
	before, after *hydrate.Object
	was, now      map[string]any // contents without secrets, nil where there is no object; set by compare
	fields        []field
}

// field is one difference between old and new.
type field struct {
	path      path
	inside    path // in the JSON text that stands at path; nil where the field is no such text
	change    Change
	was, now  any
	immutable bool // the cluster refuses the change
	noise     bool
}

// object returns the object after, or before if it is removed.
func (p *pair) object() *hydrate.Object {
	if p.after != nil {
		return p.after
	}
	return p.before
}

// compare finds the differing fields and reports whether there are any.
func (p *pair) compare() bool {
	if p.change == Changed && equal(p.before.Content(), p.after.Content()) {
		return false
	}
	if p.before != nil {
		p.was, _ = concealed(p.before.Content()).(map[string]any)
	}
	if p.after != nil {
		p.now, _ = concealed(p.after.Content()).(map[string]any)
	}
	switch p.change {
	case Added:
		p.fields = []field{{change: Added, now: p.now}}
	case Removed:
		p.fields = []field{{change: Removed, was: p.was}}
	default:
		p.fields = compareFields(p.was, p.now)
	}
	return true
}

func (p *pair) report(risks []Risk) ObjectChange {
	o := p.object()
	c := ObjectChange{
		Change: p.change, Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: name(*o), File: o.Source,
		Risks: append([]Risk{}, risks...), Fields: []FieldChange{},
	}
	if p.change == Renamed {
		c.BeforeName = name(*p.before)
	}
	for _, f := range p.fields {
		if len(c.Fields) == maxFields {
			c.Omitted++
			continue
		}
		c.Fields = append(c.Fields, f.report())
	}
	return c
}

func name(o hydrate.Object) string {
	if o.Name == "" {
		return o.GenerateName + "*"
	}
	return o.Name
}

// identity is what objects are matched by.
type identity struct{ group, kind, namespace, name string }

func identify(o hydrate.Object) identity { return identity{o.Group, o.Kind, o.Namespace, name(o)} }

// match pairs the objects of two trees, in the order of [Changes.Objects].
func match(before, after []hydrate.Object) ([]*pair, error) {
	olds, err := index(before)
	if err != nil {
		return nil, fmt.Errorf("tree before: %w", err)
	}
	news, err := index(after)
	if err != nil {
		return nil, fmt.Errorf("tree after: %w", err)
	}
	var pairs, removed, added []*pair
	for id, objects := range olds {
		// Only objects without a name share an identity: those that say the same go together, then the rest in order.
		gone, come := objects, news[id]
		if len(gone)+len(come) > 2 {
			var same []*pair
			gone, come, same = takeEqual(gone, come)
			pairs = append(pairs, same...)
		}
		for i := range min(len(gone), len(come)) {
			pairs = append(pairs, &pair{change: Changed, before: gone[i], after: come[i]})
		}
		for _, o := range gone[min(len(gone), len(come)):] {
			removed = append(removed, &pair{change: Removed, before: o})
		}
		news[id] = come[min(len(gone), len(come)):]
	}
	for _, objects := range news {
		for _, o := range objects {
			added = append(added, &pair{change: Added, after: o})
		}
	}
	slices.SortFunc(removed, inOrder)
	slices.SortFunc(added, inOrder)
	pairs = append(pairs, reunite(removed, added)...)
	slices.SortStableFunc(pairs, inOrder)
	return pairs, nil
}

func index(objects []hydrate.Object) (map[identity][]*hydrate.Object, error) {
	if len(objects) > maxObjects {
		return nil, fmt.Errorf("%d objects, more than the %d that are compared; compare parts of it", len(objects), maxObjects)
	}
	byID := make(map[identity][]*hydrate.Object, len(objects))
	for i := range objects {
		o := &objects[i]
		id := identify(*o)
		if met := byID[id]; len(met) > 0 && o.Name != "" {
			return nil, fmt.Errorf("%v is there twice, in %s and in %s; remove one", o, met[0].Source, o.Source)
		}
		byID[id] = append(byID[id], o)
	}
	for _, same := range byID {
		if len(same) > 1 {
			slices.SortFunc(same, func(a, b *hydrate.Object) int { return bytes.Compare(a.YAML(), b.YAML()) })
		}
	}
	return byID, nil
}

// takeEqual takes pairs of equal objects out of two lists.
func takeEqual(gone, come []*hydrate.Object) (restGone, restCome []*hydrate.Object, same []*pair) {
	restCome = slices.Clone(come)
	for _, o := range gone {
		i := slices.IndexFunc(restCome, func(c *hydrate.Object) bool { return equal(o.Content(), c.Content()) })
		if i < 0 {
			restGone = append(restGone, o)
			continue
		}
		same = append(same, &pair{change: Changed, before: o, after: restCome[i]})
		restCome = slices.Delete(restCome, i, i+1)
	}
	return restGone, restCome, same
}

// reunite pairs removed and added objects that are one: those that left the group `extensions`, and generated ones of
// which the hash in the name changed. Others of another name are another object to a cluster.
func reunite(removed, added []*pair) []*pair {
	byWhat := map[identity][]*pair{}
	for _, p := range added {
		key := reunion(*p.after)
		byWhat[key] = append(byWhat[key], p)
	}
	var pairs []*pair
	taken := map[*pair]bool{}
	for _, p := range removed {
		key := reunion(*p.before)
		candidates := byWhat[key]
		if len(candidates) == 0 || p.before.Name == "" {
			pairs = append(pairs, p)
			continue
		}
		other := candidates[0]
		byWhat[key] = candidates[1:]
		taken[other] = true
		change := Changed
		if p.before.Name != other.after.Name {
			change = Renamed
		}
		pairs = append(pairs, &pair{change: change, before: p.before, after: other.after})
	}
	return append(pairs, slices.DeleteFunc(slices.Clone(added), func(p *pair) bool { return taken[p] })...)
}

// reunion returns an identity that survives a move between groups and a new hash.
func reunion(o hydrate.Object) identity {
	id := identify(o)
	switch {
	case o.Group == "extensions" || o.Group == "apps" || o.Group == "policy" || o.Group == "networking.k8s.io":
		id.group = "extensions"
	case o.Group == "" && (o.Kind == "ConfigMap" || o.Kind == "Secret"):
		id.name = withoutHash(id.name)
	}
	return id
}

// withoutHash cuts off the hash that kustomize's generators append: ten hexadecimal digits, some of them written as
// letters that spell no words.
func withoutHash(name string) string {
	const digits = 10
	stem := len(name) - digits
	if stem < 1 || name[stem-1] != '-' || strings.Trim(name[stem:], "2456789bcdfghkmt") != "" {
		return name
	}
	return name[:stem]
}

func inOrder(a, b *pair) int {
	x, y := a.object(), b.object()
	order := cmp.Or(
		cmp.Compare(last(x), last(y)),
		strings.Compare(x.Kind, y.Kind),
		strings.Compare(x.Group, y.Group),
		strings.Compare(x.Namespace, y.Namespace),
		strings.Compare(name(*x), name(*y)),
		strings.Compare(string(a.change), string(b.change)),
	)
	if order == 0 { // objects without a name
		order = bytes.Compare(x.YAML(), y.YAML())
	}
	return order
}

// last puts definitions of custom resources last: there are many lines of them and few readers.
func last(o *hydrate.Object) int {
	if o.Kind == "CustomResourceDefinition" {
		return 1
	}
	return 0
}
