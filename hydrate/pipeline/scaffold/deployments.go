package scaffold

import (
	"path"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
)

// The files of a folder of deployments, APP/deployments/STAGE, beside APP/envTypes.
const (
	deploymentsFolder = "deployments"
	envTypesFolder    = "envTypes"
	disabledFile      = ".disabled"
)

// deployed makes a draft of each application of the GitOps repository that has a folder of deployments, one a stage.
func (f *finder) deployed() (drafts []Draft) {
	for _, dir := range f.gitops.folders {
		if path.Base(dir) != deploymentsFolder || f.locks == nil && len(f.source.charts)+len(f.source.kustomizations) == 0 {
			continue
		}
		stages := slices.DeleteFunc(f.gitops.subfolders(dir), func(s string) bool { return slug(s) != s || len(s) > maxStage })
		if len(stages) == 0 {
			continue
		}
		d := Draft{Name: f.name(path.Dir(dir)), Found: []string{"deployments in " + dir}, SourcePath: f.onlyPackage()}
		if f.SameSource && f.locks == nil && d.SourcePath == "" {
			continue // folders of another program's environments: nothing says which package they are of
		}
		if slices.Contains(f.source.charts, d.SourcePath) {
			d.Kind, d.Release, d.Set = lock.Helm, d.Name, f.imageValues(d.SourcePath)
		} else {
			d.Kind = lock.Kustomize
		}
		drafts = append(drafts, f.deployment(d, dir, stages))
	}
	return drafts
}

// onlyPackage returns the folder of the source's only package; "" if it has several.
func (f *finder) onlyPackage() string {
	packages := slices.Clone(f.source.charts)
	for dir, k := range f.source.kustomizations {
		if !k.component && !f.SameSource {
			packages = append(packages, dir)
		}
	}
	if len(packages) == 1 {
		return packages[0]
	}
	return ""
}

// deployment adds to a draft what the folders of its stages have in common.
func (f *finder) deployment(d Draft, dir string, stages []string) Draft {
	app := path.Dir(dir)
	have := func(name string) (with []string) {
		for _, s := range stages {
			if f.gitops.has(path.Join(dir, s, name)) {
				with = append(with, s)
			}
		}
		return with
	}
	disabled := have(disabledFile)
	described, valued := have("deployment.yaml"), have("values.yaml")
	for _, s := range stages {
		stage := Stage{Name: s}
		switch {
		case slices.Contains(disabled, s):
			stage.Off = "disabled by " + path.Join(dir, s, disabledFile)
		case len(described) > 0 && !slices.Contains(described, s):
			stage.Off = "it has no deployment.yaml"
		}
		d.Stages = append(d.Stages, stage)
	}
	if len(described) > 0 {
		d.Vars = path.Join(dir, "{stage}", "deployment.yaml")
		f.addVars(&d, app, path.Join(dir, described[0], "deployment.yaml"))
	}
	if len(valued) > 0 {
		d.Values = append(d.Values, f.valuesItem(&Draft{SourcePath: "\x00"}, path.Join(dir, "{stage}", "values.yaml"), len(valued) < len(stages)))
	}
	for _, overlay := range []string{"deploy", "."} {
		if name := path.Join(overlay, "kustomization.yaml"); len(have(name)) > 0 && d.Overlay == "" {
			d.Overlay = path.Join(dir, "{stage}", overlay)
		}
	}
	if d.Kind == lock.Kustomize && d.Overlay == "" && d.Base == "" {
		d.Base = "."
	}
	return d
}

// addVars adds what a stage's deployment.yaml names: its namespace, and the type of the environment.
func (f *finder) addVars(d *Draft, app, name string) {
	vars := map[string]any{}
	if !f.gitops.decode(name, &vars) {
		return
	}
	if _, ok := vars["namespace"].(string); ok {
		d.Namespace = "{namespace}"
	}
	for _, key := range []string{"envType", "environmentType"} {
		kind, ok := vars[key].(string)
		if !ok {
			continue
		}
		types := path.Join(app, envTypesFolder)
		for _, shape := range []string{"{type}.values.yaml", "{type}.yaml", "{type}/values.yaml"} {
			file := path.Join(types, shape)
			if f.gitops.has(strings.ReplaceAll(file, "{type}", kind)) {
				d.Values = append(d.Values, quote(strings.ReplaceAll(file, "{type}", "{"+key+"}")))
				d.Found = append(d.Found, "values of environments in "+types)
				break
			}
		}
		if _, ok := f.gitops.kustomizations[path.Join(types, kind)]; ok {
			d.Component = path.Join(types, "{"+key+"}")
		}
	}
}
