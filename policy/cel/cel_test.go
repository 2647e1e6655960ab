package cel

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func variables(t testing.TB) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(`{"o": {"kind": "Deployment", "spec": {"replicas": 3, "half": 1.5}, "big": 18446744073709551615, "exact": 9007199254740993},
		"list": ["a", "b"], "nothing": null}`))
	decoder.UseNumber()
	var m map[string]any
	if err := decoder.Decode(&m); err != nil {
		t.Fatal(err)
	}
	m["objects"] = []map[string]any{{"n": int64(1)}, {"n": 2.0}}
	return m
}

func TestEval(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{ // true, false or part of the error
		`o.spec.replicas >= 2`:                            "true",
		`o.spec.replicas == 2`:                            "false",
		`o.spec.replicas >= 2.5 && o.spec.half < 2`:       "true",
		`o.exact == 9007199254740993 && o.big > o.exact`:  "true",
		`objects.all(x, x.n >= 1) && objects.size() == 2`: "true",
		`o.spec.absent > 1`:                               "no such key: absent",
		`has(o.spec.absent) && o.spec.absent > 1`:         "false",
		`o.?spec.?absent.orValue(7) == 7`:                 "true",
		`nothing == null && nothing != 1`:                 "true",
		`o.kind.lowerAscii().split("p").size() == 2`:      "true",
		`o.spec.all(k, v, v > 1)`:                         "true",
		`sets.contains(list, ["a"])`:                      "true",
		`list.exists(x, x.matches("^[ab]$"))`:             "true",
		`o.kind`:                                          "gave a value of type string, and must give true or false",
		`o.kind > 1`:                                      "no such overload",
		`1 / 0 == 1`:                                      "division by zero",
	} {
		p, err := Compile(expression, "o", "list", "nothing", "objects")
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		got, err := p.Eval(variables(t))
		switch want {
		case "true", "false":
			if err != nil || got != (want == "true") {
				t.Errorf("%s: %v, %v", expression, got, err)
			}
		default:
			if err == nil || got || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, %v, want %s", expression, got, err, want)
			}
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		"":                                   "1:",
		"o.\n spec ==":                       "2:9: ",
		"x.y && z":                           "1:1: undeclared reference to 'x'",
		`"a"`:                                "of type string, and must give true or false",
		"1 + 1 > 'a'":                        "no matching overload",
		"now()":                              "undeclared reference to 'now'",
		strings.Repeat(" ", MaxExpression+1): "at most 16384 are read",
		strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300): "recursion limit",
	} {
		if _, err := Compile(expression, "o"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: got %v, want %s", expression, err, want)
		}
	}
}

// TestEvalEnds has expressions that would take hours or all memory.
func TestEvalEnds(t *testing.T) {
	t.Parallel()
	many := make([]any, 2000)
	for i := range many {
		many[i] = strings.Repeat("a", 50)
	}
	for name, expression := range map[string]string{
		"loops":   `many.all(a, many.all(b, many.all(c, many.all(d, a == b || c == d))))`,
		"strings": `many.map(a, many.map(b, a + b)).size() > many.map(a, many.map(b, a + b)).size()`,
		"replace": `[0].map(x, many[0].replace("a", many[0]).replace("a", many[0]).replace("a", many[0]).replace("a", many[0])).size() > 1`,
		"sets":    `many.all(a, many.all(b, !sets.intersects(many, [a + b])))`,
	} {
		p, err := Compile(expression, "many")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err = p.Eval(map[string]any{"many": many}); err == nil {
			t.Errorf("%s: no error", name)
		}
		if took := time.Since(start); took > MaxTime+8*time.Second {
			t.Errorf("%s took %s: %v", name, took, err)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`o.spec.replicas >= 2`)
	f.Add(`o.?a[?0].orValue(1) in [1, 2u, b"x"]`)
	f.Add(`[1].map(x, {x: "%s".format([x])})`)
	f.Fuzz(func(t *testing.T, expression string) {
		p, err := Compile(expression, "o")
		if err != nil {
			return
		}
		if _, err := p.Eval(variables(t)); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("an error of several lines: %v", err)
		}
	})
}
