package hydrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
)

// outputVersion counts the changes to what this package makes of a renderer's output. It is part of every input digest:
// raise it whenever the same objects come out as other bytes.
const outputVersion = 1

// Stage is one stage of a release, ready to be rendered: all that its output is a function of.
type Stage struct {
	Pipeline string
	Name     string
	Lock     lock.File
	Renderer string // what renders, and in which version, such as "helm v3.22.0"
	Package  Package
	Request  Request
	Decoder  *Decoder // shared by the stages of one package, which have most documents in common; nil for its own
	Layout   Mode
	// AssertImage asks that every locked digest occurs in the output.
	AssertImage bool
	// RewriteImages pins by digest the images of containers that name a locked repository by tag.
	RewriteImages bool
	// RequireDigests asks that the images of all containers are pinned by digest.
	RequireDigests bool
	// AllowNondeterminism publishes output that another render would not give again.
	AllowNondeterminism bool
	// AllowSecrets names the Secrets that may hold data in the clear.
	AllowSecrets []string
	// Schemas checks the objects; nil for no check.
	Schemas Checker
}

// A Checker checks all objects of a stage. Its error names every object that is wrong, and no value of a Secret.
type Checker interface {
	Check(objects []Object) error
}

// Rendering is what a stage was rendered to.
type Rendering struct {
	Tree     *Tree
	Objects  int
	Images   []string // of the containers in it, as written, sorted
	Warnings []string
	// Allowances are the rules that the stage waives and that its output breaks, such as "allowSecrets: db", sorted.
	Allowances []string
}

// Render renders the stage and judges what came out by its rules; the error tells all that are broken. Nothing in it is
// a value of an object.
func (s Stage) Render(ctx context.Context) (Rendering, error) {
	rendered, err := s.Package.Render(ctx, s.Request)
	if err != nil {
		return Rendering{}, err
	}
	decoder := s.Decoder
	if decoder == nil {
		decoder = &Decoder{}
	}
	objects, err := decoder.Objects(rendered.Manifests)
	if err != nil {
		return Rendering{}, err
	}
	if len(objects) == 0 {
		return Rendering{}, fmt.Errorf("the render of %s gave no object; are its values right?", s.Lock.Packaging.SourcePath)
	}
	changing, err := differences(ctx, decoder, rendered, objects)
	if err != nil {
		return Rendering{}, err
	}
	if s.RewriteImages {
		if objects, err = rewriteImages(objects, s.Lock.Images()); err != nil {
			return Rendering{}, err
		}
	}
	allowances, err := s.judge(objects, changing)
	if err != nil {
		return Rendering{}, err
	}
	tree, err := Layout(objects, s.Layout)
	if err != nil {
		return Rendering{}, err
	}
	return Rendering{tree, len(objects), Images(objects), rendered.Warnings, allowances}, nil
}

// judge applies the stage's rules to its output, and returns those that it breaks and may break.
func (s Stage) judge(objects []Object, changing []string) (allowances []string, err error) {
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
	if len(changing) > 0 {
		waive(nondeterministic(changing), s.AllowNondeterminism, "nondeterminism: allow")
	}
	used, err := guardSecrets(objects, s.AllowSecrets)
	waive(err, false, "")
	for _, name := range used {
		allowances = append(allowances, "allowSecrets: "+name)
	}
	waive(assertImages(objects, s.Lock.Images()), !s.AssertImage, "assertImage: false")
	if s.RequireDigests {
		waive(requireDigests(objects), false, "")
	}
	if s.Schemas != nil {
		waive(s.Schemas.Check(objects), false, "")
	}
	slices.Sort(allowances)
	return allowances, errors.Join(problems...)
}

// InputDigest is a digest over everything that can change the output: pipeline and stage, every field of the lock, every
// file of the package and of the values by its digest, the options as they take effect, and the versions of what
// renders. What changes no output is not in it: where files lie in the GitOps repository, what the schemas say, and under
// which name the artifact is stored.
func (s Stage) InputDigest() digest.Digest {
	type file struct {
		Path   string    `json:"path,omitempty"`
		Kind   InputKind `json:"kind,omitempty"`
		SHA256 string    `json:"sha256"`
	}
	input := struct {
		Output      int             `json:"output"`
		Renderer    string          `json:"renderer"`
		Pipeline    string          `json:"pipeline"`
		Stage       string          `json:"stage"`
		Lock        json.RawMessage `json:"lock"`
		Source      []file          `json:"source"`
		Values      []file          `json:"values"`
		ReleaseName string          `json:"releaseName"`
		Namespace   string          `json:"namespace"`
		KubeVersion string          `json:"kubeVersion"`
		APIVersions []string        `json:"apiVersions"`
		Set         []SetValue      `json:"set"`
		IncludeCRDs bool            `json:"includeCRDs"`
		Hooks       Hooks           `json:"hooks"`
		Layout      Mode            `json:"layout"`
		AssertImage bool            `json:"assertImage"`
		Rewrite     bool            `json:"rewriteImages"`
		Pinned      bool            `json:"requireDigests"`
		Allow       bool            `json:"allowNondeterminism"`
		Secrets     []string        `json:"allowSecrets"`
		Validate    bool            `json:"validate"`
	}{
		outputVersion, s.Renderer, s.Pipeline, s.Name, s.Lock.Canonical(), nil, nil,
		s.Request.ReleaseName, s.Request.Namespace, s.Request.KubeVersion, append([]string{}, s.Request.APIVersions...), append([]SetValue{}, s.Request.Set...),
		s.Request.IncludeCRDs, s.Request.Hooks, s.Layout, s.AssertImage,
		s.RewriteImages, s.RequireDigests, s.AllowNondeterminism, slices.Compact(slices.Sorted(slices.Values(s.AllowSecrets))), s.Schemas != nil,
	}
	for _, in := range s.Package.Inputs() {
		input.Source = append(input.Source, file{in.Path, in.Kind, hex.EncodeToString(in.SHA256[:])})
	}
	for _, values := range s.Request.Values {
		sum := sha256.Sum256(values.Data)
		input.Values = append(input.Values, file{SHA256: hex.EncodeToString(sum[:])})
	}
	data, err := json.Marshal(input)
	if err != nil {
		// Strings, numbers and valid JSON always encode.
		panic("hydrate: input digest: " + err.Error())
	}
	return digest.FromBytes(data)
}
