package scaffold

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lockage/lockage/hydrate/lock"
)

// stageValues match the values files of an environment, whose name is the group.
var stageValues = []*regexp.Regexp{
	regexp.MustCompile(`^(?:.*/)?values[-._]([a-zA-Z0-9-]+)\.ya?ml$`),
	regexp.MustCompile(`^(?:.*/)?([a-zA-Z0-9-]+)[-._]values\.ya?ml$`),
	regexp.MustCompile(`^(?:.*/)?([a-zA-Z0-9-]+)/values\.ya?ml$`),
	regexp.MustCompile(`^(?:.*/)?(?:values|envs?|environments?|config)/([a-zA-Z0-9-]+)\.ya?ml$`),
}

// charts makes a draft of each chart that can be installed.
func (f *finder) charts() (drafts []Draft) {
	for _, dir := range f.source.charts {
		var chart struct {
			Name string `yaml:"name"`
			Type string `yaml:"type"`
		}
		if !f.source.decode(path.Join(dir, "Chart.yaml"), &chart) || chart.Type == "library" || f.leftOut(dir, true) {
			continue
		}
		d := Draft{Name: slug(chart.Name), Kind: lock.Helm, SourcePath: dir, Found: []string{"chart " + dir}}
		d.Release = d.Name
		d.Set = f.imageValues(dir)
		f.addValues(&d)
		f.deploys(&d)
		drafts = append(drafts, d)
	}
	return drafts
}

// addValues finds the values files of environments: in the chart, and if the source is the GitOps repository beside it.
func (f *finder) addValues(d *Draft) {
	patterns := map[string]map[string]string{} // name with {stage}, and the files by environment
	for _, name := range f.gitopsAnd(cmp.Or(d.Chart, d.SourcePath)) {
		inside := strings.TrimPrefix(name, d.SourcePath+"/")
		for _, shape := range stageValues {
			at := shape.FindStringSubmatchIndex(inside)
			if at == nil {
				continue
			}
			at[2], at[3] = at[2]+len(name)-len(inside), at[3]+len(name)-len(inside)
			stage := name[at[2]:at[3]]
			if _, known := environment(stage); !known || slug(stage) != stage || len(stage) > maxStage {
				continue
			}
			pattern := name[:at[2]] + "{stage}" + name[at[3]:]
			if patterns[pattern] == nil {
				patterns[pattern] = map[string]string{}
			}
			patterns[pattern][stage] = name
			break
		}
	}
	if only := path.Base(d.SourcePath); len(patterns) == 0 && d.Chart == "" && slug(only) == only && len(only) <= maxStage {
		if _, known := environment(only); known { // the chart is that environment's
			d.Stages = []Stage{{Name: only}}
			return
		}
	}
	stages := map[string]bool{}
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		for stage := range patterns[pattern] {
			stages[stage] = true
		}
	}
	if len(stages) == 1 { // one environment alone: others have the chart's own values
		for only := range maps.Clone(stages) {
			at, _ := environment(only)
			for _, other := range f.Stages {
				if place, _ := environment(other); place != at {
					stages[other] = true
				}
			}
		}
	}
	for _, stage := range slices.Sorted(maps.Keys(stages)) {
		d.Stages = append(d.Stages, Stage{Name: stage})
	}
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		d.Values = append(d.Values, f.valuesItem(d, pattern, len(patterns[pattern]) < len(stages)))
		d.Found = append(d.Found, "values "+pattern)
	}
}

// valuesItem writes an item of render.values. A file of the chart is read at the locked commit.
func (f *finder) valuesItem(d *Draft, name string, optional bool) string {
	inChart, ok := strings.CutPrefix(name, strings.TrimPrefix(d.SourcePath+"/", "./"))
	switch {
	case ok && optional:
		return fmt.Sprintf("{file: %s, from: source, optional: true}", quote(inChart))
	case ok:
		return fmt.Sprintf("{file: %s, from: source}", quote(inChart))
	case optional:
		return fmt.Sprintf("{file: %s, optional: true}", quote(name))
	}
	return quote(name)
}

// gitopsAnd returns the YAML files of a chart, and those of the GitOps repository that may be values of it: below a folder of its name, or
// any beside the only chart. An upstream chart is its URL.
func (f *finder) gitopsAnd(chart string) (names []string) {
	others := f.source.yaml
	if !f.SameSource {
		others = append(slices.Clone(others), f.gitops.yaml...)
	}
	for _, name := range others {
		in := chart == "." || strings.HasPrefix(name, chart+"/")
		beside := f.SameSource || !slices.Contains(f.source.yaml, name)
		named := len(f.source.charts) == 1 && f.source.charts[0] == chart || slices.Contains(strings.Split(path.Dir(name), "/"), path.Base(chart))
		inOther := slices.ContainsFunc(f.source.charts, func(other string) bool {
			return other != chart && other != "." && strings.HasPrefix(name, other+"/") && len(other) > len(chart)
		})
		if !inOther && (in || beside && named && strings.Contains(name, "values")) {
			names = append(names, name)
		}
	}
	return names
}

// imageValues returns what to set for the chart to take the locked image, by what its values have.
func (f *finder) imageValues(dir string) []string {
	var values struct {
		Image yaml.Node `yaml:"image"`
	}
	if !f.source.decode(path.Join(dir, "values.yaml"), &values) {
		return nil
	}
	keys := map[string]any{}
	switch image := values.Image; {
	case image.Kind == yaml.ScalarNode:
		return []string{`image: "{image}"`}
	case image.Kind != yaml.MappingNode || image.Decode(&keys) != nil:
		return nil
	}
	_, registry := keys["registry"]
	_, digest := keys["digest"]
	if _, repository := keys["repository"]; !repository || registry {
		return nil
	}
	if digest {
		return []string{`image.repository: "{image.repository}"`, `image.digest: "{image.digest}"`}
	}
	return []string{`image.repository: "{image.repository}"`, `image.tag: "{image.tag}@{image.digest}"`}
}
