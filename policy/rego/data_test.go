package rego

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestNames holds what policies are taken to read below data.lockage: what they name, and everything where they may name anything.
func TestNames(t *testing.T) {
	t.Parallel()
	for rules, want := range map[string]string{
		`deny contains "x" if input.kind == "Pod"`:                                                   "[]",
		`deny contains data.limits.message`:                                                          "[]",
		`deny contains "diff" if data["limits"].diff`:                                                "[]",
		`deny contains "x" if data.lockage.diff.counts.removed > 0`:                                  "[diff]",
		`deny contains "x" if data["lockage"]["diff"].counts.removed > 0`:                            "[diff]",
		"import data.lockage.diff\ndeny contains \"x\" if diff.counts.removed > 0":                   "[diff]",
		"import data.lockage as l\ndeny contains \"x\" if l.diff.counts.removed > 0":                 "[diff]",
		`deny contains "x" if input.names[data.lockage.objects[i].kind]`:                             "[objects]",
		`deny contains "x" if every o in data.lockage.liveObjects { o.kind }`:                        "[liveObjects]",
		`deny contains "x" if count([o | some o in data.lockage.objects; o.kind]) > 9`:               "[objects]",
		"g := 1 if false\nelse := data.lockage.diff\ndeny contains \"x\" if g":                       "[diff]",
		"f(x) := data.lockage.diff if x\ndeny contains \"x\" if f(1)":                                "[diff]",
		"default warn := false\ndeny contains \"x\" if not data.lockage.diff.counts":                 "[diff]",
		`deny contains "x" if input.kind with input as data.lockage.objects[0]`:                      "[objects]",
		`deny contains "x" if data.lockage`:                                                          "[objects liveObjects diff]",
		`deny contains "x" if { l := data.lockage; l.stage }`:                                        "[objects liveObjects diff]",
		`deny contains "x" if data.lockage[input.name]`:                                              "[objects liveObjects diff]",
		`deny contains "x" if data[input.package].diff`:                                              "[objects liveObjects diff]",
		`deny contains "x" if object.get(data.lockage, ["diff"], 1)`:                                 "[objects liveObjects diff]",
		`deny contains "x" if { some path, value; walk(data.lockage, [path, value]); value == "y" }`: "[objects liveObjects diff]",
	} {
		p, err := compile(files("p/main.rego", "package main\n"+rules, "limits/data.yaml", "message: no"))
		if err != nil {
			t.Errorf("%s: %v", rules, err)
			continue
		}
		named := []string{}
		for _, name := range []string{"objects", "liveObjects", "diff"} {
			if p.Names(name) {
				named = append(named, name)
			}
		}
		if got := fmt.Sprint(named); got != want {
			t.Errorf("%s: reads %s, want %s", rules, got, want)
		}
	}
}

// TestInput holds what policies are given of an object, and that they answer as if they had all of it.
func TestInput(t *testing.T) {
	t.Parallel()
	object := map[string]any{
		"kind": "Pod", "x": "kind", "metadata": map[string]any{"name": "web", "labels": map[string]any{"app": "web", "tier": int64(1)}},
		"spec": map[string]any{"on": true, "list": []any{map[string]any{"name": "a"}, "b", nil}, "other": map[string]any{"name": "web"}},
	}
	const all = `{"kind": "Pod", "metadata": {"labels": {"app": "web", "tier": 1}, "name": "web"}, "spec": {"list": [{"name": "a"}, "b", null], "on": true, "other": {"name": "web"}}, "x": "kind"}`
	for rules, want := range map[string]string{
		`deny contains "x"`:                                                                   `{}`,
		`deny contains input.kind`:                                                            `{"kind": "Pod"}`,
		`deny contains input.metadata.name if input["x"]`:                                     `{"metadata": {"name": "web"}, "x": "kind"}`,
		`deny contains input.metadata.name.below if input.x.y`:                                `{"metadata": {"name": "web"}, "x": "kind"}`,
		`deny contains "x" if not input.metadata.absent`:                                      `{"metadata": {}}`,
		`deny contains "x" if input.metadata == {"name": "web"}`:                              `{"metadata": {"labels": {"app": "web", "tier": 1}, "name": "web"}}`,
		`deny contains k if some k, _ in input.metadata.labels`:                               `{"metadata": {"labels": {"app": "web", "tier": 1}}}`,
		`deny contains input.spec.list[0].name`:                                               `{"spec": {"list": [{"name": "a"}, "b", null]}}`,
		`deny contains input.spec.list[_].name`:                                               `{"spec": {"list": [{"name": "a"}, "b", null]}}`,
		`deny contains input.spec[k].name if k := "other"`:                                    `{"spec": {"list": [{"name": "a"}, "b", null], "on": true, "other": {"name": "web"}}}`,
		`deny contains "x" if input[input.x] == "Pod"`:                                        all,
		`deny contains k if some k, _ in input`:                                               all,
		`deny contains sprintf("%v", [input])`:                                                all,
		`deny contains "x" if { i := input; i.kind == "Pod" }`:                                all,
		`deny contains "x" if { some p, v; walk(input, [p, v]); v == "a" }`:                   all,
		`deny contains "x" if input.kind == "Job" with input as {"kind": "Job"}`:              all,
		`deny contains "x" if input.kind == "Job" with input.kind as "Job"`:                   `{"kind": "Pod"}`,
		"import input.metadata as m\ndeny contains m.name":                                    `{"metadata": {"name": "web"}}`,
		"import input as o\ndeny contains o.metadata.name":                                    `{"metadata": {"name": "web"}}`,
		"deny[input.kind] := input.x if true":                                                 `{"kind": "Pod", "x": "kind"}`,
		"deny.of[input.kind] contains input.x":                                                `{"kind": "Pod", "x": "kind"}`,
		"f(o) := o.metadata.name\ndeny contains f(input)":                                     all,
		"default deny := false\ndeny := input.kind if false\nelse := input.x":                 `{"kind": "Pod", "x": "kind"}`,
		`deny contains "x" if every n in [input.kind] { n == input.spec.on }`:                 `{"kind": "Pod", "spec": {"on": true}}`,
		`deny contains concat("", [n | n := {"a": input.kind}[_]])`:                           `{"kind": "Pod"}`,
		`deny contains "x" if count({n: 1 | n := input.metadata.labels[_]}) == 2`:             `{"metadata": {"labels": {"app": "web", "tier": 1}}}`,
		`deny contains object.get(input, ["metadata", "name"], "none")`:                       all,
		`deny contains object.get(input.metadata, "name", "none")`:                            `{"metadata": {"labels": {"app": "web", "tier": 1}, "name": "web"}}`,
		`deny contains data.lib.says`:                                                         `{"metadata": {"labels": {"app": "web", "tier": 1}}}`,
		`deny contains "x" if { a := [input.kind, input.x]; b := {"k": a}; b.k[0] == "Pod" }`: `{"kind": "Pod", "x": "kind"}`,
		`deny contains $"{input.kind}"`:                                                       `{"kind": "Pod"}`,
	} {
		modules := files("p/main.rego", "package main\n"+rules)
		if strings.Contains(rules, "data.lib") {
			modules["lib.rego"] = []byte("package lib\nsays := concat(\",\", [k | some k, _ in input.metadata.labels])")
		}
		p, err := compile(modules)
		if err != nil {
			t.Errorf("%s: %v", rules, err)
			continue
		}
		given, err := p.input.of(object)
		if err != nil || given.String() != want {
			t.Errorf("%s: %v, given %v, want %s", rules, err, given, want)
		}
		in := Input{Objects: []map[string]any{object, {}}}
		got, err := p.Eval(in)
		p.input = &reads{whole: true}
		whole, wholeErr := p.Eval(in)
		if diff := cmp.Diff(whole, got); diff != "" || fmt.Sprint(err) != fmt.Sprint(wholeErr) {
			t.Errorf("%s: of all of it %v, of what it reads %v: %s", rules, wholeErr, err, diff)
		}
	}
}

// TestEvaluationsAreApart has two evaluations of one set of policies with other data, and objects that are asked about piece by piece.
func TestEvaluationsAreApart(t *testing.T) {
	t.Parallel()
	p, err := compile(files("main.rego", `package main
deny contains sprintf("%s: %v of %v, %v", [data.lockage.stage, input.spec.list[1], input.spec, data.lists.all[0]]) if input.spec.on
deny contains "all of it" if { some path, value; walk(input, [path, value]); value == 1.5 }`, "lists/data.json", `{"all": [7]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, stage := range []string{"test", "production"} {
		got, err := p.Eval(Input{
			Objects: []map[string]any{{"spec": map[string]any{"on": true, "list": []any{int64(1), uint64(18446744073709551615), 1.5, nil}}}},
			Data:    map[string]any{"stage": stage, "diff": make(chan int)}, // what has no form in JSON is not looked at
		})
		want := stage + `: 18446744073709551615 of {"list": [1, 18446744073709551615, 1.5, null], "on": true}, 7`
		if err != nil || len(got.Denials) != 2 || got.Denials[0].Message != "all of it" || got.Denials[1].Message != want {
			t.Errorf("%v, %+v, want %s", err, got, want)
		}
	}
}
