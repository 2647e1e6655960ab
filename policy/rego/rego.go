// Package rego evaluates policies in Rego v1 by the conventions of conftest (https://www.conftest.dev).
//
// What is promised:
//
//   - In every package, the rules named deny, violation and warn, and those whose names go on with an underscore
//     (deny_privileged), are asked. What deny and violation give denies, what warn gives is shown. An entry is a string, or an
//     object with the message in msg; a rule that is simply true denies too.
//   - input is one object at a time, as conftest reads a file of several documents; without any object the rules are
//     asked once, without input. What is about all of them is in data.lockage, see [Input].
//   - Data files (data.json, data.yaml, data.yml) are in data below the folder that they are in.
//   - A policy sees nothing else, and gives the same answer each time: built-in functions that reach a network, the host, the
//     clock or randomness do not exist, so that a policy that names one does not compile.
//   - Evaluation ends, and how does not depend on the machine: [MaxSteps] bounds the expressions that are evaluated and the
//     numbers that numbers.range makes, over all objects.
//
// What is refused: policies without any such rule, since they would allow everything; a package or data below
// data.lockage; an entry that is neither string nor object. An error within a built-in function ends the evaluation
// with that error, instead of making the rule undefined: a denial must not vanish because of a value that nobody expected.
// conftest's exception rules are not read: nothing is excepted.
package rego

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/util"
)

// Bounds on one set of policies and its evaluation.
const (
	MaxSteps = 10_000_000
	MaxFiles = 1000
	MaxBytes = 8 << 20 // of all files

	maxFindings = 10_000
	maxDepth    = 16 // of a rule's value
)

// namespace is where data about all objects stands, below data.
const namespace = "lockage"

// Input is what policies are asked about.
type Input struct {
	Objects []map[string]any
	Data    map[string]any // data.lockage
}

// Finding is one entry that a rule gave.
type Finding struct {
	Rule    string // such as data.main.deny
	Message string
	Objects []int // indices of the objects for which it was given; none if no object exists
}

// Report is what all rules gave, in the order of rules and objects.
type Report struct {
	Rules    []string // that were asked
	Denials  []Finding
	Warnings []Finding
}

// Policies are compiled modules with their data. They are safe for concurrent use.
type Policies struct {
	rules    []string
	compiler *ast.Compiler
	data     map[string]any
}

// Compile reads Rego modules (*.rego) and data files (data.json, data.yaml, data.yml) by path. Other files are refused. What
// cannot be used is [ErrUnusable].
func Compile(files map[string][]byte) (*Policies, error) { return compile(files, "") }

// compile names modules in errors by their path in a folder.
func compile(files map[string][]byte, folder string) (*Policies, error) {
	p, err := newPolicies(files, folder)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	return p, nil
}

func newPolicies(files map[string][]byte, folder string) (*Policies, error) {
	if len(files) > MaxFiles {
		return nil, fmt.Errorf("%d policy files, at most %d are read", len(files), MaxFiles)
	}
	total := 0
	modules := make(map[string]*ast.Module)
	p := &Policies{data: make(map[string]any)}
	capabilities := hermetic()
	for _, name := range sortedKeys(files) {
		text := files[name]
		if total += len(text); total > MaxBytes {
			return nil, fmt.Errorf("the policy files have more than %d bytes", MaxBytes)
		}
		switch base := path.Base(name); {
		case path.Ext(base) == ".rego":
			module, err := ast.ParseModuleWithOpts(path.Join(folder, name), string(text), ast.ParserOptions{Capabilities: capabilities, RegoVersion: ast.RegoV1})
			if err != nil {
				return nil, oneLine(err)
			}
			if reserved(module.Package.Path) {
				return nil, fmt.Errorf("%s: package %s is where lockage puts its own data: name it otherwise", name, module.Package.Path)
			}
			modules[name] = module
		case base == "data.json", base == "data.yaml", base == "data.yml":
			if err := p.addData(name, text); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%s is neither a Rego module nor data.json or data.yaml", name)
		}
	}
	p.rules = rules(modules)
	if len(p.rules) == 0 {
		return nil, fmt.Errorf("no rule deny, violation or warn in %d policy files: they would allow everything", len(files))
	}
	p.compiler = ast.NewCompiler().WithCapabilities(capabilities).WithDefaultRegoVersion(ast.RegoV1)
	p.compiler.Compile(modules)
	if p.compiler.Failed() {
		return nil, oneLine(p.compiler.Errors)
	}
	return p, nil
}

// addData puts a data file below the folder in which it lies, as OPA does.
func (p *Policies) addData(name string, text []byte) error {
	var content map[string]any
	if err := util.Unmarshal(text, &content); err != nil {
		return fmt.Errorf("%s: expected an object: %w", name, oneLine(err))
	}
	at := p.data
	if dir := path.Dir(path.Clean(name)); dir != "." {
		for _, step := range strings.Split(strings.TrimPrefix(dir, "/"), "/") {
			below, ok := at[step].(map[string]any)
			if !ok {
				if _, taken := at[step]; taken {
					return fmt.Errorf("%s: another data file has a value at %q already", name, step)
				}
				below = make(map[string]any)
				at[step] = below
			}
			at = below
		}
	}
	if err := merge(at, content); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, taken := p.data[namespace]; taken {
		return fmt.Errorf("%s: data.%s is where lockage puts its own data: name it otherwise", name, namespace)
	}
	return nil
}

func merge(into, from map[string]any) error {
	for _, key := range sortedKeys(from) {
		below, ok := into[key].(map[string]any)
		more, isMap := from[key].(map[string]any)
		switch _, taken := into[key]; {
		case !taken:
			into[key] = from[key]
		case !ok || !isMap:
			return fmt.Errorf("another data file has a value at %q already", key)
		default:
			if err := merge(below, more); err != nil {
				return err
			}
		}
	}
	return nil
}

// rules lists what is asked: the rules of the modules with a name by convention, functions aside, each once, in order.
func rules(modules map[string]*ast.Module) []string {
	found := make(map[string]bool)
	for _, module := range modules {
		for _, rule := range module.Rules {
			name, ok := rule.Head.Ref()[0].Value.(ast.Var)
			if !ok || len(rule.Head.Args) > 0 || !denies(string(name)) && !warns(string(name)) {
				continue
			}
			found[module.Package.Path.String()+"."+string(name)] = true
		}
	}
	return sortedKeys(found)
}

func denies(rule string) bool { return named(rule, "deny") || named(rule, "violation") }
func warns(rule string) bool  { return named(rule, "warn") }

func named(rule, convention string) bool {
	return rule == convention || strings.HasPrefix(rule, convention+"_")
}

// reserved reports whether a package is at or below data.lockage.
func reserved(pkg ast.Ref) bool {
	if len(pkg) < 2 {
		return false
	}
	name, ok := pkg[1].Value.(ast.String)
	return ok && string(name) == namespace
}

// Eval asks every rule about every object.
func (p *Policies) Eval(in Input) (Report, error) { return p.eval(in, &steps{}) }

func (p *Policies) eval(in Input, count *steps) (Report, error) {
	ctx := context.Background()
	data := make(map[string]any, len(p.data)+1)
	for key, value := range p.data {
		data[key] = value
	}
	data[namespace] = in.Data
	// Undefined rules are left out of a comprehension, where they would make the whole query undefined.
	var query []string
	for _, rule := range p.rules {
		query = append(query, fmt.Sprintf("[value | value := %s]", rule))
	}
	prepared, err := rego.New(
		rego.Query("["+strings.Join(query, ", ")+"]"),
		rego.Compiler(p.compiler),
		rego.Store(inmem.NewFromObject(data)),
		rego.StrictBuiltinErrors(true),
		rego.SetRegoVersion(ast.RegoV1),
	).PrepareForEval(ctx)
	if err != nil {
		return Report{}, oneLine(err)
	}
	a := answers{rules: p.rules, index: make(map[[2]string]*Finding)}
	bound := rego.EvalExternalCancel(count)
	if len(in.Objects) == 0 {
		if err := p.ask(ctx, prepared, &a, -1, bound); err != nil {
			return Report{}, err
		}
	}
	for i, object := range in.Objects {
		if err := p.ask(ctx, prepared, &a, i, bound, rego.EvalInput(object)); err != nil {
			return Report{}, err
		}
	}
	return a.report(), nil
}

func (p *Policies) ask(ctx context.Context, query rego.PreparedEvalQuery, a *answers, object int, options ...rego.EvalOption) error {
	results, err := query.Eval(ctx, options...)
	if topdown.IsCancel(err) {
		return fmt.Errorf("the evaluation takes more than %d steps", MaxSteps)
	}
	if err != nil {
		return oneLine(err)
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return fmt.Errorf("the policies gave %d results instead of one", len(results))
	}
	values, ok := results[0].Expressions[0].Value.([]any)
	if !ok || len(values) != len(p.rules) {
		return errors.New("the policies gave a result of another shape")
	}
	for i, rule := range p.rules {
		defined, ok := values[i].([]any)
		if !ok {
			return errors.New("the policies gave a result of another shape")
		}
		for _, value := range defined {
			if err := a.add(rule, object, value, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// steps cancels an evaluation that asks more often than [MaxSteps] whether it is cancelled: OPA does so before each expression.
type steps struct{ taken atomic.Int64 }

func (s *steps) Cancel() { s.taken.Store(MaxSteps) }

func (s *steps) Cancelled() bool { return s.taken.Add(1) > MaxSteps }

func oneLine(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
