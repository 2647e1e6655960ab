package scaffold

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lockage/lockage/hydrate/lock"
)

// application is what Argo CD deploys from a folder: of an ApplicationSet once for all that it generates.
type application struct {
	name      string // may have asterisks for what a generator fills in
	path      string // the same
	namespace string
	release   string
	values    []string // files, relative to the path; with "$NAME/" those of the repository
	chart     string   // URL of an upstream chart, instead of the path
	version   string   // of the chart, or a range of versions
	inline    bool     // whether it has values of its own
	file      string   // that declares it
}

// manifest is what is read of an Application or ApplicationSet.
type manifest struct {
	Kind     string `yaml:"kind"`
	Metadata struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		applicationSpec `yaml:",inline"`
		Generators      []yaml.Node `yaml:"generators"`
		Template        struct {
			Metadata struct {
				Name string `yaml:"name"`
			} `yaml:"metadata"`
			Spec applicationSpec `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type applicationSpec struct {
	Source      applicationSource   `yaml:"source"`
	Sources     []applicationSource `yaml:"sources"`
	Destination struct {
		Namespace string `yaml:"namespace"`
	} `yaml:"destination"`
}

type applicationSource struct {
	Path           string `yaml:"path"`
	Chart          string `yaml:"chart"`
	RepoURL        string `yaml:"repoURL"`
	TargetRevision string `yaml:"targetRevision"`
	Helm           struct {
		ReleaseName  string    `yaml:"releaseName"`
		ValueFiles   []string  `yaml:"valueFiles"`
		Values       string    `yaml:"values"`
		ValuesObject yaml.Node `yaml:"valuesObject"`
		Parameters   yaml.Node `yaml:"parameters"`
	} `yaml:"helm"`
}

// findApplications reads the Applications and ApplicationSets of a repository.
func (t *tree) findApplications() (all []application) {
	for _, name := range t.yaml {
		data, err := t.read(name)
		if err != nil || !bytes.Contains(data, []byte("argoproj.io/")) {
			continue
		}
		for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
			var m manifest
			if decoder.Decode(&m) != nil {
				break
			}
			for _, a := range m.applications() {
				a.file = name
				all = append(all, a)
			}
		}
	}
	return all
}

// applications returns what a manifest deploys.
func (m manifest) applications() (all []application) {
	spec, name, fillings := m.Spec.applicationSpec, m.Metadata.Name, []map[string]string{{}}
	switch m.Kind {
	case "Application":
	case "ApplicationSet":
		spec, name, fillings = m.Spec.Template.Spec, m.Spec.Template.Metadata.Name, parameters(m.Spec.Generators)
	default:
		return nil
	}
	for _, filling := range fillings {
		for _, s := range append(spec.Sources, spec.Source) {
			a := application{
				name: fill(name, filling), path: path.Clean(fill(s.Path, filling)),
				namespace: fill(spec.Destination.Namespace, filling), release: fill(s.Helm.ReleaseName, filling),
			}
			for _, file := range s.Helm.ValueFiles {
				a.values = append(a.values, fill(file, filling))
			}
			if s.Chart != "" {
				a.path, a.chart, a.version = "", s.chartURL(filling), fill(s.TargetRevision, filling)
				a.inline = s.Helm.Values != "" || !s.Helm.ValuesObject.IsZero() || !s.Helm.Parameters.IsZero()
			}
			if s.Path+s.Chart != "" {
				all = append(all, a)
			}
		}
	}
	return all
}

// chartURL returns the place of an upstream chart. A registry has no scheme there.
func (s applicationSource) chartURL(filling map[string]string) string {
	place := strings.TrimRight(fill(s.RepoURL, filling), "/") + "/" + fill(s.Chart, filling)
	if !strings.Contains(place, "://") {
		return "oci://" + place
	}
	return place
}

// expression matches what an ApplicationSet fills in: {{path.basename}}, {{ .path.basename }}.
var expression = regexp.MustCompile(`\{\{-?\s*\.?([a-zA-Z0-9_.\[\]-]+)[^{}]*\}\}|\{\{[^{}]*\}\}`)

// fill fills in what is known; the rest is an asterisk.
func fill(text string, values map[string]string) string {
	return expression.ReplaceAllStringFunc(text, func(found string) string {
		if value, ok := values[expression.FindStringSubmatch(found)[1]]; ok {
			return value
		}
		return "*"
	})
}

// maxParameters bounds the sets of parameters of one ApplicationSet.
const maxParameters = 1000

// parameters returns what generators fill in, as far as the repository says it: what a cluster or forge knows is missing.
func parameters(generators []yaml.Node) (sets []map[string]string) {
	for _, node := range generators {
		var g struct {
			List struct {
				Elements []map[string]any `yaml:"elements"`
			} `yaml:"list"`
			Git struct {
				Directories []struct {
					Path    string `yaml:"path"`
					Exclude bool   `yaml:"exclude"`
				} `yaml:"directories"`
				Values map[string]string `yaml:"values"`
			} `yaml:"git"`
			Clusters struct {
				Values map[string]string `yaml:"values"`
			} `yaml:"clusters"`
			Matrix, Merge struct {
				Generators []yaml.Node `yaml:"generators"`
			}
		}
		if node.Decode(&g) != nil {
			continue
		}
		for _, element := range g.List.Elements {
			set := map[string]string{}
			for key, value := range element {
				set[key] = fmt.Sprint(value)
			}
			sets = append(sets, set)
		}
		for _, directory := range g.Git.Directories {
			if !directory.Exclude {
				sets = append(sets, directoryParameters(directory.Path))
			}
		}
		if len(g.Clusters.Values) > 0 {
			sets = append(sets, prefixed("values.", g.Clusters.Values))
		}
		sets = append(sets, product(g.Matrix.Generators)...)
		sets = append(sets, product(g.Merge.Generators)...)
	}
	if len(sets) == 0 {
		sets = []map[string]string{{}}
	}
	return sets[:min(len(sets), maxParameters)]
}

// product combines what several generators fill in. A value that several of them have is not known.
func product(generators []yaml.Node) (sets []map[string]string) {
	for i := range generators {
		next := parameters(generators[i : i+1])
		if sets == nil {
			sets = next
			continue
		}
		var both []map[string]string
		for _, a := range sets {
			for _, b := range next {
				set := map[string]string{}
				for _, of := range []map[string]string{a, b} {
					for key, value := range of {
						if before, ok := set[key]; ok && before != value {
							value = "*"
						}
						set[key] = value
					}
				}
				if both = append(both, set); len(both) >= maxParameters {
					return both
				}
			}
		}
		sets = both
	}
	return sets
}

func prefixed(prefix string, values map[string]string) map[string]string {
	set := map[string]string{}
	for key, value := range values {
		set[prefix+key] = fill(value, nil)
	}
	return set
}

// directoryParameters are those of a folder, which may be a pattern.
func directoryParameters(dir string) map[string]string {
	set := map[string]string{"path": dir, "path.path": dir, "path.basename": path.Base(dir)}
	for i, part := range strings.Split(dir, "/") {
		set[fmt.Sprintf("path[%d]", i)], set[fmt.Sprintf("path.segments[%d]", i)] = part, part
	}
	return set
}

// deploys reports whether an application deploys a folder.
func (a application) deploys(dir string) bool {
	matched, err := path.Match(a.path, dir)
	return matched && err == nil && a.chart == ""
}

// of reports whether an application deploys the package of a draft.
func (a application) of(d *Draft) bool {
	if d.Chart != "" {
		return a.chart == d.Chart
	}
	return a.deploys(d.SourcePath)
}

// leftOut reports whether Argo CD deploys packages of this repository, and not this one, which no option names either. A kustomization
// counts with the other environments of its application: what a generator knows of clusters may choose any of them.
func (f *finder) leftOut(dir string, chart bool) bool {
	if !f.SameSource || len(f.applications) == 0 {
		return false
	}
	of := func(other string) bool {
		return slices.ContainsFunc(f.applications, func(a application) bool { return a.deploys(other) })
	}
	if f.wanted == nil {
		f.wanted = map[string]bool{}
		for _, other := range slices.Concat(f.source.charts, f.source.roots()) {
			if of(other) {
				f.wanted[split(other).app] = true
			}
		}
	}
	deployed := of(dir)
	if !chart {
		dir = split(dir).app
		deployed = f.wanted[dir]
	}
	return len(f.wanted) > 0 && !deployed && (len(f.SourcePaths) == 0 || !f.wants(dir))
}

// deploys adds to the draft of a chart how Argo CD deploys it: each application is a stage, unless there are stages already.
func (f *finder) deploys(d *Draft) {
	var all []application
	for _, a := range f.applications {
		if a.of(d) {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return
	}
	d.Found = append(d.Found, "Argo CD's "+all[0].file)
	d.Namespace, d.Release = concrete(all[0].namespace), concrete(all[0].release)
	if len(d.Stages) > 0 {
		return
	}
	for _, a := range all {
		s := Stage{Name: a.environment(d.Name)}
		if s.Name == "" || slices.ContainsFunc(d.Stages, func(other Stage) bool { return other.Name == s.Name }) {
			continue
		}
		if values := f.applied(d, a); len(values) > 0 {
			s.Render = append(s.Render, fmt.Sprintf("values: [%s]", strings.Join(values, ", ")))
		}
		if namespace := concrete(a.namespace); namespace != "" {
			s.Render = append(s.Render, "namespace: "+quote(namespace))
		}
		d.Stages = append(d.Stages, s)
	}
	if len(d.Stages) == 0 {
		d.Values = append(d.Values, f.applied(d, all[0])...)
	}
}

// applied returns the values files of an application as items of render.values, as far as the repositories have them.
func (f *finder) applied(d *Draft, a application) (values []string) {
	for _, file := range a.values {
		name := path.Join(d.SourcePath, file)
		if rest, ok := strings.CutPrefix(file, "$"); ok { // of another source of the application: $NAME/path
			if _, name, _ = strings.Cut(rest, "/"); f.gitops.has(path.Clean(name)) {
				values = append(values, quote(path.Clean(name)))
			}
		} else if d.Chart == "" && !strings.Contains(name, "*") && f.source.has(name) {
			values = append(values, f.valuesItem(d, name, false))
		}
	}
	return values
}

// upstream makes a draft of the chart of the options, or of each upstream chart that Argo CD deploys.
func (f *finder) upstream() (drafts []Draft) {
	if f.Chart != "" {
		drafts = []Draft{{Chart: f.Chart, Versions: f.Versions, Found: []string{"chart " + f.Chart}}}
	}
	for _, a := range f.applications {
		known := slices.ContainsFunc(drafts, func(d Draft) bool { return d.Chart == a.chart })
		if a.chart == "" || strings.Contains(a.chart, "*") || known || f.Chart != "" {
			continue
		}
		drafts = append(drafts, Draft{Chart: a.chart, Versions: a.version, Found: []string{"chart " + a.chart}})
	}
	for i := range drafts {
		d := &drafts[i]
		d.Name, d.Kind = slug(path.Base(d.Chart)), lock.Packaged
		f.addValues(d)
		f.deploys(d)
		d.Release = cmp.Or(d.Release, d.Name)
		for _, a := range f.applications {
			if a.of(d) && a.inline {
				d.Found = append(d.Found, a.file+", whose own values are not here: put them into a file that render.values names")
			}
		}
	}
	return drafts
}

// concrete returns a name that is fully known; "" for another.
func concrete(name string) string {
	if strings.Contains(name, "*") {
		return ""
	}
	return name
}

// environment returns the name of the environment that an application is for: what its name has beside the package's, or a name in its
// values files; "" for none.
func (a application) environment(pkg string) string {
	name := concrete(a.name)
	for _, rest := range []string{strings.TrimPrefix(name, pkg+"-"), strings.TrimSuffix(name, "-"+pkg)} {
		if _, known := environment(rest); known && rest != name && slug(rest) == rest && len(rest) <= maxStage {
			return rest
		}
	}
	for _, file := range a.values {
		for _, shape := range stageValues {
			if match := shape.FindStringSubmatch(file); match != nil {
				if _, known := environment(match[1]); known && slug(match[1]) == match[1] {
					return match[1]
				}
			}
		}
	}
	return ""
}
