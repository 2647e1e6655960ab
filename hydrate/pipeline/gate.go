package pipeline

import (
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/strictyaml"
)

// Gate is one condition of promotion, and perhaps a name.
type Gate struct {
	Name string `yaml:"name" jsonschema:"pattern=^[a-z0-9][a-z0-9-]*$,maxLength=63" jsonschema_description:"The gate's name in verdicts, unique in its stage. Default: its kind; from the second of a kind on attestation#2."`

	Kind      string    `yaml:"-"` // the key that the condition is written under
	Declared  any       `yaml:"-"` // the condition as written, placeholders replaced: a pointer to the type that its kind declares
	Condition Condition `yaml:"-"` // the same, parsed
}

// DecodeNode reads nothing: the kinds that Load is given read gates.
func (*Gate) DecodeNode(*strictyaml.Node, bool) strictyaml.Problems { return nil }

// Condition is what a gate asks for, parsed by its kind. What it needs, and when it is met, is for package policy to say.
type Condition interface {
	// Signers are those whose statements count.
	Signers() Signers
}

// Signers are identities by their names in the pipeline file, and what they sign. About is empty where that is none of the
// digests that a [Subject] names.
type Signers struct {
	About Subject
	Names []string
}

// Subject is the digest that statements are about: that of the artifact, of the image, or of another stage's artifact.
type Subject string

// Subjects of the stage itself.
const (
	SubjectArtifact Subject = "artifact"
	SubjectImage    Subject = "image"
)

// StageSubject is the artifact of another stage.
func StageSubject(stage string) Subject { return Subject("stage:" + stage) }

// ParseSubject reads artifact, image or stage:NAME, and reports whether text is one of them.
func ParseSubject(text string) (Subject, bool) {
	s := Subject(text)
	_, other := s.Stage()
	return s, other || s == SubjectArtifact || s == SubjectImage
}

// Stage returns the other stage that the subject is of.
func (s Subject) Stage() (name string, ok bool) { return strings.CutPrefix(string(s), "stage:") }

// GateKind is a kind of gate: the key of its condition, and how that is read. [NewGateKind] makes one.
type GateKind struct {
	Name        string
	Description string // for the JSON Schema

	declared reflect.Type
	parse    func(declared any, d *Declaration) Condition
}

// NewGateKind makes a kind of gate whose condition is written as a D: a string, or a struct with the tags of strictyaml, of
// encoding/json and of the JSON Schema. The JSON form is what waivers are bound to: fields are added to it, none renamed. parse
// gets the zero value of what could not be decoded, which is reported already.
func NewGateKind[D any](name, description string, parse func(declared D, d *Declaration) Condition) GateKind {
	return GateKind{name, description, reflect.TypeFor[D](), func(declared any, d *Declaration) Condition {
		written, _ := declared.(*D)
		return parse(*written, d)
	}}
}

// Waivers says who may waive the gates of a stage. Its zero value: nobody.
type Waivers struct {
	By    []string `yaml:"by,required" json:"by,omitempty" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities."`
	Count *int     `yaml:"count" json:"count,omitempty" jsonschema:"default=1,minimum=1" jsonschema_description:"How many distinct identities."`
}

// decodeGate reads a gate. declared has a pointer for each kind, nil for one that the gate does not have.
func decodeGate(kinds []GateKind, n *strictyaml.Node, path string, partial bool) (name string, declared []any, problems strictyaml.Problems) {
	declared = make([]any, len(kinds))
	fields := []strictyaml.Field{{Key: "name", Into: &name}}
	for i, k := range kinds {
		into := reflect.New(k.declared).Interface()
		fields = append(fields, strictyaml.Field{Key: k.Name, Into: into})
		if !n.Get(k.Name).IsNull() {
			declared[i] = into
		}
	}
	problems = strictyaml.DecodeFields(n, path, partial, fields)
	return name, declared, problems
}

// decodeGates reports what does not decode in the gates of one stage, which is at path.
func decodeGates(kinds []GateKind, stage *strictyaml.Node, partial bool, c *checker, path ...any) {
	gates := stage.Get("gates")
	if gates == nil {
		return
	}
	for i, gate := range gates.Items {
		if !gate.IsNull() { // which is reported
			_, _, problems := decodeGate(kinds, gate, pathName(append(slices.Clip(path), "gates", i)), partial)
			c.addProblems(problems)
		}
	}
}

// ParseGates reads gates and waivers that belong to no pipeline, under the keys gates and waivers of doc, as those of a stage
// are read. Placeholders get the values of l. Every identity and every stage that they name counts as declared. The error is
// strictyaml.Problems unless reading files failed.
func ParseGates(kinds []GateKind, doc *strictyaml.Node, stage string, l lock.Lock, files fs.FS) ([]Gate, Waivers, error) {
	c := newChecker()
	p := &Pipeline{Name: "pipeline", loaded: &loaded{kinds: kinds}}
	doc = doc.Pick(func(key string) bool { return key == "gates" || key == "waivers" })
	e := effective{doc: expandStrings(doc, p.stageScope(stage).with(l, nil), c), anyName: true}
	c.addProblems(strictyaml.Decode(e.doc, &e))
	decodeGates(kinds, doc, false, c)
	if err := e.parseGates(p, files, c); err != nil {
		return nil, Waivers{}, err
	}
	return e.Gates, e.Waivers, c.problems.Err()
}
