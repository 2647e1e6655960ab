package hydrate

import (
	"context"
	"io/fs"
)

// A Renderer opens packages of one kind.
type Renderer interface {
	// Open reads and checks the package whose folder is the root of source. It reads all of it: source is not used
	// after Open returns.
	Open(ctx context.Context, source fs.FS) (Package, error)
}

// A Package is one opened package, rendered once for every stage. Its methods are safe for concurrent use.
type Package interface {
	// Inputs lists every file of the package that a render may read, ordered by path.
	Inputs() []Input
	// Render renders the package for one stage. The result is a function of the package and the request alone.
	Render(ctx context.Context, request Request) (Rendered, error)
}

// Input is one file that a render may read.
type Input struct {
	Path   string   // slash-separated, relative to the package's folder
	SHA256 [32]byte // of the file's bytes as they are stored
}

// Request is everything but the package that a render may look at: there is no cluster, network, environment or clock.
type Request struct {
	ReleaseName string
	Namespace   string
	KubeVersion string     // e.g. "1.34"; required where the package can ask for it
	APIVersions []string   // e.g. "monitoring.coreos.com/v1", beyond those that every cluster has
	Values      []File     // in layering order: later files win
	Set         []SetValue // literal strings, set after Values, in this order
	IncludeCRDs bool
	Hooks       Hooks
}

// File is a file by name and content. The name is for messages.
type File struct {
	Path string
	Data []byte
}

// SetValue sets the value at Key ("image.tag", "hosts[0]") to the string Value, uninterpreted.
type SetValue struct {
	Key, Value string
}

// Hooks says which of the objects that a package marks as lifecycle hooks are rendered.
type Hooks string

// The choices of hooks. HooksDeploy leaves out what runs on delete, rollback and test only.
const (
	HooksDeploy Hooks = "deploy"
	HooksAll    Hooks = "all"
	HooksNone   Hooks = "none"
)

// Rendered is what a render made.
type Rendered struct {
	Manifests []Manifest
	Warnings  []string // for people, one line each, in a stable order
}

// Manifest is one YAML document as a renderer made it. Data is shared and read-only.
type Manifest struct {
	Source   string // the template it came from, e.g. "mychart/templates/deployment.yaml"
	Document int    // its ordinal among the documents of Source, from 1
	Data     []byte
}
