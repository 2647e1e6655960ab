package pipeline

import (
	"io/fs"
	"slices"
	"strings"

	"github.com/lockage/lockage/internal/strictyaml"
)

// Overrides are render options that take the place of those of every stage. The zero Overrides replace nothing.
type Overrides struct{ render *strictyaml.Node }

// ParseOverrides reads options of the form KEY=VALUE: a key of render, and its value in YAML, which overrides a stage's as a
// stage overrides its pipeline's. name is what problems call the place of an option. The error is strictyaml.Problems.
func ParseOverrides(name string, options []string) (Overrides, error) {
	render := &strictyaml.Node{Kind: strictyaml.Map}
	var problems strictyaml.Problems
	for _, option := range options {
		key, value, pair := strings.Cut(option, "=")
		pos := strictyaml.Pos{File: name + " " + option}
		if !pair || key == "" {
			problems.Add(pos, "is not KEY=VALUE: write a render option and its value, such as hooks=all")
			continue
		}
		node := &strictyaml.Node{Pos: pos, Kind: strictyaml.Scalar, Tag: "!!null"} // as a key without a value in a file
		if strings.TrimSpace(value) != "" {
			parsed, invalid := strictyaml.Parse(pos.File, []byte(value))
			if len(invalid) > 0 {
				problems = append(problems, invalid...)
				continue
			}
			node = parsed
		}
		option := &strictyaml.Node{Pos: pos, Kind: strictyaml.Map, Entries: []strictyaml.Entry{{Key: key, KeyPos: pos, Value: node}}}
		render = strictyaml.Merge(render, option)
	}
	problems = append(problems, strictyaml.Decode((&strictyaml.Node{Kind: strictyaml.Map}).With("render", render), &struct {
		Render Render `yaml:"render"`
	}{})...)
	return Overrides{render}, problems.Err()
}

// LoadOverridden is Load of pipeline files whose stages have other render options than the files say.
func LoadOverridden(files fs.FS, kinds []GateKind, o Overrides, names ...string) ([]*Pipeline, error) {
	return loader{files: files, loaded: &loaded{kinds: kinds}, overrides: o}.load(names)
}

// apply returns a pipeline file with the overrides in each stage.
func (o Overrides) apply(doc *strictyaml.Node) *strictyaml.Node {
	declared := doc.Get("stages")
	if o.render == nil || declared == nil || declared.Kind != strictyaml.List {
		return doc
	}
	stages := *declared
	stages.Items = slices.Clone(declared.Items)
	for i, stage := range stages.Items {
		if stage.Kind == strictyaml.Map {
			stages.Items[i] = stage.With("render", strictyaml.Merge(stage.Get("render"), o.render))
		}
	}
	return doc.With("stages", &stages)
}
