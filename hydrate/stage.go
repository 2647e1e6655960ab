package hydrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

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
	Lock     lock.Lock
	Renderer string // what renders, and in which version, such as "helm v3.22.0"
	Package  Package
	Request  Request
	Decoder  *Decoder // shared by the stages of one package, which have most documents in common; nil for its own
	Layout   Mode
	// AssertImage asks that every locked digest occurs in the output.
	AssertImage bool
}

// Rendering is what a stage was rendered to.
type Rendering struct {
	Tree     *Tree
	Objects  int
	Images   []string // of the containers in it, as written, sorted
	Warnings []string
}

// Render renders the stage.
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
	if s.AssertImage {
		if err := AssertImage(objects, s.digests()); err != nil {
			return Rendering{}, err
		}
	}
	tree, err := Layout(objects, s.Layout)
	if err != nil {
		return Rendering{}, err
	}
	return Rendering{Tree: tree, Objects: len(objects), Images: Images(objects), Warnings: rendered.Warnings}, nil
}

func (s Stage) digests() []string {
	digests := []string{s.Lock.Image.Digest}
	for _, named := range s.Lock.Images {
		digests = append(digests, named.Digest)
	}
	return digests
}

// Allowances lists the rules that the stage waives.
func (s Stage) Allowances() []string {
	if !s.AssertImage {
		return []string{"assertImage: false"}
	}
	return nil
}

// InputDigest is a digest over everything that can change the output: pipeline and stage, every field of the lock, every
// file of the package and of the values by its digest, the options as they take effect, and the versions of what
// renders. Where files lie in the GitOps repository, and under which name the artifact is stored, is not in it.
func (s Stage) InputDigest() digest.Digest {
	type file struct {
		Path   string `json:"path,omitempty"`
		SHA256 string `json:"sha256"`
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
	}{
		outputVersion, s.Renderer, s.Pipeline, s.Name, s.Lock.Canonical(), nil, nil,
		s.Request.ReleaseName, s.Request.Namespace, s.Request.KubeVersion, append([]string{}, s.Request.APIVersions...), append([]SetValue{}, s.Request.Set...),
		s.Request.IncludeCRDs, s.Request.Hooks, s.Layout, s.AssertImage,
	}
	for _, in := range s.Package.Inputs() {
		input.Source = append(input.Source, file{in.Path, hex.EncodeToString(in.SHA256[:])})
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
