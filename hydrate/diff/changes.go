package diff

// Change says what happened to an object, or to a field of one.
type Change string

// The kinds of change. Renamed is of objects only, Reordered of fields only.
const (
	Added     Change = "added"
	Removed   Change = "removed"
	Changed   Change = "changed"
	Renamed   Change = "renamed"
	Reordered Change = "reordered"
)

// Changes is the difference between two trees. Its JSON form is stable: fields are added to it, none removed or renamed.
type Changes struct {
	Counts  Counts         `json:"counts"`
	Noise   Noise          `json:"noise"`
	Images  []ImageChange  `json:"images"`
	Objects []ObjectChange `json:"objects"`       // by kind, group, namespace and name; definitions of custom resources last
	All     bool           `json:"all,omitempty"` // Options.All: text and Markdown show every field by itself too
}

// Empty reports whether the trees say the same: not even noise differs.
func (c Changes) Empty() bool { return len(c.Objects) == 0 && c.Noise.Objects == 0 }

// Counts counts objects. Those in Noise.Objects are in none of the counts.
type Counts struct {
	Added     int `json:"added"`
	Removed   int `json:"removed"`
	Changed   int `json:"changed"`
	Renamed   int `json:"renamed"`
	Unchanged int `json:"unchanged"`
}

// Noise counts what was folded. With [Options.All] nothing is, and it is zero.
type Noise struct {
	Objects int         `json:"objects"` // that changed in noise only
	Fields  int         `json:"fields"`  // in these and in all other objects
	Rules   []NoiseRule `json:"rules"`   // those that matched, in the order of the patterns
}

// NoiseRule counts what one pattern matched.
type NoiseRule struct {
	Pattern string `json:"pattern"`
	Objects int    `json:"objects"`
	Fields  int    `json:"fields"`
}

// ObjectChange is what happened to one object.
type ObjectChange struct {
	Change     Change        `json:"change"`
	Group      string        `json:"group"` // "" for the core group; of the new object where it moved
	Kind       string        `json:"kind"`
	Namespace  string        `json:"namespace"` // as written, mostly "" where the release decides it
	Name       string        `json:"name"`      // generateName and "*" for objects without a name
	BeforeName string        `json:"beforeName,omitempty"`
	File       string        `json:"file"` // hydrate.Object.Source: of the new object, of the old one where it is removed
	Risks      []Risk        `json:"risks"`
	Fields     []FieldChange `json:"fields"`
	Omitted    int           `json:"omitted,omitempty"` // further changed fields, of objects with very many
}

// String names the object for people: "Deployment.apps staging/web".
func (o ObjectChange) String() string {
	s := o.Kind
	if o.Group != "" {
		s += "." + o.Group
	}
	s += " "
	if o.Namespace != "" {
		s += o.Namespace + "/"
	}
	return s + o.Name
}

// FieldChange is what happened to one field.
type FieldChange struct {
	// Path is the field: `spec.template.spec.containers[name=app].image`, `metadata.labels["helm.sh/chart"]`. List items
	// without a key have their index, of the new list, or of the old one if they were removed. "" is the whole object.
	Path string `json:"path"`
	// Inside is, where the field is a JSON text before and after, a path within: two such texts are compared by what they
	// say, so that there may be several changes of one Path.
	Inside string `json:"inside,omitempty"`
	Change Change `json:"change"`
	// Before and After are JSON values: of what was added Before is nil, of what was removed After, and so is a null. Of
	// reordered lists with keys they are the keys. Long strings are shortened; values of Secrets are hidden.
	Before any `json:"before,omitempty"`
	After  any `json:"after,omitempty"`
	// Lines stands instead of Before and After where two texts were compared line by line.
	Lines []Line `json:"lines,omitempty"`
	Noise bool   `json:"noise,omitempty"` // true only with Options.All
}

// Line is one line of a comparison of texts.
type Line struct {
	Op   LineOp `json:"op"`
	Text string `json:"text"`
}

// LineOp says what happened to a line.
type LineOp string

// The marks of lines. LineNote is a remark of this package, for lines left out mostly.
const (
	LineSame    LineOp = " "
	LineRemoved LineOp = "-"
	LineAdded   LineOp = "+"
	LineNote    LineOp = "@"
)

// ImageChange is an image that objects use now instead of another one, use newly (Before is "") or no more (After is "").
type ImageChange struct {
	Before  string `json:"before"`
	After   string `json:"after"`
	Objects int    `json:"objects"`
}

// Risk is something a reviewer should not miss.
type Risk struct {
	Kind    RiskKind `json:"kind"`
	Level   Level    `json:"level"`
	Message string   `json:"message"`           // words of this package only
	Details []string `json:"details,omitempty"` // words of the manifests
}

// RiskKind groups risks.
type RiskKind string

// The kinds of risk.
const (
	RiskDeletion  RiskKind = "deletion"
	RiskImmutable RiskKind = "immutable" // the cluster will refuse the change
	RiskRBAC      RiskKind = "rbac"
	RiskCRD       RiskKind = "crd"
	RiskPrivilege RiskKind = "privilege" // power over the node
	RiskScale     RiskKind = "scale"
	RiskSecret    RiskKind = "secret"
	RiskImage     RiskKind = "image"
)

// Level says how loud a risk is.
type Level string

// The levels, quiet to loud.
const (
	Info    Level = "info"
	Warning Level = "warning"
	Danger  Level = "danger"
)

// Options says what is noise.
type Options struct {
	// Noise holds patterns of paths whose changes are folded; nil stands for [DefaultNoise]. A pattern is written like
	// [FieldChange.Path] and covers the field and all below it. `*` matches any characters within a key or the brackets
	// of a list item, `**` any number of steps: `**.metadata.annotations["checksum/*"]`, `spec.ports[*].nodePort`. Within
	// a JSON text it goes on: `data["*.json"].panels[*].pluginVersion`.
	Noise []string
	// All folds nothing: noise is among the changes, marked, and nothing is put together or left out for brevity.
	All bool
}
