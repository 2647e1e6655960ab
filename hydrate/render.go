package hydrate

import (
	"bytes"
	"context"
	"io/fs"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
)

// A Renderer opens packages of one kind.
type Renderer interface {
	// Version returns the name and version of what renders by these options, such as "helm v3.22.0". It is part of the input
	// digest.
	Version(options Options) string
	// Overlays reports whether the GitOps repository has a part in every package: each stage then opens its own. Otherwise
	// stages share a package, and Source.Overlay is nil.
	Overlays() bool
	// Open reads and checks a package, which may use the source as long as it is used itself.
	Open(ctx context.Context, source Source) (Package, error)
}

// Source is the locked source of a package.
type Source struct {
	Files      fs.FS  // the whole tree of the locked commit, or of a packaged chart
	Packaged   bool   // Files are those of a packaged chart, from which nothing is left out
	Path       string // the package's folder in Files
	Repository string // the URL by which remote bases name the source repository
	Commit     string // the locked commit, 40 hex digits; "" for a packaged chart
	// Prefetch may fetch the files at and below paths of Files in one go, before they are read. It may be nil.
	Prefetch func(ctx context.Context, paths ...string) error
	Overlay  *Overlay
}

// Overlay is the part that a stage has in its package.
type Overlay struct {
	GitOps  fs.FS             // the whole tree of the GitOps commit
	Images  []lock.NamedImage // as [lock.Lock.Images] returns them
	Options Options
}

// A Package is one opened package. Its methods are safe for concurrent use.
type Package interface {
	// Inputs lists all of the package that a render may read, ordered by path.
	Inputs() []Input
	// Render renders the package for one stage. The result is a function of the package and the request alone, unless it is
	// [Rendered.Generated]. The request holds nothing but what [Stage.Render] sets if the package is that of one stage.
	Render(ctx context.Context, request Request) (Rendered, error)
}

// Input is one file that a render may read, or one path at which it found no file.
type Input struct {
	Path   string    // slash-separated, relative to the package's folder
	Kind   InputKind // what was found there
	SHA256 [32]byte  // of the file's bytes as they are stored; zero unless it is a file
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

// Rendered is the result of a render.
type Rendered struct {
	Manifests []Manifest
	Warnings  []string // for people, one line each, in a stable order
	// Random reports whether random numbers of [Request.Seed] were drawn.
	Random bool
	// Generated reports whether keys or certificates were generated, which come out differently in every render.
	Generated bool
}

// Manifest is one YAML document as a renderer made it. Data is shared and read-only.
type Manifest struct {
	Source   string // the template it came from, e.g. "mychart/templates/deployment.yaml"
	Document int    // its ordinal among the documents of Source, from 1
	Data     []byte
	// Fixed reports that the document is part of the package: renders of all stages that have it share Data.
	Fixed bool
}

// SplitStream splits a stream of YAML documents before each document marker in the first column, which ends a document even
// within a block scalar (YAML 1.2.2, 9.1.2). Markers and blanks are kept.
func SplitStream(stream []byte) [][]byte {
	var documents [][]byte
	start, end := 0, 0
	for line := range bytes.Lines(stream) {
		rest, marker := bytes.CutPrefix(line, []byte("---"))
		if marker && end > start && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0) {
			documents = append(documents, stream[start:end])
			start = end
		}
		end += len(line)
	}
	return append(documents, stream[start:])
}
