package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/strictyaml"
)

// The header of every pipeline file.
const (
	APIVersion = "lockage.dev/v1alpha1"
	Kind       = "Pipeline"
)

// Pipeline is one application's way through its stages, as declared: Expand applies defaults, overrides and placeholders.
type Pipeline struct {
	File       string              `yaml:"-"` // the name of the file that it was read from
	APIVersion string              `yaml:"apiVersion" jsonschema:"required,enum=lockage.dev/v1alpha1" jsonschema_description:"The version of this format."`
	Kind       string              `yaml:"kind" jsonschema:"required,enum=Pipeline" jsonschema_description:"Always Pipeline."`
	Name       string              `yaml:"name,required" jsonschema:"pattern=^[a-z0-9][a-z0-9-]*$,maxLength=63" jsonschema_description:"The pipeline's name, unique in the GitOps repository."`
	Extends    string              `yaml:"extends" jsonschema_description:"A file with defaults, relative to this one. Maps are merged deeply, stages by name; other lists replace."`
	Lock       string              `yaml:"lock,required" jsonschema_description:"The directory of locks in the GitOps repository."`
	SourceRepo string              `yaml:"sourceRepo" jsonschema_description:"The source repository, for locks that do not name it."`
	Artifacts  string              `yaml:"artifacts,required" jsonschema_description:"The repository of artifacts, host included, or oci-layout:DIR. {pipeline} and {stage} are expanded."`
	Copies     []string            `yaml:"copies" jsonschema_description:"Repositories that hold copies of the artifacts, which verify as what they are copies of. {pipeline} and {stage} are expanded."`
	Vars       string              `yaml:"vars" jsonschema_description:"A YAML file in the GitOps repository whose scalar keys become placeholders; one in a map is {map.key}. {pipeline} and {stage} are expanded in its name."`
	Render     Render              `yaml:"render" jsonschema_description:"How manifests are rendered; stages override single keys."`
	Mirror     *Mirror             `yaml:"mirror" jsonschema_description:"Where manifests are committed for review. Absent: no mirror."`
	Ledger     Ledger              `yaml:"ledger" jsonschema_description:"The branches that record candidates and what is live."`
	Sign       Sign                `yaml:"sign" jsonschema_description:"The keys that sign."`
	Identities map[string]Identity `yaml:"identities" jsonschema_description:"Who is trusted, by name. hydrator and promoter are the two roles."`
	Notify     []Receiver          `yaml:"notify" jsonschema_description:"Who is called once a stage's tag moved; stages override the list."`
	Sigstore   Sigstore            `yaml:"sigstore" jsonschema_description:"The Sigstore instance of keyless signers and identities. Default: the public one."`
	Stages     []Stage             `yaml:"stages,required" jsonschema_description:"The stages. Their order is that of after."`

	doc    *strictyaml.Node
	loaded *loaded
	beside bool     // other files were loaded with it
	off    []string // the names of its disabled stages
}

// Stage is one environment. Its Render, Mirror and Sign hold overrides only.
type Stage struct {
	Name string `yaml:"name,required" jsonschema:"required,pattern=^[a-z0-9][a-z0-9-]{0\\,35}$" jsonschema_description:"The stage's name."`
	Auto bool   `yaml:"auto" jsonschema_description:"Whether promote --ready promotes to this stage."`
	// Disabled stages are checked, and then left out: no method of a Pipeline knows them.
	Disabled bool       `yaml:"disabled" jsonschema:"default=false" jsonschema_description:"Whether the stage is left out: nothing of it is rendered, promoted or asked for, and its vars file may be missing."`
	After    After      `yaml:"after" jsonschema_description:"The stages a release must have been live in before."`
	Render   Render     `yaml:"render" jsonschema_description:"Overrides of the pipeline's render."`
	Mirror   *Mirror    `yaml:"mirror" jsonschema_description:"Overrides of the pipeline's mirror; null: no mirror."`
	Sign     Sign       `yaml:"sign" jsonschema_description:"Overrides of the pipeline's sign."`
	Notify   []Receiver `yaml:"notify" jsonschema_description:"Who is called instead of the pipeline's receivers; null: nobody."`
	Gates    []Gate     `yaml:"gates" jsonschema_description:"What promotion to this stage asks for; all must pass."`
	Waivers  Waivers    `yaml:"waivers" jsonschema_description:"Who may waive gates of this stage. Absent: nobody."`
}

// After are the stages that come before a stage.
type After struct {
	Stages []string
	// All asks for every one of Stages; otherwise any one is enough.
	All bool
}

// DecodeNode reads a list, for any of them, or {all: [...]}.
func (a *After) DecodeNode(n *strictyaml.Node, partial bool) strictyaml.Problems {
	if n.Kind != strictyaml.Map {
		list := (&strictyaml.Node{Pos: n.Pos, Kind: strictyaml.Map}).With("after", n)
		return strictyaml.DecodeFields(list, "", true, []strictyaml.Field{{Key: "after", Into: &a.Stages}})
	}
	var all struct {
		All []string `yaml:"all,required"`
	}
	problems := strictyaml.Decode(n, &all)
	a.Stages, a.All = all.All, true
	return problems
}

// Render holds the render options as declared. A nil or empty field has the default that its description names.
type Render struct {
	Helm           *int               `yaml:"helm" jsonschema:"enum=3,enum=4,default=3" jsonschema_description:"The version of Helm whose output is rendered."`
	ReleaseName    string             `yaml:"releaseName" jsonschema_description:"Helm's release name. Default: {stage}."`
	Namespace      string             `yaml:"namespace" jsonschema_description:"The namespace given to the renderer. Default for Helm: default; for render.kustomize: objects stay where they are."`
	KubeVersion    string             `yaml:"kubeVersion" jsonschema_description:"The Kubernetes version to render for, in quotes. Required for Helm."`
	APIVersions    []string           `yaml:"apiVersions" jsonschema_description:"Further API versions that charts may ask for."`
	Values         []ValuesFile       `yaml:"values" jsonschema_description:"Helm values files; later ones win."`
	Set            map[string]Value   `yaml:"set" jsonschema_description:"Helm values by path. Strings are literal; null removes a default; maps are merged."`
	IncludeCRDs    *bool              `yaml:"includeCRDs" jsonschema:"default=true" jsonschema_description:"Whether a chart's crds/ are part of the output."`
	Hooks          hydrate.Hooks      `yaml:"hooks" jsonschema:"enum=deploy,enum=all,enum=none,default=deploy" jsonschema_description:"deploy drops delete, rollback and test hooks."`
	Overlay        string             `yaml:"overlay" jsonschema_description:"A kustomize overlay in the GitOps repository."`
	Kustomize      *hydrate.Kustomize `yaml:"kustomize" jsonschema_description:"An overlay that is generated over the lock's sourcePath."`
	Image          string             `yaml:"image" jsonschema_description:"For kustomize: the name of the image that becomes the locked one, by digest. Default: its repository."`
	AssertImage    Assertion          `yaml:"assertImage" jsonschema_description:"Whether the locked digest must occur in the output, outside of metadata, or anywhere. Default: true."`
	RequireDigests bool               `yaml:"requireDigests" jsonschema:"default=false" jsonschema_description:"Whether every image must be pinned by digest."`
	RewriteImages  bool               `yaml:"rewriteImages" jsonschema:"default=false" jsonschema_description:"Whether tags of locked repositories are replaced by digests."`
	Nondeterminism string             `yaml:"nondeterminism" jsonschema:"enum=deny,enum=allow,default=deny" jsonschema_description:"Whether output may differ between two renders."`
	AllowEmpty     bool               `yaml:"allowEmpty" jsonschema:"default=false" jsonschema_description:"Whether a render without an object is published."`
	AllowSecrets   []string           `yaml:"allowSecrets" jsonschema_description:"Names of Secrets that may be published with data."`
	Validate       bool               `yaml:"validate" jsonschema:"default=false" jsonschema_description:"Whether objects are checked against the schemas of kubeVersion."`
	Schemas        string             `yaml:"schemas" jsonschema_description:"The folder of JSON schemas in the GitOps repository, for validate."`
	Layout         hydrate.Mode       `yaml:"layout" jsonschema:"enum=per-object,enum=single,default=per-object" jsonschema_description:"One file an object, or one manifest.yaml."`
}

// Sign holds the signing key of each role; nil where it is not needed.
type Sign struct {
	Hydrator *Signer `yaml:"hydrator" jsonschema_description:"Signs what was rendered."`
	Promoter *Signer `yaml:"promoter" jsonschema_description:"Signs what may run."`
}

// Signer is exactly one of a key and keyless signing.
type Signer struct {
	Key     string   `yaml:"key" jsonschema_description:"A key file, env://NAME or a KMS URI."`
	Keyless *Keyless `yaml:"keyless" jsonschema_description:"Signs with a short-lived certificate; {} takes the token that the CI job has."`
}

// Keyless says where the token comes from for which a certificate is given.
type Keyless struct {
	Token string `yaml:"token" jsonschema_description:"Where the token is that names who signs: a file, or env://NAME. Default: SIGSTORE_ID_TOKEN, or what the CI job provides."`
}

// Sigstore names the files of a private Sigstore instance; both are absent for the public one.
type Sigstore struct {
	TrustedRoot   string `yaml:"trustedRoot" jsonschema_description:"A Sigstore trusted root in the GitOps repository."`
	SigningConfig string `yaml:"signingConfig" jsonschema_description:"A Sigstore signing config in the GitOps repository. Absent: nobody signs with the instance here."`
}

// Identity is a public key, or an OIDC issuer and either a subject or an expression that matches the whole subject.
type Identity struct {
	Key           string `yaml:"key" jsonschema_description:"A public key file in the GitOps repository, or a KMS URI."`
	Issuer        string `yaml:"issuer" jsonschema_description:"An OIDC issuer's URL."`
	Subject       string `yaml:"subject" jsonschema_description:"The certificate's subject."`
	SubjectRegexp string `yaml:"subjectRegexp" jsonschema_description:"An RE2 expression, matched against the whole subject."`
	// Former is what the identity was known by before; nil for nothing.
	Former *Identity `yaml:"former" jsonschema_description:"What the identity was known by before: what it signed then goes on to count as far as that of a former key does."`
}

// Stage returns the stage of that name.
func (p *Pipeline) Stage(name string) (Stage, bool) {
	if i := p.index(name); i >= 0 {
		return p.Stages[i], true
	}
	return Stage{}, false
}

func (p *Pipeline) index(stage string) int {
	return slices.IndexFunc(p.Stages, func(s Stage) bool { return s.Name == stage })
}

// Repository returns the artifact repository of a stage: a repository name with its registry's host, or oci-layout:DIR.
func (p *Pipeline) Repository(stage string) string {
	return p.stageScope(stage).expand(p.Artifacts, func(string, ...any) {}) // Load reported what is unknown
}

// CopiesOf returns the repositories that hold copies of a stage's artifacts.
func (p *Pipeline) CopiesOf(stage string) []string {
	names := make([]string, len(p.Copies))
	for i, name := range p.Copies {
		names[i] = p.stageScope(stage).expand(name, func(string, ...any) {})
	}
	return names
}

// Order returns the names of all stages, each behind those it comes after, and otherwise in the order of the file.
func (p *Pipeline) Order() []string {
	order, cycle := sortStages(p.Stages)
	if cycle != nil {
		panic("pipeline: Load refuses cycles: " + strings.Join(cycle, ", "))
	}
	return order
}

// FormerName returns the name that a stage had in the version of the pipeline before this one. A name that is there, disabled or not, is the
// stage's. Else it took the place of one that went away, if as many went away as came, at the same places
// between those that stay; of two alone any place will do. The name is "" for a new stage.
func (p *Pipeline) FormerName(name string, before *Pipeline) string {
	if _, there := before.Stage(name); there || slices.Contains(before.off, name) {
		return name
	}
	came, places := p.placesBeside(before)
	gone, theirs := before.placesBeside(p)
	i := slices.Index(came, name)
	if i < 0 || len(came) != len(gone) || len(came) > 1 && !slices.Equal(places, theirs) {
		return ""
	}
	return gone[i]
}

// placesBeside returns the stages that another version does not have, and the stages that both have, with "" in the place of the others.
func (p *Pipeline) placesBeside(other *Pipeline) (own, places []string) {
	for _, s := range p.Stages {
		_, both := other.Stage(s.Name)
		switch {
		case both:
			places = append(places, s.Name)
		case !slices.Contains(other.off, s.Name):
			own, places = append(own, s.Name), append(places, "")
		}
	}
	return own, places
}

// ErrNoStage is returned if no pipeline has a stage of that name.
var ErrNoStage = errors.New("no such stage")

// CheckStages checks that each of the names is one of a stage of any pipeline: STAGE, or PIPELINE/STAGE.
func CheckStages(pipelines []*Pipeline, names []string) error {
	known, off := map[string]bool{}, map[string]string{}
	var stages []string
	for _, p := range pipelines {
		for _, stage := range p.Order() {
			known[stage], known[p.Name+"/"+stage] = true, true
			stages = append(stages, stage)
		}
		for _, stage := range p.off {
			off[stage], off[p.Name+"/"+stage] = p.File, p.File
		}
	}
	slices.Sort(stages)
	for _, name := range names {
		if !known[name] {
			if strings.HasSuffix(name, ".yaml") {
				return fmt.Errorf("%w: %q; if the shell expanded a pattern of -f, quote it: -f 'DIR/*.yaml'", ErrNoStage, name)
			}
			if file := off[name]; file != "" {
				return fmt.Errorf("%w: %q is disabled in %s: take disabled: true out of it first", ErrNoStage, name, file)
			}
			return fmt.Errorf("%w: %q; the stages are %s", ErrNoStage, name, strings.Join(slices.Compact(stages), ", "))
		}
	}
	return nil
}

// Disables reports whether the pipeline has a stage of that name that is disabled.
func (p *Pipeline) Disables(stage string) bool { return slices.Contains(p.off, stage) }

// Argument returns the name of a stage that commands take for it alone: PIPELINE/STAGE if other pipelines were loaded with this one, which may
// have a stage of that name, or else STAGE.
func (p *Pipeline) Argument(stage string) string {
	if p.beside {
		return p.Name + "/" + stage
	}
	return stage
}

// Names reports whether one of the names is that of a stage: STAGE, or PIPELINE/STAGE as results print it.
func (p *Pipeline) Names(stage string, names ...string) bool {
	return slices.Contains(names, stage) || slices.Contains(names, p.Name+"/"+stage)
}
