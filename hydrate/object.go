package hydrate

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/lockage/lockage/internal/memo"
)

// Bounds on the output of a renderer. They are far above real packages (the largest known charts have some 5 MB of custom
// resource definitions) and keep a hostile one from exhausting memory.
const (
	maxDocumentBytes = 32 << 20 // of one document, and again of the values that its aliases expand to
	maxWrittenBytes  = 64 << 20 // of the objects of one stage as they are written, which may be one file
	maxDepth         = 256      // of maps and lists nested in one document
	maxListDepth     = 8        // of lists of objects in lists of objects
	maxObjects       = 20_000   // of one stage
	maxMarks         = 2 << 20  // of one stage: bytes that may begin or end a value, which takes some hundred bytes to decode
)

// Object is one Kubernetes object.
type Object struct {
	Group        string // "" for the core group
	Version      string
	Kind         string
	Namespace    string // as written; "" also if the namespace is left to the release
	Name         string // "" if only GenerateName is given
	GenerateName string
	Source       string // the template it came from, for messages

	*document
}

// document is the content of an object. Objects of all stages share it: no method may change it.
type document struct {
	content map[string]any
	encoded func() []byte
	marks   func() int // of encoded
	found   func() findings
}

// Content returns the object's fields: map[string]any, []any, string, bool, int64, uint64 (beyond int64), float64 and nil.
// It is shared: callers must not change it.
func (o Object) Content() map[string]any { return o.content }

// YAML returns the object as the tree holds it: block style, keys sorted, long strings unbroken, strings of several lines
// as literal blocks, a newline at the end. It ends early above the bound on one document, which no stage is published with.
// It is shared: callers must not change it.
func (o Object) YAML() []byte { return o.encoded() }

// String names the object for people: "Deployment.apps staging/web".
func (o Object) String() string {
	kind, name := o.Kind, cmp.Or(o.Name, o.GenerateName+"*")
	if o.Group != "" {
		kind += "." + o.Group
	}
	if o.Namespace != "" {
		name = o.Namespace + "/" + name
	}
	return kind + " " + name
}

// identity is what a cluster distinguishes objects by. Objects without a name are distinguished by their content.
type identity struct {
	group, kind, namespace, name string
	content                      [sha256.Size]byte
}

func (o Object) identity() identity {
	id := identity{group: o.Group, kind: o.Kind, namespace: o.Namespace, name: o.Name}
	if o.Name == "" {
		id.name, id.content = o.GenerateName, sha256.Sum256(o.YAML())
	}
	return id
}

// Decoder decodes manifests, and keeps documents that are fixed or that it met more than once: what stages share (mostly definitions
// of custom resources) is decoded and encoded once. The zero Decoder is ready; it is safe for concurrent use.
type Decoder struct {
	fixed memo.Map[location, parsed]
	mu    sync.Mutex
	known map[[sha256.Size]byte]parsed // the zero parsed: met once, not kept

	recent *memo.Recent[[sha256.Size]byte, func() parsed] // instead of known
	parses atomic.Int64
}

// NewRecentDecoder returns a Decoder that keeps the documents that it met last, up to a number of their bytes: it decodes each of them
// once, and what it keeps does not grow with the stages.
func NewRecentDecoder(limit int) *Decoder {
	return &Decoder{recent: &memo.Recent[[sha256.Size]byte, func() parsed]{Limit: limit}}
}

// Parses counts the documents that were parsed.
func (d *Decoder) Parses() int64 { return d.parses.Load() }

// location is where a fixed document lies in memory, which stays in use.
type location struct {
	first *byte
	size  int
}

// parsed is the result of parsing one document: its objects, without their source, or an error.
type parsed struct {
	done    bool
	objects []Object
	err     error
}

// Objects decodes manifests, unwraps lists and drops empty documents. Objects are in the order of the manifests. One error
// lists all problems, each with its template, document and line.
func (d *Decoder) Objects(manifests []Manifest) ([]Object, error) {
	return d.ObjectsOf(func(yield func(Manifest, error) bool) {
		for _, m := range manifests {
			if !yield(m, nil) {
				return
			}
		}
	})
}

// ObjectsOf is [Decoder.Objects] for manifests that are read one after the other, up to the first error.
func (d *Decoder) ObjectsOf(manifests iter.Seq2[Manifest, error]) ([]Object, error) {
	var objects []Object
	var problems []error
	count := 0
	for m, err := range manifests {
		if err != nil {
			return nil, err
		}
		if count += countMarks(m.Data); count > maxMarks {
			return nil, fmt.Errorf("%s: document %d: more values than can be decoded: the stage has more than %d newlines and characters of %q up to here; "+
				"does a loop write more than it should?", m.Source, m.Document, maxMarks, marks[1:])
		}
		p := d.parse(m)
		if p.err != nil {
			if len(problems) == maxProblems {
				problems = append(problems, errors.New("and more like these"))
				break
			}
			problems = append(problems, fmt.Errorf("%s: document %d: %w", m.Source, m.Document, p.err))
			continue
		}
		if len(objects)+len(p.objects) > maxObjects {
			return nil, fmt.Errorf("%s: more than %d objects in one stage; split the package", m.Source, maxObjects)
		}
		for _, o := range p.objects {
			o.Source = m.Source
			objects = append(objects, o)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return objects, nil
}

// marks are what YAML begins or ends values with; text has them, too.
const marks = "\n,[{:-?"

// countMarks returns how many values a document has at most.
func countMarks(data []byte) (n int) {
	for _, mark := range []byte(marks) {
		n += bytes.Count(data, []byte{mark})
	}
	return n
}

// Objects decodes manifests of one stage; see [Decoder.Objects].
func Objects(manifests []Manifest) ([]Object, error) {
	return new(Decoder).Objects(manifests)
}

func (d *Decoder) parse(m Manifest) parsed {
	if len(m.Data) > maxDocumentBytes {
		return parsed{err: fmt.Errorf("%d bytes, more than the %d that one document may have", len(m.Data), maxDocumentBytes)}
	}
	if !m.Fixed || len(m.Data) == 0 {
		return d.parseBytes(m.Data, false)
	}
	p, _ := d.fixed.Get(location{&m.Data[0], len(m.Data)}, func() (parsed, error) { return d.parseBytes(m.Data, true), nil })
	return p
}

// parseBytes parses a document, and keeps it if keep is set or these bytes come again.
func (d *Decoder) parseBytes(data []byte, keep bool) parsed {
	key := sha256.Sum256(data)
	if d.recent != nil {
		return d.recent.Put(key, sync.OnceValue(func() parsed { return d.parseOnce(data) }), len(data))()
	}
	d.mu.Lock()
	p, again := d.known[key]
	if d.known == nil {
		d.known = map[[sha256.Size]byte]parsed{}
	}
	if !again {
		d.known[key] = parsed{}
	}
	d.mu.Unlock()
	if p.done {
		return p
	}
	p = d.parseOnce(data)
	if again || keep {
		d.mu.Lock()
		defer d.mu.Unlock()
		if first := d.known[key]; first.done {
			return first
		}
		d.known[key] = p
	}
	return p
}

func (d *Decoder) parseOnce(data []byte) parsed {
	d.parses.Add(1)
	objects, err := parseDocument(data)
	return parsed{true, objects, err}
}

// parseDocument returns the objects in one YAML document: none, one, or those of a list.
func parseDocument(data []byte) ([]Object, error) {
	value, err := decode(data)
	if err != nil {
		return nil, err
	}
	switch value := value.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		if _, encrypted := value["sops"].(map[string]any); encrypted && !isList(value) {
			asWritten, err := decodeOrdered(data, value)
			if err != nil {
				return nil, fmt.Errorf("object encrypted by SOPS: %w", err)
			}
			return newObjects(value, asWritten)
		}
		return unwrap(value, 0)
	default:
		line := bytes.SplitN(bytes.TrimSpace(data), []byte("\n"), 2)[0]
		return nil, fmt.Errorf("a Kubernetes object is a map, this is %s that begins %.40q", describe(value), line)
	}
}

// isList reports whether clients would take content for a list of objects: apimachinery's unstructured decoder and Argo CD
// ask for an array `items`, whatever the kind is called.
func isList(content map[string]any) bool {
	items, given := content["items"]
	if _, array := items.([]any); array {
		return true
	}
	return items == nil && (content["kind"] == "List" || given && strings.HasSuffix(text(content["kind"]), "List"))
}

func unwrap(content map[string]any, depth int) ([]Object, error) {
	if !isList(content) {
		return newObjects(content, content)
	}
	if depth == maxListDepth {
		return nil, fmt.Errorf("lists in lists, more than %d deep", maxListDepth)
	}
	var objects []Object
	items, _ := content["items"].([]any)
	for i, item := range items {
		fields, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("item %d of the %v is %s, not an object", i+1, content["kind"], describe(item))
		}
		// Items of typed lists may leave out what the list's kind says, as those of an API server do.
		if text(fields["kind"]) == "" && text(fields["apiVersion"]) == "" {
			fields = maps.Clone(fields)
			fields["kind"] = strings.TrimSuffix(text(content["kind"]), "List")
			fields["apiVersion"] = text(content["apiVersion"])
		}
		inner, err := unwrap(fields, depth+1)
		if err != nil {
			return nil, fmt.Errorf("item %d of the %v: %w", i+1, content["kind"], err)
		}
		objects = append(objects, inner...)
	}
	return objects, nil
}

// newObjects makes the object with this content, which is encoded from written.
func newObjects(content map[string]any, written any) ([]Object, error) {
	var f fields
	encoded := sync.OnceValue(func() []byte { return slices.Clip(appendBlock(nil, written, 0)) })
	o := Object{Kind: f.text(content, "", "kind"), document: &document{
		content: content,
		encoded: encoded,
		marks:   sync.OnceValue(func() int { return countMarks(encoded()) }),
		found: sync.OnceValue(func() (f findings) {
			f.add(place{}, content)
			return f
		}),
	}}
	apiVersion := f.text(content, "", "apiVersion")
	meta, ok := content["metadata"].(map[string]any)
	if !ok && content["metadata"] != nil {
		f.problems = append(f.problems, fmt.Sprintf("metadata is %s, not a map", describe(content["metadata"])))
	}
	const prefix = "metadata."
	o.Name, o.GenerateName, o.Namespace = f.text(meta, prefix, "name"), f.text(meta, prefix, "generateName"), f.text(meta, prefix, "namespace")
	f.texts(meta, "labels")
	f.texts(meta, "annotations")

	group, version, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		group, version = "", group
	}
	o.Group, o.Version = group, version
	if grouped && (group == "" || version == "") || strings.Contains(version, "/") {
		f.problems = append(f.problems, fmt.Sprintf("apiVersion %q is neither VERSION nor GROUP/VERSION", apiVersion))
	}
	if len(f.problems) == 0 {
		var missing []string
		for _, field := range [][2]string{{"apiVersion", apiVersion}, {"kind", o.Kind}, {"metadata.name", o.Name + o.GenerateName}} {
			if field[1] == "" {
				missing = append(missing, "no "+field[0])
			}
		}
		if missing == nil {
			return []Object{o}, nil
		}
		f.problems = []string{strings.Join(missing, ", ")}
	}
	what := strings.TrimSpace(o.Kind + " " + o.Name)
	if o.Kind == "" {
		what = "object"
	}
	return nil, fmt.Errorf("%s: %s", what, strings.Join(f.problems, "; "))
}

// fields reads strings of maps and records values of other types.
type fields struct{ problems []string }

func (f *fields) text(content map[string]any, prefix, key string) string {
	switch v := content[key].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		f.problems = append(f.problems, fmt.Sprintf("%s%s is %s, not a string (quote it?)", prefix, key, describe(v)))
		return ""
	}
}

// texts records maps and lists among labels or annotations. Numbers and booleans pass, as in most tools.
func (f *fields) texts(meta map[string]any, key string) {
	values, _ := meta[key].(map[string]any)
	for _, k := range sortedKeys(values) {
		switch values[k].(type) {
		case map[string]any, []any:
			f.problems = append(f.problems, fmt.Sprintf("metadata.%s: %s is %s, not a string", key, k, describe(values[k])))
		}
	}
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// describe names the kind of a decoded value.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	case string:
		return "a string"
	case bool:
		return fmt.Sprintf("the boolean %t", v)
	default:
		return fmt.Sprintf("the number %v", v)
	}
}
