package hydrate

import (
	"context"
	"io/fs"

	"github.com/lockage/lockage/hydrate/lock"
)

// A Renderer opens packages that stages share.
type Renderer interface {
	// Open reads and checks the package whose folder is the root of source. It reads all of it: source is not used
	// after Open returns.
	Open(ctx context.Context, source fs.FS) (Package, error)
}

// An Overlayer opens packages that the GitOps repository has a part in: one for every stage.
type Overlayer interface {
	// OpenOverlay finds out what the stage's package reads, of both trees, and reads it: neither is used after
	// OpenOverlay returns.
	OpenOverlay(ctx context.Context, overlay Overlay) (Package, error)
}

// Overlay is what a stage lays over the locked source. Exactly one of Path and Generated is set.
type Overlay struct {
	Source     fs.FS  // the whole tree of the locked commit
	SourceRepo string // the URL by which remote bases name the source repository
	Commit     string // the locked commit, 40 hex digits
	// Prefetch may bring what lies at and below paths of Source near in one go, before it is read. It may be nil.
	Prefetch  func(ctx context.Context, paths ...string) error
	GitOps    fs.FS             // the whole tree of the GitOps commit
	Images    []lock.NamedImage // as [lock.Lock.Images] returns them
	Path      string            // a folder of GitOps
	Generated *Generated
}

// Generated describes an overlay that nobody wrote.
type Generated struct {
	SourcePath string   // the lock's folder of Source
	Base       string   // relative to SourcePath; "" for SourcePath itself
	Components []string // folders of GitOps, or else, relative to SourcePath, of Source
	Namespace  string   // for all objects; "" leaves them where they are
	Image      string   // the image name that the main image replaces; "" for its own
}

// A Package is one opened package, rendered once for every stage. Its methods are safe for concurrent use.
type Package interface {
	// Inputs lists all of the package that a render may read, ordered by path.
	Inputs() []Input
	// Render renders the package for one stage. The result is a function of the package and the request alone, or it can
	// be rendered [Rendered.Again].
	Render(ctx context.Context, request Request) (Rendered, error)
}

// Input is one file that a render may read, or one place at which it looked for a file and found none.
type Input struct {
	Path   string    // slash-separated, relative to the package's folder
	Kind   InputKind // what was found there
	SHA256 [32]byte  // of the file's bytes as they are stored; zero for what is no file
}

// InputKind is what a package found at a path.
type InputKind string

// The kinds of inputs.
const (
	InputFile   InputKind = ""
	InputFolder InputKind = "folder"
	InputAbsent InputKind = "absent"
	// InputDependency is a packaged chart that was fetched. Path is a package URL (github.com/package-url/purl-spec), such
	// as "pkg:helm/redis@20.0.1?repository_url=oci://registry.example.com/charts", SHA256 that of the package.
	InputDependency InputKind = "dependency"
)

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
	// Again renders the same once more, as somebody else would at another time and with other luck. It is nil where the
	// render cannot have asked for the time, for randomness or the like.
	Again func(context.Context) (Rendered, error)
}

// Manifest is one YAML document as a renderer made it. Data is shared and read-only.
type Manifest struct {
	Source   string // the template it came from, e.g. "mychart/templates/deployment.yaml"
	Document int    // its ordinal among the documents of Source, from 1
	Data     []byte
}
