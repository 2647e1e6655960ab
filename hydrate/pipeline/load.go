package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/strictyaml"
)

// Bounds on what one Load reads.
const (
	MaxFiles  = 10_000 // pipeline files
	MaxStages = 1000   // of one pipeline
)

// Load reads pipeline files from the GitOps repository and checks them, each by itself and all against each other. Gates
// are of the given kinds. Names are relative to the repository's root. Pipelines are in the order of names. Load reads vars
// files too: what placeholders expand to is checked, but of a stage whose file is missing or cannot be read, which Expand reports.
//
// The error is strictyaml.Problems unless reading failed, and comes with the pipelines that have none. What contradicts another file
// is a problem of the later one, or of the one that has others too.
func Load(files fs.FS, kinds []GateKind, names ...string) ([]*Pipeline, error) {
	return LoadOverridden(files, kinds, Overrides{}, names...)
}

type loader struct {
	files     fs.FS
	loaded    *loaded
	overrides Overrides
}

func (ld loader) load(names []string) ([]*Pipeline, error) {
	if len(names) > MaxFiles {
		return nil, fmt.Errorf("%d pipeline files: at most %d are read at once", len(names), MaxFiles)
	}
	c := newChecker()
	var pipelines []*Pipeline
	broken := map[*Pipeline]bool{}
	for _, name := range names {
		c.found = false
		p, err := ld.one(name, c)
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue
		}
		p.beside = len(names) > 1
		p.check(c)
		p.leaveOut(c)
		broken[p] = c.found
		pipelines = append(pipelines, p)
	}
	if err := ld.compare(pipelines, broken, c); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(pipelines, func(p *Pipeline) bool { return broken[p] }), c.problems.Err()
}

// compare checks the stages of pipelines against each other, those of broken ones last, so that they cost no other pipeline.
func (ld loader) compare(pipelines []*Pipeline, broken map[*Pipeline]bool, c *checker) error {
	whole := slices.DeleteFunc(slices.Clone(pipelines), func(p *Pipeline) bool { return broken[p] })
	others := slices.DeleteFunc(slices.Clone(pipelines), func(p *Pipeline) bool { return !broken[p] })
	a := &atlas{map[string]string{}, map[string]claimed{}, map[string][]mirror{}, map[string]string{}, map[string]string{}, map[string]string{}}
	for _, p := range slices.Concat(whole, others) {
		c.found = broken[p]
		if len(p.Stages) > MaxStages {
			c.add(p.doc.At("stages").Pos, "stages: more than %d: split the pipeline", MaxStages)
			broken[p] = true
			continue
		}
		a.addPipeline(p, c)
		for i, s := range p.Stages {
			if s.Name == "" {
				continue // reported
			}
			vars, err := p.readVars(s.Name, ld.files, c, newChecker()) // what is wrong in the file concerns the stage alone
			if err != nil {
				return err
			}
			if vars == nil {
				continue
			}
			e, err := p.effective(i, sampleLock(), vars, ld.files, c)
			if err != nil {
				return err
			}
			a.addStage(p, s.Name, e, c)
		}
		broken[p] = c.found
	}
	return nil
}

// sampleLock is the release that files are checked with.
func sampleLock() lock.Lock {
	zeros := strings.Repeat("0", 64)
	image := lock.Image{Ref: "registry.example/image:tag", Digest: digest.Digest("sha256:" + zeros)}
	return lock.Lock{
		ReleaseID: "git-" + zeros[:40], GitCommit: zeros[:40], Image: image, Others: []lock.NamedImage{{Name: anyName, Image: image}},
		Chart: lock.Chart{Version: "0.0.0", Digest: image.Digest},
	}
}

// one reads and decodes a file and the file that it extends. It returns nil if that failed with problems.
func (ld loader) one(name string, c *checker) (*Pipeline, error) {
	if name = path.Clean(name); !fs.ValidPath(name) {
		return nil, fmt.Errorf("pipeline file %q lies outside the GitOps repository", name)
	}
	root, err := ld.parse(name, c)
	if root == nil || err != nil {
		return nil, err
	}
	p := &Pipeline{File: name, doc: root, loaded: ld.loaded}
	if extends := root.Get("extends"); !extends.IsNull() && extends.Kind == strictyaml.Scalar {
		base, err := ld.base(name, extends, c)
		if err != nil {
			return nil, err
		}
		p.doc = strictyaml.Merge(base, root).With("stages", strictyaml.MergeByName(base.Get("stages"), root.Get("stages")))
	}
	p.doc = ld.overrides.apply(p.doc)
	c.addProblems(strictyaml.Decode(p.doc, p))
	ld.decodeGates(p.doc, false, c)
	return p, nil
}

func (ld loader) decodeGates(doc *strictyaml.Node, partial bool, c *checker) {
	if stages := doc.Get("stages"); stages != nil {
		for i, stage := range stages.Items {
			decodeGates(ld.loaded.kinds, stage, partial, c, "stages", i)
		}
	}
}

// base reads the file that another extends. It returns nil if that failed with problems.
func (ld loader) base(name string, extends *strictyaml.Node, c *checker) (*strictyaml.Node, error) {
	target := path.Join(path.Dir(name), extends.Value)
	if extends.Value == "" {
		return nil, nil // reported by check
	}
	if isFolder(ld.files, target) {
		c.add(extends.Pos, "extends: %s is a folder: name a file", target)
		return nil, nil
	}
	if path.IsAbs(extends.Value) || !fs.ValidPath(target) || strings.Contains(target, `\`) {
		c.add(extends.Pos, "extends: %q leaves the GitOps repository", extends.Value)
		return nil, nil
	}
	root, err := ld.parse(target, c)
	if errors.Is(err, fs.ErrNotExist) {
		c.add(extends.Pos, "extends: file %s does not exist in the GitOps repository", target)
		return nil, nil
	}
	if root == nil || err != nil {
		return nil, err
	}
	c.addProblems(strictyaml.DecodePartial(root, &Pipeline{}))
	ld.decodeGates(root, true, c)
	if further := root.Get("extends"); !further.IsNull() {
		c.add(further.Pos, "extends: this file is extended by %s itself: only one level is read", name)
	}
	return root, nil
}

func isFolder(files fs.FS, name string) bool {
	info, err := fs.Stat(files, name)
	return err == nil && info.IsDir()
}

// parse reads one document and checks its header. It returns nil if that failed with problems.
func (ld loader) parse(name string, c *checker) (*strictyaml.Node, error) {
	data, err := strictyaml.ReadFile(ld.files, name)
	if err != nil {
		return nil, fmt.Errorf("read pipeline file: %w", err)
	}
	root, problems := strictyaml.Parse(name, data)
	if root == nil {
		c.addProblems(problems)
		return nil, nil
	}
	if root.Kind != strictyaml.Map {
		c.add(root.Pos, "a pipeline file is a map: it begins with apiVersion: %s", APIVersion)
		return nil, nil
	}
	for key, want := range map[string]string{"apiVersion": APIVersion, "kind": Kind} {
		if n := root.Get(key); n == nil || n.Kind != strictyaml.Scalar || n.Value != want {
			c.add(root.At(key).Pos, key+" is not %s: this version of lockage reads no other", want)
		}
	}
	return root, nil
}
