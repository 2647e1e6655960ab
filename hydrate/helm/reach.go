package helm

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
)

const maxNamedTemplates = 3 // in one warning

// reach is what the templates of a chart can call in one render.
type reach struct {
	volatile bool     // a function in volatile
	tpl      bool     // tpl, which renders any text
	lookups  []string // the templates that call lookup

	byName  map[string][]namedCalls
	visited map[*calls]bool
	texts   []string // of templates and files, which tpl might be given
	values  any      // likewise
}

type namedCalls struct {
	file string
	*calls
}

// reach finds what a render can call: it follows every rendered template to those that it includes, and, once tpl is among
// the calls, to every text that tpl could be given.
func (p *Package) reach(c *chart.Chart, values chartutil.Values) *reach {
	r := &reach{byName: map[string][]namedCalls{}, visited: map[*calls]bool{}, values: values["Values"]}
	var roots []namedCalls
	forCharts(c, func(c *chart.Chart) {
		for _, f := range c.Templates {
			file := path.Join(c.ChartFullPath(), f.Name)
			program := p.programs[f]
			if program == nil {
				continue
			}
			for name, calls := range program.templates {
				named := namedCalls{file, calls}
				r.texts = append(r.texts, calls.literals...)
				switch {
				case name != "":
					r.byName[name] = append(r.byName[name], named)
				case strings.HasPrefix(path.Base(f.Name), "_"):
					r.byName[file] = append(r.byName[file], named)
				default:
					roots = append(roots, named)
				}
			}
		}
		for _, f := range c.Files {
			if p.texts[f] {
				r.texts = append(r.texts, string(f.Data))
			}
		}
	})
	for _, root := range roots {
		r.visit(root)
	}
	slices.Sort(r.lookups)
	r.lookups = slices.Compact(r.lookups)
	return r
}

func (r *reach) visit(c namedCalls) {
	if r.visited[c.calls] {
		return
	}
	r.visited[c.calls] = true
	for _, function := range c.functions {
		if function == "lookup" {
			r.lookups = append(r.lookups, c.file)
		} else {
			r.volatile = true
		}
	}
	for _, name := range c.templates {
		r.visitName(name)
	}
	if c.any || c.anyFile {
		for _, name := range slices.Sorted(maps.Keys(r.byName)) {
			if c.any || strings.Contains(name, "/") {
				r.visitName(name)
			}
		}
	}
	if c.tpl && !r.tpl {
		r.tpl = true
		for _, text := range r.texts {
			r.text(text)
		}
		forStrings(r.values, func(text string) string { r.text(text); return text })
	}
}

func (r *reach) visitName(name string) {
	for _, c := range r.byName[name] {
		r.visit(c)
	}
}

// text visits what a text calls if it is given to tpl. A text without a template may become part of one: it counts as
// calling what it names, except for two words that are frequent in prose.
func (r *reach) text(text string) {
	if !relevant.MatchString(text) {
		return
	}
	if strings.Contains(text, "{{") {
		if p := parseText(text); p != nil {
			for name, calls := range p.templates {
				c := namedCalls{"a text given to tpl", calls}
				if name != "" {
					r.byName[name] = append(r.byName[name], c)
				}
				r.visit(c)
			}
			return
		}
	}
	for _, word := range relevant.FindAllString(text, -1) {
		if _, found := volatile[word]; found && word != "date" && word != "values" {
			r.volatile = true
		}
	}
}

// warning names the templates that call lookup.
func (r *reach) warning() []string {
	if len(r.lookups) == 0 {
		return nil
	}
	named := r.lookups
	more := ""
	if len(named) > maxNamedTemplates {
		more = fmt.Sprintf(" and %d more", len(named)-maxNamedTemplates)
		named = named[:maxNamedTemplates]
	}
	return []string{fmt.Sprintf("%s%s can call lookup, which finds nothing here, as in helm template", strings.Join(named, ", "), more)}
}

// later changes a chart and its values for the second render.
func (p *Package) later(c *chart.Chart, values chartutil.Values, tpl bool) {
	forCharts(c, func(c *chart.Chart) {
		c.Templates = changed(c.Templates, func(f *chart.File) []byte {
			if program := p.programs[f]; program != nil {
				return []byte(program.apply())
			}
			return f.Data
		})
		if tpl {
			c.Files = changed(c.Files, func(f *chart.File) []byte {
				if p.texts[f] {
					return []byte(laterText(string(f.Data)))
				}
				return f.Data
			})
		}
	})
	if tpl {
		forStrings(values["Values"], laterText)
	}
}

// changed returns copies of the files with changed data.
func changed(files []*chart.File, change func(*chart.File) []byte) []*chart.File {
	out := make([]*chart.File, len(files))
	for i, f := range files {
		out[i] = &chart.File{Name: f.Name, Data: change(f)}
	}
	return out
}

// parseTemplates parses what is the same in all renders of the chart, and sorts the result of keys, whose random order no
// chart depends on.
func (p *Package) parseTemplates() {
	p.programs, p.texts = map[*chart.File]*program{}, map[*chart.File]bool{}
	forCharts(p.chart, func(c *chart.Chart) {
		for _, f := range c.Templates {
			f.Data = []byte(sortKeys(string(f.Data)))
			p.programs[f] = parseText(string(f.Data))
		}
		for _, f := range c.Files {
			p.texts[f] = bytes.Contains(f.Data, []byte("{{")) && relevant.Match(f.Data)
		}
	})
}

func forCharts(c *chart.Chart, visit func(*chart.Chart)) {
	visit(c)
	for _, d := range c.Dependencies() {
		forCharts(d, visit)
	}
}

// forStrings replaces every string in values by the result of change.
func forStrings(values any, change func(string) string) {
	replace := func(value any, store func(string)) {
		if text, ok := value.(string); !ok {
			forStrings(value, change)
		} else if changed := change(text); changed != text {
			store(changed)
		}
	}
	switch values := values.(type) {
	case chartutil.Values:
		forStrings(map[string]any(values), change)
	case map[string]any:
		for key, value := range values {
			replace(value, func(changed string) { values[key] = changed })
		}
	case []any:
		for i, value := range values {
			replace(value, func(changed string) { values[i] = changed })
		}
	}
}
