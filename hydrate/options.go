package hydrate

import (
	"cmp"
	"encoding/json"
	"path"
	"time"

	"github.com/lockage/lockage/hydrate/lock"
)

// Options are the render options of a stage as they take effect. Their JSON form is part of the input digest: a field that
// can change the output is in it, a place in the GitOps repository is not.
type Options struct {
	Request
	Overlay   string     `json:"-"`          // a folder of the GitOps repository
	Kustomize *Kustomize `json:"-"`          // generates the overlay; excludes Overlay
	Image     string     `json:",omitempty"` // the name of the image in Overlay that becomes the release's own
	Layout    Mode

	AssertImage         Assertion // where every locked digest must occur in the output
	RewriteImages       bool      // images that name a locked repository by tag are pinned by digest
	RequireDigests      bool      // all images must be pinned by digest
	AllowNondeterminism bool      // output that depends on random numbers, or holds generated keys, is published
	AllowEmpty          bool      `json:",omitempty"` // a render without an object is published
	AllowSecrets        []string  `json:",omitempty"` // names the Secrets that may hold data in the clear; sorted, each once
	Validate            bool      // the objects are checked against the schemas of KubeVersion
	Schemas             string    `json:"-"` // a folder of the GitOps repository, for Validate
}

// Named returns the options of a release by name, as a provenance has them: equal ones render equal files to equal output. They have
// neither the content of values files nor what its kind of package does not look at. Values are JSON as text, in which a reader
// of statements takes no keys for twins.
func (o Options) Named(l lock.Lock) json.RawMessage {
	type setting struct{ Key, Value string }
	named := struct {
		Options
		Helm      int        `json:",omitempty"`
		Set       []setting  `json:",omitempty"`
		Overlay   string     `json:",omitempty"`
		Kustomize *Kustomize `json:",omitempty"`
	}{Options: o}
	named.Values = nil
	if l.Packaging.Kind == lock.Kustomize {
		named.Request = Request{}
		if named.Overlay = o.Overlay; o.Kustomize != nil {
			k := *o.Kustomize
			k.Base, k.Image = path.Join(".", k.Base), cmp.Or(k.Image, l.Image.Repository())
			named.Kustomize, named.Namespace = &k, o.Namespace
		}
	} else {
		named.Helm = cmp.Or(o.Helm, 3)
		for _, v := range o.Set {
			named.Set = append(named.Set, setting{v.Key, string(v.Value)})
		}
	}
	data, err := json.Marshal(named)
	if err != nil {
		panic("hydrate: options: " + err.Error()) // strings, numbers and valid JSON always encode
	}
	return data
}

// Request is everything but the package that a render may look at: there is no cluster, network, environment or clock.
type Request struct {
	Helm        int `json:"-"` // the version of Helm that renders, 3 or 4; 0 for 3. The name of the renderer is in the digest
	ReleaseName string
	Namespace   string     // "" for the renderer's default
	KubeVersion string     // e.g. "1.34"; required if the package can ask for it
	APIVersions []string   `json:",omitempty"` // e.g. "monitoring.coreos.com/v1", beyond those that every cluster has
	Values      []File     `json:",omitempty"` // in layering order: later files win
	Set         []SetValue `json:",omitempty"` // set after Values, in this order
	IncludeCRDs bool
	Hooks       Hooks

	// [Stage.Render] sets these.
	Clock    time.Time `json:"-"` // what templates take for the present time
	Seed     []byte    `json:"-"` // of the random numbers that templates draw
	Redraw   bool      `json:"-"` // whether each number is another one than the seed gives
	Generate bool      `json:"-"` // whether keys and certificates may be generated
}

// Kustomize describes a generated overlay, as a pipeline file declares it.
type Kustomize struct {
	Base       string   `yaml:"base" jsonschema_description:"The base, relative to the lock's sourcePath; empty for sourcePath itself."`
	Components []string `yaml:"components" jsonschema_description:"Components: folders of the GitOps repository, or else, relative to sourcePath, of the source."`
	Image      string   `yaml:"image" jsonschema_description:"The former place of render.image."`
}

// File is a file by name and content. The name is for messages.
type File struct {
	Path string `json:"-"`
	Data []byte
}

// SetValue sets the value at Key ("image.tag", "hosts[0]").
type SetValue struct {
	Key   string
	Value json.RawMessage // numbers are exact; null removes a default
}

// Hooks selects the objects that are rendered of those that a package marks as lifecycle hooks.
type Hooks string

// The choices of hooks. HooksDeploy leaves out what runs on delete, rollback and test only.
const (
	HooksDeploy Hooks = "deploy"
	HooksAll    Hooks = "all"
	HooksNone   Hooks = "none"
)

// Mode selects how objects are laid out in files.
type Mode string

// The layouts: one file an object, or all objects in manifest.yaml.
const (
	PerObject Mode = "per-object"
	Single    Mode = "single"
)
