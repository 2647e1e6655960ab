package hydrate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxNameBytes = 255 // of a file name: the limit of common file systems
	hashDigits   = 12  // hexadecimal digits that distinguish names which are equal otherwise
	singleName   = "manifest.yaml"
)

// Layout lays objects out as files of one flat folder. It does not depend on their order.
//
// A file is named `<kind>-<name>.yaml` in lower case. If names collide, they get the group, `<kind>.<group>-<name>.yaml`
// (except for the core group), if the groups differ, and then the namespace, `<namespace>-…`. Names that still collide, or
// exceed 255 bytes, end in a hash of the object's identity. An object that has only a generateName is named by it and a
// hash of its content. Bytes other than a-z, 0-9, '.', '_' and '-', and a leading dot, are written as % and two hexadecimal
// digits.
//
// With [Single] the documents are in one file, ordered as their files would be.
//
// Two objects of one group, kind, namespace and name are an error: that is one object in the cluster. An object that names no
// namespace has that of the release, and one of a kind without namespaces has none, whatever it says.
func Layout(objects []Object, mode Mode, release string) (*Tree, error) {
	if mode != PerObject && mode != Single {
		return nil, fmt.Errorf("layout %q is neither %q nor %q", mode, PerObject, Single)
	}
	if err := checkDistinct(objects, release); err != nil {
		return nil, err
	}
	names := fileNames(objects)
	files := make([]File, len(objects))
	for i, o := range objects {
		files[i] = File{Path: names[i], Data: o.YAML()}
	}
	tree := newTree(files)
	if mode == PerObject || len(files) == 0 {
		return tree, nil
	}
	var documents [][]byte
	for _, data := range tree.Files() {
		documents = append(documents, data)
	}
	return newTree([]File{{Path: singleName, Data: bytes.Join(documents, []byte("---\n"))}}), nil
}

func checkDistinct(objects []Object, release string) error {
	scope := scopeOf(objects, release)
	var problems []error
	first := make(map[identity]Object, len(objects))
	for _, o := range objects {
		id := o.identity()
		id.namespace = scope.namespace(o)
		other, twice := first[id]
		if !twice {
			first[id] = o
			continue
		}
		if len(problems) < maxProblems {
			remedy := "render it once"
			if other.hook() != "" || o.hook() != "" {
				remedy = "Helm runs hooks one after the other, but a tree holds one object of a name: leave hooks out (render.hooks: none), or give each a name of its own"
			}
			if other.Namespace != o.Namespace {
				remedy += fmt.Sprintf("; the cluster takes %v and %v for one", min(other.String(), o.String()), max(other.String(), o.String()))
			}
			problems = append(problems, fmt.Errorf("%v is there twice, from %s and from %s; %s",
				o, min(other.origin(), o.origin()), max(other.origin(), o.origin()), remedy))
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

// hook returns the events on which Helm runs an object; "" for one that it installs.
func (o Object) hook() string {
	metadata, _ := o.content["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	return text(annotations["helm.sh/hook"])
}

// origin names for people what an object comes from.
func (o Object) origin() string {
	if events := o.hook(); events != "" {
		return o.Source + " (a hook on " + events + ")"
	}
	return o.Source
}

// fileNames returns the file name of each object.
func fileNames(objects []Object) []string {
	parts := make([]nameParts, len(objects))
	names := make([]string, len(objects))
	for i, o := range objects {
		parts[i] = newNameParts(o)
		names[i] = parts[i].fileName()
	}
	// Names that collide get what distinguishes them: the group, then the namespace.
	for _, step := range []struct {
		differ func(a, b Object) bool
		take   func(*nameParts, Object)
	}{
		{func(a, b Object) bool { return a.Group != b.Group }, func(p *nameParts, o Object) { p.group = escape(o.Group) }},
		{func(a, b Object) bool { return a.Namespace != b.Namespace }, func(p *nameParts, o Object) { p.namespace = escape(o.Namespace) }},
	} {
		for _, members := range collisions(names) {
			if !slices.ContainsFunc(members, func(i int) bool { return step.differ(objects[i], objects[members[0]]) }) {
				continue
			}
			for _, i := range members {
				step.take(&parts[i], objects[i])
				names[i] = parts[i].fileName()
			}
		}
	}
	// What still collides are objects that escape to the same letters (Web and web) or that took each other's name. A name
	// with a hash can in turn collide with one that looks like it: repeat with longer hashes until all are distinct.
	for {
		groups := collisions(names)
		if len(groups) == 0 {
			return names
		}
		for _, members := range groups {
			for _, i := range members {
				parts[i].digits = min(parts[i].digits+hashDigits, len(parts[i].hash))
				names[i] = parts[i].fileName()
			}
		}
	}
}

// collisions returns the groups of indices that share a name, in order of the first.
func collisions(names []string) (groups [][]int) {
	byName := map[string][]int{}
	for i, name := range names {
		byName[name] = append(byName[name], i)
	}
	for i, name := range names {
		if members := byName[name]; len(members) > 1 && members[0] == i {
			groups = append(groups, members)
		}
	}
	return groups
}

type nameParts struct {
	kind, group, namespace, name string
	hash                         string // of the identity
	digits                       int    // of hash, at the end of the file name
}

func newNameParts(o Object) nameParts {
	id := o.identity()
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %x", id.group, id.kind, id.namespace, id.name, id.content)
	p := nameParts{kind: escape(o.Kind), name: escape(id.name), hash: hex.EncodeToString(h.Sum(nil))}
	if o.Name == "" {
		p.name += hex.EncodeToString(id.content[:])[:hashDigits]
	}
	return p
}

func (p nameParts) fileName() string {
	stem := p.kind
	if p.group != "" {
		stem += "." + p.group
	}
	stem += "-" + p.name
	if p.namespace != "" {
		stem = p.namespace + "-" + stem
	}
	if strings.HasPrefix(stem, ".") {
		stem = "%2e" + stem[1:]
	}
	const ext = ".yaml"
	if len(stem)+len(ext) > maxNameBytes {
		p.digits = max(p.digits, hashDigits)
	}
	if p.digits > 0 {
		stem = stem[:min(len(stem), maxNameBytes-len(ext)-1-p.digits)] + "-" + p.hash[:p.digits]
	}
	return stem + ext
}

// escape lowers s and writes bytes that are not safe in file names on every system as %xx.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(strings.ToLower(s)) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}
