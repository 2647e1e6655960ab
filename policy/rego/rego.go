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
//   - Of both, only what policies may read is converted: see [Policies.Names]. That makes no difference to what they give.
//   - A policy sees nothing else, and gives the same answer each time: built-in functions that reach a network, the host, the
//     clock or randomness do not exist, so that a policy that names one does not compile.
//   - Evaluation ends, and how does not depend on the machine: [MaxSteps] bounds the expressions that are evaluated and the
//     numbers that numbers.range makes, over all objects. Built-in functions that may do more in one call than the size of what
//     they are given, such as strings.render_template with its loops, do not exist. The size of values that a policy doubles over
//     and over is not bounded.
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
	"maps"
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

// Policies are compiled modules with their data, ready to be asked. They are safe for concurrent use.
type Policies struct {
	rules          []string
	query          rego.PreparedEvalQuery
	data           map[string]any // of the data files
	input, lockage *reads
}

// Names reports whether the policies may read a name of [Input.Data].
func (p *Policies) Names(name string) bool { return p.lockage.whole || p.lockage.below[name] != nil }

// Compile compiles the bundle. Errors name modules by their path in a folder, "" for none. What cannot be used is [ErrUnusable].
func (b *Bundle) Compile(folder string) (*Policies, error) {
	p, err := b.compile(folder)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	return p, nil
}

func (b *Bundle) compile(folder string) (*Policies, error) {
	modules := make(map[string]*ast.Module)
	p := &Policies{data: make(map[string]any)}
	capabilities := hermetic()
	var mistakes ast.Errors
	for _, name := range slices.Sorted(maps.Keys(b.Files)) {
		text := b.Files[name]
		switch base := path.Base(name); {
		case path.Ext(base) == ".rego":
			module, err := ast.ParseModuleWithOpts(path.Join(folder, name), string(text), ast.ParserOptions{Capabilities: capabilities, RegoVersion: ast.RegoV1})
			if found := (ast.Errors{}); errors.As(err, &found) {
				mistakes = append(mistakes, found...)
				continue
			}
			if err != nil {
				return nil, oneLine(err)
			}
			if reserved(module.Package.Path) {
				return nil, fmt.Errorf("%s: package %s is where lockage puts its own data: name it otherwise", name, module.Package.Path)
			}
			modules[name] = module
		case isData(base):
			if err := p.addData(name, text); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		default:
			return nil, fmt.Errorf("%s is neither a Rego module nor data.json or data.yaml", name)
		}
	}
	if len(mistakes) > 0 {
		return nil, located(mistakes)
	}
	p.rules = rules(modules)
	if len(p.rules) == 0 {
		return nil, fmt.Errorf("no rule deny, violation or warn in %d policy files: they would allow everything", len(b.Files))
	}
	compiler := ast.NewCompiler().WithCapabilities(capabilities).WithDefaultRegoVersion(ast.RegoV1)
	compiler.Compile(modules)
	if compiler.Failed() {
		return nil, located(compiler.Errors)
	}
	p.input = document(compiler.Modules, ast.InputRootRef)
	p.lockage = document(compiler.Modules, ast.DefaultRootRef.Append(ast.StringTerm(namespace)))
	return p, p.prepare(compiler)
}

// prepare makes the query for all rules. Undefined rules are left out of a comprehension, where they would make the whole query
// undefined.
func (p *Policies) prepare(compiler *ast.Compiler) (err error) {
	for key, value := range p.data {
		if p.data[key], err = ast.InterfaceToValue(value); err != nil {
			return oneLine(err)
		}
	}
	var query []string
	for _, rule := range p.rules {
		query = append(query, fmt.Sprintf("[value | value := %s]", rule))
	}
	p.query, err = rego.New(
		rego.Query("["+strings.Join(query, ", ")+"]"),
		rego.Compiler(compiler),
		rego.Store(store{inmem.New()}),
		rego.StrictBuiltinErrors(true),
		rego.SetRegoVersion(ast.RegoV1),
	).PrepareForEval(context.Background())
	if err != nil {
		return oneLine(err)
	}
	return nil
}

// addData puts a data file below the folder that it is in, as OPA does.
func (p *Policies) addData(name string, text []byte) error {
	var content map[string]any
	if err := util.Unmarshal(text, &content); err != nil {
		return fmt.Errorf("expected an object: %w", oneLine(err))
	}
	folders := strings.Split(strings.TrimPrefix(path.Clean(name), "/"), "/")
	for _, folder := range slices.Backward(folders[:len(folders)-1]) {
		content = map[string]any{folder: content}
	}
	if err := merge(p.data, content); err != nil {
		return err
	}
	if _, taken := p.data[namespace]; taken {
		return fmt.Errorf("data.%s is where lockage puts its own data: name it otherwise", namespace)
	}
	return nil
}

func merge(into, from map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if _, taken := into[key]; !taken {
			into[key] = from[key]
			continue
		}
		below, ok := into[key].(map[string]any)
		more, isMap := from[key].(map[string]any)
		if !ok || !isMap {
			return fmt.Errorf("another data file has a value at %q already", key)
		}
		if err := merge(below, more); err != nil {
			return err
		}
	}
	return nil
}

// rules lists what is asked: the rules of the modules with a name by convention, functions aside, each once, in order.
func rules(modules map[string]*ast.Module) []string {
	var found []string
	for _, module := range modules {
		for _, rule := range module.Rules {
			name, ok := rule.Head.Ref()[0].Value.(ast.Var)
			if ok && len(rule.Head.Args) == 0 && (denies(string(name)) || named(string(name), "warn")) {
				found = append(found, module.Package.Path.String()+"."+string(name))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func denies(rule string) bool { return named(rule, "deny") || named(rule, "violation") }

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
	data, err := p.with(ctx, in.Data)
	if err != nil {
		return Report{}, oneLine(err)
	}
	a := answers{index: make(map[[2]string]*Finding)}
	options := []rego.EvalOption{rego.EvalExternalCancel(count), rego.EvalTransaction(data)}
	if len(in.Objects) == 0 {
		err = p.ask(ctx, &a, -1, options...)
	}
	for i, object := range in.Objects {
		var input ast.Value
		if err == nil {
			input, err = p.input.of(object)
		}
		if err == nil {
			err = p.ask(ctx, &a, i, append(options, rego.EvalParsedInput(input))...)
		}
	}
	if err != nil {
		return Report{}, err
	}
	return a.report(p.rules), nil
}

func (p *Policies) ask(ctx context.Context, a *answers, object int, options ...rego.EvalOption) error {
	results, err := p.query.Eval(ctx, options...)
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

// located lists mistakes in modules with file, line and column.
func located(mistakes ast.Errors) error {
	lines := make([]string, len(mistakes))
	for i, m := range mistakes {
		lines[i] = m.Code + ": " + strings.Join(strings.Fields(m.Message), " ")
		if at := m.Location; at != nil {
			lines[i] = fmt.Sprintf("%s:%d:%d: %s", at.File, at.Row, at.Col, lines[i])
		}
	}
	return errors.New(strings.Join(lines, "; "))
}

func oneLine(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

// hermetic returns OPA's capabilities without the built-in functions whose result depends on more than their arguments, or whose work
// on more than the size of these. OPA marks most of the former itself; the others are named here with the reason.
func hermetic() *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion()
	caps.Builtins = slices.DeleteFunc(caps.Builtins, func(b *ast.Builtin) bool {
		switch b.Name {
		case "time.now_ns", "opa.runtime", "rand.intn", "uuid.rfc4122":
			return true
		case "crypto.x509.parse_and_verify_certificates", "crypto.x509.parse_and_verify_certificates_with_options":
			return true // the clock, for a certificate's validity
		case "json.match_schema", "json.verify_schema":
			return true // files and URLs that a schema's $ref names
		case "strings.render_template":
			return true // loops in a template, in each other
		case "graph.reachable_paths":
			return true // as many paths as there are ways through a graph
		case "bits.lsh":
			return true // a number of as many bits as its argument says
		}
		return b.IsNondeterministic() || strings.HasPrefix(b.Name, "http.") || strings.HasPrefix(b.Name, "net.")
	})
	caps.AllowNet = []string{} // no host, for the schemas of annotations
	return caps
}
