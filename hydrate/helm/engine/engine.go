package engine

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"time"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/memo"
)

// Template is one file of a chart, as one render executes it.
type Template struct {
	Name   string         // from the chart's name on: "web/charts/cache/templates/service.yaml"
	Data   []byte         // the text, shared by renders
	Values map[string]any // what the file sees as dot, shared by the files of one chart in one render
	Self   any            // what the file sees as .Template
}

// Request is what else a render depends on.
type Request struct {
	Clock    time.Time // what templates take for the present time
	Seed     []byte    // of the random numbers
	Redraw   bool      // whether each of them is another one than the seed gives
	Generate bool      // whether keys and certificates may be generated, which no seed determines
}

// Result is the output of a render.
type Result struct {
	Files     map[string]string // by the name of the template
	Random    bool              // whether random numbers were drawn
	Generated bool              // whether keys or certificates were generated
	Lookups   []string          // the templates that called lookup, sorted
}

// Engine executes the templates of one package by the functions of one version of Helm, and keeps what it parsed. It is safe
// for concurrent use.
type Engine struct {
	functions template.FuncMap
	files     memo.Map[fileKey, map[string]*parse.Tree]
	sets      memo.Map[string, *template.Template]
	texts     texts
}

// New returns an engine with the functions of Helm 3 or 4.
func New(helm int) *Engine { return &Engine{functions: functions(helm)} }

// fileKey identifies a file by its name, which its errors contain, and by the address of its text, which nobody changes.
type fileKey struct {
	name string
	data *byte
	size int
}

func (t Template) key() fileKey {
	key := fileKey{name: t.Name, size: len(t.Data)}
	if key.size > 0 {
		key.data = &t.Data[0]
	}
	return key
}

// rootName is the name of the template that Helm defines all others in, and by which it executes texts given to tpl.
const rootName = "gotpl"

// Render executes all templates but partials, in Helm's order, since one may change values that another sees.
func (e *Engine) Render(ctx context.Context, templates []Template, request Request) (result Result, err error) {
	defer func() {
		if r := recover(); r != nil {
			result, err = Result{}, fmt.Errorf("render templates: %v", r)
		}
	}()
	templates = slices.Clone(templates)
	slices.SortFunc(templates, deepestFirst)
	set, err := e.assemble(ctx, templates)
	if err != nil {
		return Result{}, err
	}
	r := &run{ctx: ctx, engine: e, request: request, included: map[string]int{}, lookups: map[string]bool{}}
	set, err = set.Clone()
	if err != nil {
		return Result{}, fmt.Errorf("render templates: %w", err)
	}
	set.Option("missingkey=zero").Funcs(r.functions(set))
	r.result.Files = make(map[string]string, len(templates))
	for _, t := range templates {
		if strings.HasPrefix(path.Base(t.Name), "_") {
			continue
		}
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
		hydrate.Progress(ctx, t.Name)
		r.enter(t.Name)
		t.Values["Template"] = t.Self
		var out strings.Builder
		if err := set.ExecuteTemplate(&out, t.Name, t.Values); err != nil {
			return Result{}, cmp.Or(ctx.Err(), templateError(err))
		}
		r.result.Files[t.Name] = withoutNoValue(out.String())
	}
	return r.finish(), nil
}

// deepestFirst orders templates as Helm parses and executes them: those of subcharts first, so that a chart replaces what
// its subcharts define.
func deepestFirst(a, b Template) int {
	return cmp.Or(strings.Count(b.Name, "/")-strings.Count(a.Name, "/"), strings.Compare(b.Name, a.Name))
}

// assemble returns the set of templates that a list of files defines. Renders with the same subcharts share it.
func (e *Engine) assemble(ctx context.Context, templates []Template) (*template.Template, error) {
	var key strings.Builder
	for _, t := range templates {
		fmt.Fprintf(&key, "%q %p\n", t.Name, t.key().data)
	}
	return e.sets.Get(key.String(), func() (*template.Template, error) {
		set := template.New(rootName).Funcs(e.functions)
		for _, t := range templates {
			trees, err := e.files.Get(t.key(), func() (map[string]*parse.Tree, error) {
				hydrate.Progress(ctx, t.Name) // the parser's stack grows with the text
				return e.parse(t.Name, string(t.Data))
			})
			if err != nil {
				return nil, templateError(err)
			}
			if err := define(set.New(t.Name), trees); err != nil {
				return nil, err
			}
		}
		return set, nil
	})
}

// parse parses a text and what it defines, as [template.Template.Parse] does.
func (e *Engine) parse(name, text string) (map[string]*parse.Tree, error) {
	return parse.Parse(name, text, "", "", e.functions, builtins)
}

// define adds to t's set what was parsed under t's name: as in Helm, a template that is empty replaces none.
func define(t *template.Template, trees map[string]*parse.Tree) error {
	for name, tree := range trees {
		if _, err := t.AddParseTree(name, tree); err != nil {
			return fmt.Errorf("define template %q: %w", name, err)
		}
	}
	return nil
}

// builtins are the names of text/template's own functions, which its parser asks for.
var builtins = map[string]any{
	"and": true, "call": true, "html": true, "index": true, "slice": true, "js": true, "len": true, "not": true, "or": true,
	"print": true, "printf": true, "println": true, "urlquery": true,
	"eq": true, "ge": true, "gt": true, "le": true, "lt": true, "ne": true,
}

// withoutNoValue removes what text/template prints for values that are missing, as Helm does.
func withoutNoValue(output string) string { return strings.ReplaceAll(output, "<no value>", "") }

// failure is the message of a template that fails on purpose, by fail or required.
type failure string

func (f failure) Error() string { return string(f) }
