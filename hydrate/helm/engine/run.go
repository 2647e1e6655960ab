package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// Bounds on templates that call each other. Each call takes some kilobytes of stack; Go ends a process when a goroutine has
// taken one gigabyte.
const (
	maxIncludes = 1000 // of one template within itself, as in Helm
	maxTexts    = 1000 // of texts given to tpl, within each other
	maxNesting  = 5000 // of both
)

// run is the state of one render. It is used by one goroutine.
type run struct {
	ctx      context.Context // Template functions take none.
	engine   *Engine
	request  Request
	included map[string]int // how often a template is being executed by include
	nested   int            // calls of include and tpl that have not returned
	texts    int            // of these, calls of tpl

	file    string // the template that is executed
	stream  *stream
	lookups map[string]bool
	result  Result
}

// enter begins a template. Its random numbers are its own: they do not depend on what was executed before.
func (r *run) enter(file string) { r.file, r.stream = file, nil }

func (r *run) finish() Result {
	r.result.Lookups = slices.Sorted(maps.Keys(r.lookups))
	return r.result
}

// nest counts a call of include or tpl.
func (r *run) nest() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.nested >= maxNesting {
		return fmt.Errorf("templates call each other by include and tpl more than %d deep", maxNesting)
	}
	r.nested++
	return nil
}

// include executes a template of t's set by its name.
func (r *run) include(t *template.Template) func(name string, data any) (string, error) {
	return func(name string, data any) (string, error) {
		if r.included[name] > maxIncludes {
			return "", fmt.Errorf("template %s includes itself more than %d deep", name, maxIncludes)
		}
		if err := r.nest(); err != nil {
			return "", err
		}
		r.included[name]++
		var out strings.Builder
		err := t.ExecuteTemplate(&out, name, data)
		r.included[name]--
		r.nested--
		return out.String(), shorten(err)
	}
}

// tpl executes a text as a template that sees the templates of t's set.
func (r *run) tpl(t *template.Template) func(text string, data any) (string, error) {
	return func(text string, data any) (string, error) {
		if !strings.Contains(text, "{{") {
			return withoutNoValue(text), nil
		}
		if r.texts >= maxTexts {
			return "", fmt.Errorf("texts call tpl within each other more than %d deep", maxTexts)
		}
		if err := r.nest(); err != nil {
			return "", err
		}
		r.texts++
		defer func() { r.texts--; r.nested-- }()
		trees, err := r.engine.texts.get(text, r.engine.parse)
		if err != nil {
			return "", fmt.Errorf("parse the text %.*q: %w", maxQuoted, text, err)
		}
		executed, err := r.prepare(t, text, trees)
		if err != nil {
			return "", err
		}
		var out strings.Builder
		if err := executed.Execute(&out, data); err != nil {
			return "", shorten(fmt.Errorf("in the text %.*q: %w", maxQuoted, text, err))
		}
		return withoutNoValue(out.String()), nil
	}
}

// prepare returns a template that executes the trees of a text. What the text defines is seen by the text alone: Helm copies
// the whole set for that, which is spared a text that defines nothing, and does not mention the name that it has in the copy.
func (r *run) prepare(t *template.Template, text string, trees map[string]*parse.Tree) (*template.Template, error) {
	if len(trees) == 1 && !strings.Contains(text, rootName) {
		executed := t.New(t.Name())
		executed.Tree = trees[rootName]
		return executed, nil
	}
	copied, err := t.Clone()
	if err != nil {
		return nil, fmt.Errorf("copy templates: %w", err)
	}
	copied.Option("missingkey=zero").Funcs(template.FuncMap{"include": r.include(copied), "tpl": r.tpl(copied)})
	executed := copied.New(rootName)
	return executed, define(executed, trees)
}

// required returns a value that is not missing and not the empty string.
func required(message string, value any) (any, error) {
	if value == nil || value == "" {
		return value, failure(message)
	}
	return value, nil
}

// fail fails.
func fail(message string) (string, error) { return "", failure(message) }

// lookup finds nothing: there is no cluster.
func (r *run) lookup(string, string, string, string) (map[string]any, error) {
	r.lookups[r.file] = true
	return map[string]any{}, nil
}
