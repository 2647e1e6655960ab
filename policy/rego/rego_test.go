package rego

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
)

func files(pairs ...string) map[string][]byte {
	m := make(map[string][]byte)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = []byte(pairs[i+1])
	}
	return m
}

func compile(files map[string][]byte) (*Policies, error) {
	var b Bundle
	for name, data := range files {
		if err := b.Add(name, data); err != nil {
			return nil, err
		}
	}
	return b.Compile("")
}

func input() Input {
	return Input{
		Objects: []map[string]any{
			{"kind": "Deployment", "metadata": map[string]any{"name": "web"}, "spec": map[string]any{"replicas": int64(1)}},
			{"kind": "Service", "metadata": map[string]any{"name": "web"}},
			{"kind": "Deployment", "metadata": map[string]any{"name": "db"}, "spec": map[string]any{"replicas": int64(3)}},
		},
		Data: map[string]any{"stage": "production", "release": map[string]any{"id": "git-1"}},
	}
}

func TestEval(t *testing.T) {
	t.Parallel()
	const web = `input.kind == "Deployment"; input.metadata.name == "web"`
	for name, c := range map[string]struct {
		policy string // a module's rules
		denies []Finding
		warns  []Finding
	}{
		"nothing":       {`deny contains "no" if input.kind == "Pod"`, nil, nil},
		"one object":    {`deny contains msg if { input.kind == "Deployment"; input.spec.replicas < 2; msg := sprintf("%s has %d", [input.metadata.name, input.spec.replicas]) }`, []Finding{{"data.main.deny", "web has 1", []int{0}}}, nil},
		"several":       {`violation contains {"msg": "a deployment", "details": {}} if input.kind == "Deployment"`, []Finding{{"data.main.violation", "a deployment", []int{0, 2}}}, nil},
		"a warning":     {`warn contains "careful" if { ` + web + ` }`, nil, []Finding{{"data.main.warn", "careful", []int{0}}}},
		"longer names":  {"deny_a contains \"x\" if { " + web + " }\nwarn_b contains \"y\" if { " + web + " }\ndenying contains \"z\"", []Finding{{"data.main.deny_a", "x", []int{0}}}, []Finding{{"data.main.warn_b", "y", []int{0}}}},
		"simply true":   {`deny if { ` + web + ` }`, []Finding{{"data.main.deny", "(without a message)", []int{0}}}, nil},
		"simply false":  {"default deny := false\n", nil, nil},
		"one message":   {`deny := "no" if { ` + web + ` }`, []Finding{{"data.main.deny", "no", []int{0}}}, nil},
		"map of true":   {`deny[msg] if { ` + web + `; msg := "no" }`, []Finding{{"data.main.deny", "no", []int{0}}}, nil},
		"by topic":      {`deny.size contains "no" if { ` + web + ` }`, []Finding{{"data.main.deny", "no", []int{0}}}, nil},
		"about all":     {`deny contains "staging" if data.lockage.stage == "production"`, []Finding{{"data.main.deny", "staging", []int{0, 1, 2}}}, nil},
		"with data":     {`deny contains "known" if { input.metadata.name in data.limits.names; input.kind == "Service" }`, []Finding{{"data.main.deny", "known", []int{1}}}, nil},
		"with function": {"deny(x) := x\nwarn contains \"w\" if { " + web + " }", nil, []Finding{{"data.main.warn", "w", []int{0}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := compile(files("main.rego", "package main\n"+c.policy, "limits/data.yaml", "names: [web, mail]\n"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Eval(input())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.denies, got.Denials); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.warns, got.Warnings); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEveryPackage has rules and data in several folders and packages.
func TestEveryPackage(t *testing.T) {
	t.Parallel()
	p, err := compile(files(
		"a.rego", "package main\nimport data.lib\ndeny contains lib.message",
		"b/b.rego", "package team.network\nviolation contains \"b\"",
		"b/c.rego", "package team[\"net work\"]\nwarn_x contains data.b.words[_]",
		"lib.rego", "package lib\nmessage := \"from lib\"",
		"b/data.json", `{"words": ["w"]}`,
		"data.yml", "b: {more: 1}\n",
	))
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Eval(Input{}) // and no object
	if err != nil {
		t.Fatal(err)
	}
	want := Report{
		Rules:    []string{"data.main.deny", "data.team.network.violation", `data.team["net work"].warn_x`},
		Denials:  []Finding{{Rule: "data.main.deny", Message: "from lib"}, {Rule: "data.team.network.violation", Message: "b"}},
		Warnings: []Finding{{Rule: `data.team["net work"].warn_x`, Message: "w"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	rules := func(text string) map[string][]byte { return files("p/main.rego", "package main\n"+text) }
	with := func(body string) map[string][]byte {
		return rules("deny contains \"x\" if { " + body + " }")
	}
	for want, bundle := range map[string]map[string][]byte{
		"undefined function http.send":                                 with(`http.send({"method": "get", "url": "http://127.0.0.1"})`),
		"undefined function net.lookup_ip_addr":                        with(`net.lookup_ip_addr("example.com")`),
		"undefined function net.cidr_contains":                         with(`net.cidr_contains("10.0.0.0/8", "10.0.0.1")`),
		"undefined function opa.runtime":                               with(`opa.runtime().env.HOME`),
		"undefined function time.now_ns":                               with(`time.now_ns() > 0`),
		"undefined function rand.intn":                                 with(`rand.intn("x", 2) == 1`),
		"undefined function uuid.rfc4122":                              with(`uuid.rfc4122("x") == ""`),
		"undefined function json.match_schema":                         with(`json.match_schema({}, {"$ref": "file:///etc/passwd"})`),
		"undefined function strings.render_template":                   with(`strings.render_template("{{range .a}}{{range $.a}}{{end}}{{end}}", {"a": []}) == ""`),
		"undefined function graph.reachable_paths":                     with(`graph.reachable_paths({}, []) == set()`),
		"undefined function bits.lsh":                                  with(`bits.lsh(1, 1000000000000) > 0`),
		"undefined function io.jwt.decode_verify":                      with(`io.jwt.decode_verify("", {})`),
		"undefined function crypto.x509.parse_and_verify_certificates": with(`crypto.x509.parse_and_verify_certificates("")`),
		"p/main.rego:2:1: rego_parse_error":                            rules("deny[msg] { msg := 1 }"),
		"p/main.rego:2:15: rego_unsafe_var_error":                      rules(`deny contains x if { y := 1 }`),
		"no rule deny, violation or warn in 1 policy files":            rules("allow := true"),
		"no rule deny, violation or warn in 0 policy files":            {},
		"package data.lockage.x is where lockage puts":                 files("a.rego", "package lockage.x\ndeny contains \"x\""),
		"data.lockage is where lockage puts":                           files("lockage/data.json", `{"a": 1}`),
		"another data file has a value at \"a\" already":               files("data.json", `{"a": 1}`, "data.yaml", "a: 2"),
		"another data file has a value at \"b\" already":               files("data.json", `{"b": 1}`, "b/data.yaml", "a: 2"),
		"data.yaml: expected an object":                                files("data.yaml", "[1]"),
		"notes.txt is neither":                                         files("notes.txt", "x"),
		"more than 8388608 bytes":                                      files("data.json", `{"a":"`+strings.Repeat("x", MaxBytes)+`"}`),
	} {
		if _, err := compile(bundle); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	many := make(map[string][]byte)
	for i := range MaxFiles + 1 {
		many[fmt.Sprint(i, ".rego")] = nil
	}
	if _, err := compile(many); err == nil || !strings.Contains(err.Error(), "more than 1000 files") {
		t.Errorf("got %v", err)
	}
}

// TestEvalFails has policies whose answer must not be taken for consent.
func TestEvalFails(t *testing.T) {
	t.Parallel()
	for want, rule := range map[string]string{
		"to_number: strconv":                        `deny contains "x" if to_number(input.kind) > 1`,
		"gave a value of type":                      `deny contains 1`,
		"eval_conflict_error":                       "deny := \"a\" if input.kind\ndeny := \"b\" if input.kind",
		"evaluation takes more than 10000000 steps": `deny contains "x" if { a := numbers.range(1, 20000)[_]; b := numbers.range(1, 20000)[_]; a * b == -1 }`,
		"nested deeper":                             `deny := ` + strings.Repeat("[", 20) + strings.Repeat("]", 20),
	} {
		p, err := compile(files("main.rego", "package main\n"+rule))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Eval(input()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestStepsAreCounted holds that the same evaluation takes the same steps, and those of all objects count together.
func TestStepsAreCounted(t *testing.T) {
	t.Parallel()
	p, err := compile(files("main.rego", "package main\ndeny contains x if { x := input.list[_]; x > 5 }"))
	if err != nil {
		t.Fatal(err)
	}
	var taken []int64
	for _, objects := range []int{1, 1, 10} {
		in := Input{}
		for range objects {
			in.Objects = append(in.Objects, map[string]any{"list": []any{1, 2, 3}})
		}
		count := &steps{}
		if _, err := p.eval(in, count); err != nil {
			t.Fatal(err)
		}
		taken = append(taken, count.taken.Load())
	}
	if taken[0] == 0 || taken[0] != taken[1] || taken[2] < 9*taken[0] {
		t.Errorf("steps are %v", taken)
	}
	over := &steps{}
	over.Cancel()
	if _, err := p.eval(Input{}, over); err == nil || !strings.Contains(err.Error(), "more than 10000000 steps") {
		t.Errorf("got %v", err)
	}
}

// TestHermetic pins what is taken away, so that a new version of OPA with more of it is looked at.
func TestHermetic(t *testing.T) {
	t.Parallel()
	left := hermetic().Builtins
	var gone []string
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		if !slices.ContainsFunc(left, func(l *ast.Builtin) bool { return l.Name == b.Name }) {
			gone = append(gone, b.Name)
		}
	}
	slices.Sort(gone)
	want := []string{
		"bits.lsh", "crypto.x509.parse_and_verify_certificates", "crypto.x509.parse_and_verify_certificates_with_options",
		"graph.reachable_paths", "http.send", "io.jwt.decode_verify", "io.jwt.encode_sign", "io.jwt.encode_sign_raw", "json.match_schema", "json.verify_schema", "net.cidr_contains", "net.cidr_contains_matches",
		"net.cidr_expand", "net.cidr_intersects", "net.cidr_is_valid", "net.cidr_merge", "net.cidr_overlap", "net.lookup_ip_addr", "opa.runtime",
		"rand.intn", "strings.render_template", "time.now_ns", "uuid.rfc4122",
	}
	if diff := cmp.Diff(want, gone); diff != "" {
		t.Error(diff)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("package main\ndeny contains msg if { msg := input.kind }", "a: 1")
	f.Add("package main\nimport data.x\nwarn_a[x] := 1 if some x in data.x", `{"x": [1, {"b": null}]}`)
	f.Fuzz(func(t *testing.T, module, data string) {
		p, err := compile(files("d/main.rego", module, "d/data.yaml", data))
		if err != nil {
			return
		}
		_, _ = p.Eval(Input{Objects: []map[string]any{{"kind": "x"}}})
	})
}
