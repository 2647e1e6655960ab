// Package cel evaluates boolean expressions of the Common Expression Language (https://cel.dev).
//
//   - An expression sees only the variables that it is given, dynamically typed: no clock, randomness, network or files.
//   - Beside the standard library there are optional types (`o.?spec.?replicas.orValue(1)`), the extensions strings, sets,
//     and comprehensions over two variables (`m.all(key, value, …)`). Numbers compare across types, `1 < 1.5u`.
//   - Evaluation ends alike on every machine: an expression longer than [MaxExpression], one that costs more than [MaxCost] and
//     a call of more than [MaxCall] steps are errors. Costs are those of cel-go, and the bytes and values that calls read and make.
//   - An expression that is not a bool is refused, and so is one that makes a protocol buffer message, which cel-go copies at
//     no cost. A field that does not exist is an error, not false: write `has(o.spec.replicas)` first.
package cel

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
)

// Bounds on one expression and one evaluation.
const (
	MaxExpression = 16 << 10 // bytes
	MaxCost       = 5_000_000
	MaxCall       = 20_000_000 // bytes that one call reads and makes, 32 for each item of a list or map

	maxDepth = 100
)

// Program is a compiled expression. It is safe for concurrent use.
type Program struct {
	program cel.Program
	names   []string
}

// Names reports whether the expression may read a variable.
func (p *Program) Names(variable string) bool { return slices.Contains(p.names, variable) }

// Compile reads an expression over the named variables. The error says line and column of what is wrong with it.
func Compile(expression string, variables ...string) (*Program, error) {
	if len(expression) > MaxExpression {
		return nil, fmt.Errorf("the expression has %d bytes, at most %d are read", len(expression), MaxExpression)
	}
	options := []cel.EnvOption{
		cel.CustomTypeAdapter(adapter{types.DefaultTypeAdapter}),
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserRecursionLimit(maxDepth),
		cel.ParserExpressionSizeLimit(MaxExpression),
		ext.Strings(),
		ext.Sets(),
		ext.TwoVarComprehensions(),
	}
	for _, name := range variables {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return nil, problems(issues)
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("the expression gives a value of type %s, and must give true or false", t)
	}
	tree := celast.NavigateAST(ast.NativeRep())
	if found := celast.MatchDescendants(tree, celast.KindMatcher(celast.StructKind)); len(found) > 0 {
		return nil, errors.New("the expression makes a protocol buffer message: write a map")
	}
	program, err := env.Program(ast,
		cel.CostLimit(MaxCost),
		cel.CostTracking(estimator{}),
		boundCalls(env),
	)
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	p := &Program{program: program}
	for _, identifier := range celast.MatchDescendants(tree, celast.KindMatcher(celast.IdentKind)) {
		p.names = append(p.names, identifier.AsIdent())
	}
	return p, nil
}

// problems writes what the compiler found in one line, each with its place in the expression. It leaves out the parser's list
// of every token that could have followed.
func problems(issues *cel.Issues) error {
	plain := strings.NewReplacer(" (in container '')", "", "mismatched input '<EOF>'", "the expression ends too early", "'<EOF>'", "the end", "<EOF>", "the end")
	var all []string
	for _, e := range issues.Errors() {
		message, _, _ := strings.Cut(strings.Join(strings.Fields(e.Message), " "), " expecting {")
		all = append(all, fmt.Sprintf("%d:%d: %s", e.Location.Line(), e.Location.Column()+1, plain.Replace(message)))
	}
	return errors.New(strings.Join(all, "; "))
}

// Eval evaluates the expression. Values are what encoding/json makes of JSON, and integers of Go. Those that the expression does not
// reach are not looked at.
func (p *Program) Eval(variables map[string]any) (bool, error) {
	value, _, err := p.program.Eval(variables)
	if err != nil {
		return false, errors.New(strings.Join(strings.Fields(err.Error()), " "))
	}
	truth, ok := value.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the expression gave a value of type %s, and must give true or false", value.Type().TypeName())
	}
	return bool(truth), nil
}

// adapter converts values to those that CEL computes with, one at a time as they are reached. Integers of JSON stay exact.
type adapter struct{ types.Adapter }

// NativeToValue implements [types.Adapter].
func (a adapter) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	case []map[string]any:
		return types.NewDynamicList(a, v)
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return types.Int(i)
		}
		if u, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return types.Uint(u)
		}
		f, err := v.Float64()
		if err != nil {
			f = math.NaN()
		}
		return types.Double(f)
	}
	return a.Adapter.NativeToValue(value)
}
