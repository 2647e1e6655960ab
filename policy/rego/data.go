package rego

import (
	"context"
	"encoding/json"
	"maps"
	"strconv"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// reads are what modules may read of a document: what lies at paths of constant keys, with all below it.
type reads struct {
	whole bool
	below map[string]*reads
}

// document returns what modules read of input, or below data.lockage. Modules are compiled, so that no import hides a name.
func document(modules map[string]*ast.Module, prefix ast.Ref) *reads {
	found := &reads{}
	var visitor *ast.GenericVisitor
	visitor = ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case ast.Ref:
			if len(x) == 0 {
				return true
			}
			found.add(x, prefix)
			for _, step := range x[1:] {
				visitor.Walk(step)
			}
			return true
		case ast.Var:
			found.add(ast.Ref{ast.NewTerm(x)}, prefix)
		}
		return false
	})
	for _, module := range modules {
		for _, rule := range module.Rules {
			visitor.Walk(rule)
			for _, step := range rule.Head.Reference { // which it leaves out
				visitor.Walk(step)
			}
		}
	}
	return found
}

// add adds a reference, if it may lead to the prefix or below it.
func (r *reads) add(ref, prefix ast.Ref) {
	for i, step := range ref {
		key, constant := step.Value.(ast.String)
		switch {
		case i < len(prefix) && step.Equal(prefix[i]):
		case i == 0 || i < len(prefix) && constant:
			return // to something else
		case i < len(prefix) || !constant:
			r.whole = true
			return
		default:
			if r.below == nil {
				r.below = map[string]*reads{}
			}
			if r.below[string(key)] == nil {
				r.below[string(key)] = &reads{}
			}
			r = r.below[string(key)]
		}
	}
	r.whole = true
}

// of returns the part of a value that is read. Integers are exact.
func (r *reads) of(value any) (ast.Value, error) {
	switch v := value.(type) {
	case map[string]any:
		object := ast.NewObject()
		for key, item := range v {
			below := r.below[key]
			if r.whole {
				below = r
			}
			if below == nil {
				continue
			}
			converted, err := below.of(item)
			if err != nil {
				return nil, err
			}
			object.Insert(ast.InternedTerm(key), ast.NewTerm(converted))
		}
		return object, nil
	case []any:
		items := make([]*ast.Term, len(v))
		for i, item := range v {
			converted, err := (&reads{whole: true}).of(item)
			if err != nil {
				return nil, err
			}
			items[i] = ast.NewTerm(converted)
		}
		return ast.NewArray(items...), nil
	case uint64:
		return ast.Number(strconv.FormatUint(v, 10)), nil // OPA takes the largest for -1
	case float64:
		text, err := json.Marshal(v)
		return ast.Number(text), err
	}
	return ast.InterfaceToValue(value)
}

// store reads the data of each evaluation from its transaction, so that a query is prepared once.
type store struct{ storage.Store }

// evaluation is the data of one evaluation.
type evaluation struct {
	storage.Transaction
	data storage.Store
}

// Read implements [storage.Store].
func (s store) Read(ctx context.Context, t storage.Transaction, path storage.Path) (any, error) {
	if e, ok := t.(evaluation); ok {
		return e.data.Read(ctx, e.Transaction, path)
	}
	return s.Store.Read(ctx, t, path)
}

// with returns the data of the policies with what they read of that below data.lockage.
func (p *Policies) with(ctx context.Context, below map[string]any) (e evaluation, err error) {
	data := maps.Clone(p.data)
	if data[namespace], err = p.lockage.of(below); err != nil {
		return e, err
	}
	e.data = inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true))
	e.Transaction, err = e.data.NewTransaction(ctx)
	return e, err
}
