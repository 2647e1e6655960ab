package pipeline

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/strictyaml"
)

// Expanded is a stage's declaration for one release: overrides applied, placeholders replaced, defaults filled in.
type Expanded struct {
	Pipeline   string
	File       string // that declares the pipeline
	Stage      string
	Argument   string          // as Pipeline.Argument returns it
	Repository string          // of the stage's artifacts, as Pipeline.Repository returns it
	SourceRepo string          // the lock's, or else the pipeline's; of a packaged chart its URL
	Render     hydrate.Options // without the content of values files
	Values     []ValuesFile
	Mirror     *Mirror             `yaml:"mirror"` // nil for a stage without a mirror
	Ledger     Ledger              `yaml:"ledger"`
	Sign       Sign                `yaml:"sign"`
	Identities map[string]Identity `yaml:"identities"`
	Notify     []Receiver          `yaml:"notify"`
	Sigstore   Sigstore            `yaml:"sigstore"`
	Gates      []Gate              `yaml:"gates"`
	Waivers    Waivers             `yaml:"waivers"`
	Unrendered error               // names the placeholders of render that the release has no value for, which matters to a render alone
}

// effective is a stage with its overrides applied and without defaults. Of Expanded it has what is decoded.
type effective struct {
	Expanded
	Render Render `yaml:"render"`

	doc     *strictyaml.Node
	anyName bool // every identity and stage that gates name counts as declared
	anybody bool // a name may mean any number of people
}

// Expand applies one stage's overrides, its vars, which it reads from files, and release l. files is the GitOps repository
// that the pipeline was loaded from. The error is strictyaml.Problems if the pipeline or vars file is at fault.
func (p *Pipeline) Expand(stage string, l lock.Lock, files fs.FS) (Expanded, error) {
	i := p.index(stage)
	if i < 0 {
		return Expanded{}, fmt.Errorf("pipeline %s has no stage %q: it has %s", p.Name, stage, strings.Join(p.Order(), ", "))
	}
	c := newChecker()
	c.unrendered = &strictyaml.Problems{}
	var e effective
	vars, err := p.readVars(stage, files, c, c)
	if vars != nil {
		e, err = p.effective(i, l, vars, files, c)
	}
	if err == nil {
		err = c.all()
	}
	if err != nil {
		return Expanded{}, err
	}
	for _, path := range [][]any{{"render", "image"}, {"render", "kustomize", "image"}} {
		if key := e.doc.Find(path...); l.Packaging.Kind == lock.Kustomize && l.Image == (lock.Image{}) && key != nil && key.Value != "" {
			c.unrendered.Add(key.Pos, "%s: %q would become the release's own image, and %s locks none: remove the key, or lock an image without a name", pathName(path), key.Value, l.ReleaseID)
		}
	}
	expanded := e.Expanded
	expanded.Unrendered = c.unrendered.Err()
	expanded.Pipeline, expanded.File, expanded.Stage, expanded.Repository = p.Name, p.File, stage, p.Repository(stage)
	expanded.Argument = p.Argument(stage)
	expanded.SourceRepo = cmp.Or(l.SourceURL(), p.SourceRepo)
	expanded.Render, expanded.Values = e.Render.options(stage), e.Render.Values
	if l.Packaging.Kind != lock.Kustomize {
		expanded.Render.Image = "" // which nothing else looks at
	}
	expanded.Mirror = e.Mirror.withDefaults(stage)
	expanded.Ledger = e.Ledger.withDefaults(p.Name, stage, expanded.Mirror)
	if expanded.SourceRepo == "" {
		c.add(p.doc.Pos, "sourceRepo is missing, and lock %s names no packaging.sourceRepo: write it in either", l.ReleaseID)
	}
	if l.Packaging.Kind == lock.Kustomize && e.Render.Overlay == "" && e.Render.Kustomize == nil {
		c.add(e.doc.At("render").Pos, "render.overlay or render.kustomize is missing for stage %s: the lock's packaging.kind is kustomize", stage)
	}
	if expanded.Render.Validate && expanded.Render.Schemas == "" {
		c.add(e.doc.At("render").Pos, "render.schemas is missing for stage %s, which render.validate needs: name the folder of schemas in the GitOps repository", stage)
	}
	if (l.Packaging.Kind == lock.Helm || l.Packaging.Kind == lock.Packaged || expanded.Render.Validate) && expanded.Render.KubeVersion == "" {
		c.add(e.doc.At("render").Pos, `render.kubeVersion is missing for stage %s: write the clusters' version, as kubeVersion: "1.34"`, stage)
	}
	if err := c.all(); err != nil {
		return Expanded{}, err
	}
	return expanded, nil
}

// effective merges, expands, decodes and checks stage i. Problems go to c; the error is one of reading files.
func (p *Pipeline) effective(i int, l lock.Lock, vars map[string]string, files fs.FS, c *checker) (effective, error) {
	stage := p.Stages[i].Name
	declared := p.doc.At("stages", i)
	doc := p.doc.Pick(func(key string) bool {
		return slices.Contains([]string{"render", "mirror", "ledger", "sign", "identities", "notify", "sigstore"}, key)
	})
	for _, key := range []string{"render", "mirror", "sign", "notify"} {
		doc = doc.With(key, strictyaml.Merge(doc.Get(key), declared.Get(key)))
	}
	doc = doc.With("gates", declared.Get("gates")).With("waivers", declared.Get("waivers"))

	values := p.stageScope(stage).with(l, vars)
	values.checkQuotes(doc.Find("render", "set"), c)
	doc = expandStrings(doc, values, c)
	e := effective{doc: doc}
	// Load reported what does not decode; expanding strings cannot add to it.
	_ = strictyaml.DecodePartial(doc, &e)
	return e, e.check(p, files, c)
}

// expandStrings replaces the placeholders in every string of doc except expressions.
func expandStrings(doc *strictyaml.Node, values scope, c *checker) *strictyaml.Node {
	return doc.MapStrings(func(path []string, s *strictyaml.Node) string {
		key := path[len(path)-1]
		switch {
		case path[0] == "render":
			return c.expandRender(values, s)
		case key == "cel" || key == "where" || key == "subjectRegexp":
			return s.Value
		}
		return c.expand(values, s)
	})
}

// options fills in the defaults.
func (r Render) options(stage string) hydrate.Options {
	o := hydrate.Options{
		Request: hydrate.Request{
			ReleaseName: cmp.Or(r.ReleaseName, stage),
			Namespace:   r.Namespace,
			KubeVersion: r.KubeVersion,
			APIVersions: r.APIVersions,
			IncludeCRDs: r.IncludeCRDs == nil || *r.IncludeCRDs,
			Hooks:       cmp.Or(r.Hooks, hydrate.HooksDeploy),
		},
		Overlay:             r.Overlay,
		Kustomize:           r.Kustomize,
		Image:               r.Image,
		Layout:              cmp.Or(r.Layout, hydrate.PerObject),
		AssertImage:         hydrate.Assertion(r.AssertImage),
		RequireDigests:      r.RequireDigests,
		RewriteImages:       r.RewriteImages,
		AllowNondeterminism: r.Nondeterminism == "allow",
		AllowEmpty:          r.AllowEmpty,
		AllowSecrets:        slices.Compact(slices.Sorted(slices.Values(r.AllowSecrets))),
		Validate:            r.Validate,
		Schemas:             r.Schemas,
	}
	if r.Helm != nil {
		o.Helm = *r.Helm
	}
	if r.Kustomize != nil && r.Image != "" {
		generated := *r.Kustomize
		generated.Image, o.Kustomize, o.Image = r.Image, &generated, ""
	}
	for _, key := range slices.Sorted(maps.Keys(r.Set)) {
		o.Set = append(o.Set, hydrate.SetValue{Key: key, Value: r.Set[key].JSON})
	}
	return o
}
