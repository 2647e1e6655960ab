package scaffold

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
)

// kustomization is what a kustomization says of others.
type kustomization struct {
	component bool
	uses      []string // folders of other kustomizations
}

func (t *tree) addKustomization(dir, name string) {
	var k struct {
		Kind       string   `yaml:"kind"`
		Resources  []string `yaml:"resources"`
		Bases      []string `yaml:"bases"`
		Components []string `yaml:"components"`
	}
	_ = t.decode(name, &k) // the render says what is wrong with one that is not YAML
	if t.kustomizations == nil {
		t.kustomizations = map[string]kustomization{}
	}
	of := kustomization{component: k.Kind == "Component"}
	for _, use := range slices.Concat(k.Resources, k.Bases, k.Components) {
		of.uses = append(of.uses, path.Join(dir, use))
	}
	t.kustomizations[dir] = of
}

// roots returns the folders of kustomizations that somebody applies, sorted: those that no other uses, and those of an environment.
func (t *tree) roots() (roots []string) {
	used := map[string]bool{}
	for _, k := range t.kustomizations {
		for _, dir := range k.uses {
			used[dir] = true
		}
	}
	for dir, k := range t.kustomizations {
		_, known := environment(path.Base(dir))
		if !k.component && (!used[dir] || known) {
			roots = append(roots, dir)
		}
	}
	slices.Sort(roots)
	return roots
}

// part is a kustomization as a stage of an application.
type part struct {
	app, stage string
	base       string // in the application's folder
}

// split finds application and environment in the folder of a kustomization: apps/shop/overlays/staging, shop/staging/eu-1, or
// environments/staging/shop.
func split(dir string) part {
	parts := strings.Split(dir, "/")
	at, exact := -1, false
	for i, name := range parts {
		if i > 0 && collects(parts[i-1]) {
			at = i
			break
		}
		_, word := environments[strings.ToLower(name)]
		if _, known := environment(name); known && (word || !exact) { // staging before lightwell-dev
			at, exact = i, word
		}
	}
	if at < 0 || dir == "." {
		return part{app: dir}
	}
	app := parts[:at]
	for len(app) > 0 && collects(app[len(app)-1]) {
		app = app[:len(app)-1]
	}
	rest := parts[at+1:]
	if len(rest) > 0 && !slices.ContainsFunc(app, says) { // the applications are below the environments
		return part{app: path.Join(append(slices.Clone(app), rest...)...), stage: slug(parts[at]), base: dir}
	}
	return part{
		app:   path.Join(append([]string{"."}, app...)...),
		stage: slug(strings.Join(append([]string{parts[at]}, rest...), "-")),
		base:  strings.Join(parts[len(app):], "/"),
	}
}

// kustomizations makes a draft of each application that has kustomizations.
func (f *finder) kustomizations() (drafts []Draft) {
	byApp := map[string]int{}
	for _, dir := range f.source.roots() {
		if f.leftOut(dir, false) {
			continue
		}
		p := split(dir)
		i, known := byApp[p.app]
		if !known {
			i, byApp[p.app] = len(drafts), len(drafts)
			drafts = append(drafts, Draft{Kind: lock.Kustomize, SourcePath: p.app})
			if strings.HasPrefix(p.base, p.app+"/") || p.base != "" && p.base == dir && p.app != "." { // environments/STAGE/APP
				drafts[i].Name, drafts[i].SourcePath = f.name(p.app), "."
			}
		}
		d := &drafts[i]
		if p.stage == "" {
			d.Base = "."
			d.Found = append(d.Found, "kustomization "+dir)
			continue
		}
		s := Stage{Name: p.stage, Render: []string{p.base}}
		if len(s.Name) > maxStage {
			s.Off = fmt.Sprintf("a name has at most %d characters", maxStage)
		}
		d.Stages = append(d.Stages, s)
		d.Found = append(d.Found, "kustomization "+dir)
	}
	for i := range drafts {
		drafts[i].alike()
	}
	return drafts
}

// alike sets the one pattern of the folders of all stages, if one matches them; else each stage has its own.
func (d *Draft) alike() {
	pattern := ""
	same := true
	for _, s := range d.Stages {
		of := placeholder(s.Render[0], s.Name)
		same, pattern = same && (pattern == "" || pattern == of), of
	}
	switch {
	case len(d.Stages) == 0:
	case same:
		d.Base = pattern
	case d.Base == "":
		d.Base = "." // of no stage
	}
	for i := range d.Stages {
		if base := d.Stages[i].Render[0]; same {
			d.Stages[i].Render = nil
		} else {
			d.Stages[i].Render = []string{fmt.Sprintf("kustomize: {base: %s}", quote(base))}
		}
	}
}

// placeholder returns a path with {stage} for the element that is the stage's name.
func placeholder(name, stage string) string {
	parts := strings.Split(name, "/")
	if i := slices.Index(parts, stage); i >= 0 {
		parts[i] = "{stage}"
	}
	return strings.Join(parts, "/")
}
