package hydrate

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
)

// outputVersion is part of every input digest: raise it whenever the same objects come out as other bytes.
const outputVersion = 2

// Packer names the version of what turns objects into bytes, for provenance.
func Packer() string { return fmt.Sprintf("output %d", outputVersion) }

// Stage is one stage of a release, ready to be rendered: its output is a function of it.
type Stage struct {
	Pipeline string
	Name     string
	Lock     lock.File
	// Committed is the committer's time of the locked commit, which templates take for the present time; 1970-01-01 for a packaged chart.
	Committed time.Time
	Renderer  string // name and version of what renders, such as "helm v3.22.0"
	Package   Package
	Options   Options
	Absent    []string // optional values files that were looked for and do not exist
	Decoder   *Decoder // shared by the stages of one package, which have most documents in common; nil for its own
	Schemas   Checker  // checks the objects if Options.Validate is set
}

// A Checker checks all objects of a stage. Its error names every object that is wrong, and no value of a Secret.
type Checker interface {
	Check(objects []Object) error
}

// Rendering is the result of rendering a stage.
type Rendering struct {
	Tree     *Tree
	Objects  int
	Images   []string // in it, as written, sorted
	Warnings []string
	// Allowances are the rules that the stage waives and its output breaks, such as "allowSecrets: db", sorted.
	Allowances []string
}

// maxProblems bounds the problems that one error lists.
const maxProblems = 20

// firstOf sorts the lines of an error and keeps so many of them.
func firstOf(lines []string, limit int) []string {
	slices.Sort(lines)
	if len(lines) <= limit {
		return lines
	}
	return append(lines[:limit:limit], fmt.Sprintf("and %d more", len(lines)-limit))
}

// Render renders the stage and checks the output by its rules; the error lists all that it breaks, no value of an object.
func (s Stage) Render(ctx context.Context) (Rendering, error) {
	request := s.Options.Request
	request.Clock, request.Seed, request.Generate = s.Committed, []byte(s.InputDigest()), s.Options.AllowNondeterminism
	rendered, err := s.Package.Render(ctx, request)
	if err != nil {
		return Rendering{}, err
	}
	decoder := cmp.Or(s.Decoder, &Decoder{})
	objects, err := decoder.Objects(rendered.Manifests)
	if err := cmp.Or(err, checkReadable(objects)); err != nil {
		return Rendering{}, err
	}
	if len(objects) == 0 && !s.Options.AllowEmpty {
		return Rendering{}, fmt.Errorf("%s gave no object: is anything in it enabled? If the stage is meant to be empty, set render.allowEmpty: true", s.what())
	}
	again := repeater{s.Package, request, decoder, rendered, objects}
	random, err := again.random(ctx)
	if err != nil {
		return Rendering{}, err
	}
	generated, err := again.generated(ctx)
	if err != nil {
		return Rendering{}, err
	}
	if s.Options.RewriteImages {
		objects, err = rewriteImages(objects, s.Lock.Images())
		if err := cmp.Or(err, checkReadable(objects)); err != nil {
			return Rendering{}, err
		}
	}
	allowances, err := s.judge(objects, random, generated)
	if err != nil {
		return Rendering{}, err
	}
	tree, err := Layout(objects, s.Options.Layout, s.namespace())
	if err != nil {
		return Rendering{}, err
	}
	warnings := slices.Concat(rendered.Warnings, warnLeftOut(objects), warnVersion(request.KubeVersion))
	return Rendering{tree, len(objects), Images(objects), warnings, allowances}, nil
}

// namespace returns that of objects that name none; "" if that is decided where they are applied.
func (s Stage) namespace() string {
	if s.Lock.Packaging.Kind == lock.Kustomize {
		return s.Options.Namespace
	}
	return cmp.Or(s.Options.Namespace, "default") // Helm's
}

// what names for people what the stage renders.
func (s Stage) what() string {
	source, o := s.Lock.Packaging.SourcePath, s.Options
	if s.Lock.Packaging.Kind == lock.Packaged {
		source = s.Lock.Chart.String()
	}
	switch {
	case s.Lock.Packaging.Kind == lock.Kustomize && o.Kustomize != nil:
		folders := append([]string{path.Join(source, o.Kustomize.Base)}, o.Kustomize.Components...)
		return "render.kustomize of " + strings.Join(folders, ", ")
	case s.Lock.Packaging.Kind == lock.Kustomize:
		return "overlay " + o.Overlay
	}
	var values []string
	for _, f := range o.Values {
		values = append(values, f.Path)
	}
	return fmt.Sprintf("chart %s with %s", source, cmp.Or(strings.Join(values, ", "), "its own values"))
}

// judge applies the stage's rules to its output, and returns those that it breaks with permission.
func (s Stage) judge(objects []Object, random, generated []difference) (allowances []string, err error) {
	var problems []error
	waive := func(err error, waived bool, allowance string) {
		switch {
		case err == nil:
		case waived:
			allowances = append(allowances, allowance)
		default:
			problems = append(problems, err)
		}
	}
	if len(random) > 0 {
		waive(nondeterministic(random), s.Options.AllowNondeterminism, "nondeterminism: allow")
	}
	allowances = append(allowances, generatedAllowances(generated)...)
	used, err := guardSecrets(objects, s.Options.AllowSecrets)
	waive(err, false, "")
	for _, name := range used {
		allowances = append(allowances, "allowSecrets: "+name)
	}
	if len(objects) == 0 { // where nothing runs, no image can be missing
		allowances = append(allowances, "allowEmpty: true")
	} else {
		s.assert(objects, waive)
	}
	if s.Options.RequireDigests {
		waive(requireDigests(objects), false, "")
	}
	if s.Options.Validate {
		waive(s.Schemas.Check(objects), false, "")
	}
	slices.Sort(allowances)
	return allowances, errors.Join(problems...)
}

// assert checks that the locked images occur in the output.
func (s Stage) assert(objects []Object, waive func(err error, waived bool, allowance string)) {
	err := assertImages(objects, s.Lock.Images(), AssertOutsideMetadata)
	switch s.Options.AssertImage {
	case AssertNothing:
		waive(err, true, "assertImage: false")
	case AssertAnywhere:
		if anywhere := assertImages(objects, s.Lock.Images(), AssertAnywhere); anywhere != nil {
			waive(anywhere, false, "")
			return
		}
		waive(err, true, "assertImage: anywhere")
	default:
		waive(err, false, "")
	}
}

// InputDigest returns a digest of everything that can change the output: pipeline and stage, the lock, the content of all files
// of the package and of values, the options as they take effect, the version of the renderer. It leaves out where files lie in
// the GitOps repository, the content of schemas, and the name under which the artifact is stored.
func (s Stage) InputDigest() digest.Digest {
	type file struct {
		Path   string    `json:",omitempty"`
		Kind   InputKind `json:",omitempty"`
		SHA256 string
	}
	var files []file
	for _, in := range s.Package.Inputs() {
		files = append(files, file{in.Path, in.Kind, hex.EncodeToString(in.SHA256[:])})
	}
	for _, name := range s.Absent {
		files = append(files, file{Path: name, Kind: InputAbsent})
	}
	data, err := json.Marshal(struct {
		Output                    int
		Renderer, Pipeline, Stage string
		Lock                      json.RawMessage
		Options                   Options
		Files                     []file
	}{
		Output:   outputVersion,
		Renderer: s.Renderer,
		Pipeline: s.Pipeline,
		Stage:    s.Name,
		Lock:     s.Lock.Canonical(),
		Options:  s.Options,
		Files:    files,
	})
	if err != nil {
		// Strings, numbers and valid JSON always encode.
		panic("hydrate: input digest: " + err.Error())
	}
	return digest.FromBytes(data)
}
