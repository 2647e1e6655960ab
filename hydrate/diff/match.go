package diff

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate"
)

// maxObjects bounds the objects on each side.
const maxObjects = 20_000

// identity is what objects are matched by.
type identity struct{ group, kind, namespace, name string }

func identify(o hydrate.Object) identity { return identity{o.Group, o.Kind, o.Namespace, name(o)} }

func name(o hydrate.Object) string {
	return cmp.Or(o.Name, o.GenerateName+"*")
}

// match returns a comparison for each object that differs, in the order of [Changes.Objects], and the number of those
// that do not.
func match(before, after []hydrate.Object, stages Stages) (comparisons []*comparison, unchanged int, err error) {
	olds, err := index(before)
	if err != nil {
		return nil, 0, fmt.Errorf("tree before: %w", err)
	}
	news, err := index(after)
	if err != nil {
		return nil, 0, fmt.Errorf("tree after: %w", err)
	}
	var removed, added []*comparison
	for id, objects := range olds {
		// Only objects without a name share an identity: equal ones are matched first, then the others in order.
		gone, come := withoutEqual(objects, news[id])
		unchanged += len(objects) - len(gone)
		both := min(len(gone), len(come))
		for i := range both {
			comparisons = append(comparisons, &comparison{change: Changed, old: gone[i], current: come[i]})
		}
		for _, o := range gone[both:] {
			removed = append(removed, &comparison{change: Removed, old: o})
		}
		news[id] = come[both:]
	}
	for _, objects := range news {
		for _, o := range objects {
			added = append(added, &comparison{change: Added, current: o})
		}
	}
	slices.SortFunc(removed, inOrder)
	slices.SortFunc(added, inOrder)
	comparisons = append(comparisons, reunite(removed, added, stages)...)
	slices.SortStableFunc(comparisons, inOrder)
	return comparisons, unchanged, nil
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
			return nil, fmt.Errorf("%v exists twice, in %s and in %s; remove one", o, met[0].Source, o.Source)
		}
		byID[id] = append(byID[id], o)
	}
	for _, same := range byID {
		slices.SortFunc(same, func(a, b *hydrate.Object) int { return bytes.Compare(a.YAML(), b.YAML()) })
	}
	return byID, nil
}

// withoutEqual removes pairs of equal objects from two lists.
func withoutEqual(gone, come []*hydrate.Object) (restGone, restCome []*hydrate.Object) {
	restCome = slices.Clone(come)
	for _, o := range gone {
		if i := slices.IndexFunc(restCome, func(c *hydrate.Object) bool { return reflect.DeepEqual(o.Content(), c.Content()) }); i >= 0 {
			restCome = slices.Delete(restCome, i, i+1)
		} else {
			restGone = append(restGone, o)
		}
	}
	return restGone, restCome
}

// reunite joins a removed and an added object that are one: objects that left the group `extensions`, generated ones with a new hash
// in the name, and those of two stages that have the stage in their names. A cluster treats other names as other objects.
func reunite(removed, added []*comparison, stages Stages) []*comparison {
	candidates := map[identity][]*comparison{}
	for _, c := range added {
		key := stages.lasting(*c.current, stages.After)
		candidates[key] = append(candidates[key], c)
	}
	for _, c := range removed {
		key := stages.lasting(*c.old, stages.Before)
		if len(candidates[key]) == 0 || c.old.Name == "" {
			continue
		}
		c.change, c.current = Changed, candidates[key][0].current
		candidates[key] = candidates[key][1:]
		if c.old.Name != c.current.Name || c.old.Namespace != c.current.Namespace {
			c.change = Renamed
		}
	}
	var rest []*comparison
	for _, left := range candidates {
		rest = append(rest, left...)
	}
	if stages.two() {
		rest = stages.joinOnly(removed, rest, Renamed, stages.stageless, func(_, _ *hydrate.Object) bool { return true })
	}
	// One leaves its namespace to the release, and the other names one: that may be the same.
	rest = stages.joinOnly(removed, rest, Changed, func(o hydrate.Object, _ string) identity { return identity{o.Group, o.Kind, "", name(o)} },
		func(a, b *hydrate.Object) bool { return (a.Namespace == "") != (b.Namespace == "") })
	return append(removed, rest...)
}

// joinOnly joins a removed and an added object that are the only ones with their key. It returns the added objects that are left.
func (s Stages) joinOnly(removed, added []*comparison, as Change, key func(o hydrate.Object, stage string) identity, may func(a, b *hydrate.Object) bool) (rest []*comparison) {
	olds, news := map[identity][]*comparison{}, map[identity]int{}
	for _, c := range removed {
		if c.change == Removed {
			olds[key(*c.old, s.Before)] = append(olds[key(*c.old, s.Before)], c)
		}
	}
	for _, c := range added {
		news[key(*c.current, s.After)]++
	}
	for _, c := range added {
		id := key(*c.current, s.After)
		same := olds[id]
		if len(same) != 1 || news[id] != 1 || !may(same[0].old, c.current) {
			rest = append(rest, c)
			continue
		}
		same[0].change, same[0].current = as, c.current
	}
	return rest
}

// two reports whether the objects are of two stages.
func (s Stages) two() bool { return s.Before != s.After && s.Before != "" && s.After != "" }

// stageless returns an identity without the name of the stage, which names of the other stage may have nothing in place of.
func (s Stages) stageless(o hydrate.Object, stage string) identity {
	id := s.lasting(o, stage)
	id.name, id.namespace = dropStage(id.name), dropStage(id.namespace)
	return id
}

// dropStage removes what [withoutStage] left of a stage, with a delimiter beside it.
func dropStage(name string) string {
	const stage = "{stage}"
	for {
		i := strings.Index(name, stage)
		if i < 0 {
			return name
		}
		before, after := name[:i], name[i+len(stage):]
		if before != "" {
			before = before[:len(before)-1]
		} else if after != "" {
			after = after[1:]
		}
		name = before + after
	}
}

// lasting returns an identity that survives a move between groups and a new hash, and is equal in two stages.
func (s Stages) lasting(o hydrate.Object, stage string) identity {
	id := identify(o)
	if s.Before != s.After && stage != "" {
		id.name, id.namespace = withoutStage(id.name, stage), withoutStage(id.namespace, stage)
	}
	switch {
	case o.Group == "extensions" || o.Group == "apps" || o.Group == "policy" || o.Group == "networking.k8s.io":
		id.group = "extensions"
	case o.Group == "" && (o.Kind == "ConfigMap" || o.Kind == "Secret"):
		id.name = withoutHash(id.name)
	}
	return id
}

// withoutStage replaces the name of a stage, where it is a word of a name, by what no name holds.
func withoutStage(name, stage string) string {
	const delimiters = "-._"
	var out strings.Builder
	for rest := name; ; {
		i := strings.Index(rest, stage)
		if i < 0 {
			return out.String() + rest
		}
		end := i + len(stage)
		begins := i == 0 && out.Len() == 0 || i > 0 && strings.IndexByte(delimiters, rest[i-1]) >= 0
		ends := end == len(rest) || strings.IndexByte(delimiters, rest[end]) >= 0
		if begins && ends {
			out.WriteString(rest[:i] + "{stage}")
		} else {
			out.WriteString(rest[:end])
		}
		rest = rest[end:]
	}
}

// withoutHash removes the hash that kustomize's generators append: ten hexadecimal digits, some of them written as
// letters that spell no words.
func withoutHash(name string) string {
	const digits = 10
	stem := len(name) - digits
	if stem < 1 || name[stem-1] != '-' || strings.Trim(name[stem:], "2456789bcdfghkmt") != "" {
		return name
	}
	return name[:stem]
}

func inOrder(a, b *comparison) int {
	key := func(c *comparison) []string {
		o, first := c.object(), ""
		if o.Kind == "CustomResourceDefinition" { // many lines and few readers
			first = "last"
		}
		return []string{first, o.Kind, o.Group, o.Namespace, name(*o), string(c.change)}
	}
	if order := slices.Compare(key(a), key(b)); order != 0 {
		return order
	}
	return bytes.Compare(a.object().YAML(), b.object().YAML()) // objects without a name
}
