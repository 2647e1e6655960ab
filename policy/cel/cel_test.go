package cel

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
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
		`o + 1 == 2`:                                      "no such overload: _+_",
		`o.spec.replicas.matches("3")`:                    "no such overload: matches",
		`o + 1 == 2 || o.spec.replicas == 3`:              "true",
		`[1, "a"].exists(x, x.matches("a"))`:              "true",
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

func TestNames(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		`o.kind == "diff" && o.list == []`:                "o",
		`list.all(x, has(x.o)) && o["diff"] == 1`:         "o list",
		`[list].map(x, {"a": x.filter(y, y == o)}) == []`: "o list",
		`[1].exists(i, v, v == 1 && o.diff > 0)`:          "o",
		`o.?diff.orValue(1) == 1`:                         "o",
		`true`:                                            "",
	} {
		p, err := Compile(expression, "o", "list", "diff")
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		var named []string
		for _, name := range []string{"o", "list", "diff"} {
			if p.Names(name) {
				named = append(named, name)
			}
		}
		if got := strings.Join(named, " "); got != want {
			t.Errorf("%s: names %q, want %q", expression, got, want)
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
		`google.protobuf.Value{} == null`:    "makes a protocol buffer message",
		"now()":                              "undeclared reference to 'now'",
		strings.Repeat(" ", MaxExpression+1): "at most 16384 are read",
		strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300): "recursion limit",
	} {
		if _, err := Compile(expression, "o"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: got %v, want %s", expression, err, want)
		}
	}
}

// TestEvalEnds has expressions that would take hours or all memory. Each ends by a count of steps.
func TestEvalEnds(t *testing.T) {
	t.Parallel()
	many := make([]any, 2000)
	for i := range many {
		many[i] = strings.Repeat("a", 50)
	}
	long := strings.Repeat("a", 1<<20)
	bounded := regexp.MustCompile("cost limit exceeded|one call of [a-zA-Z.=]+ takes more than 20000000 steps")
	for name, expression := range map[string]string{
		"loops":       `many.all(a, many.all(b, many.all(c, many.all(d, a == b || c == d))))`,
		"strings":     `many.map(a, many.map(b, a + b)).size() > many.map(a, many.map(b, a + b)).size()`,
		"replace":     `[0].map(x, many[0].replace("a", many[0]).replace("a", many[0]).replace("a", many[0]).replace("a", many[0])).size() > 1`,
		"replace ''":  `long.replace("", many[0]).size() > 0`,
		"sets":        `many.all(a, many.all(b, !sets.intersects(many, [a + b])))`,
		"large sets":  `sets.equivalent(many.map(a, many), many.map(a, many))`,
		"indexOf":     `long.indexOf(long + "b") < 0`,
		"lastIndexOf": `long.lastIndexOf(long + "b") < 0`,
		"matches":     `long.matches("(a?b?c?d?e?f?){20}x{1000}")`,
		"join":        `many.join(long).size() > 0`,
		"equal":       strings.Repeat(`[`, 25) + `many` + strings.Repeat(`].map(x, [x, x])`, 25) + ` == many`,
		"in":          `many in ` + strings.Repeat(`[`, 25) + `many` + strings.Repeat(`].map(x, [x, x])`, 25),
		"sums":        `[many]` + strings.Repeat(`.map(x, x + x)`, 25) + `.all(x, x.all(y, y.size() > 0))`,
		"sums of one": `[long]` + strings.Repeat(`.map(x, x + x)`, 25) + ` == []`,
	} {
		p, err := Compile(expression, "many", "long")
		if err != nil {
			t.Fatal(err)
		}
		if _, err = p.Eval(map[string]any{"many": many, "long": long}); err == nil || !bounded.MatchString(err.Error()) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// counted is a list that counts how often an item of it is read.
type counted struct {
	traits.Lister
	reads *int
}

func (c counted) Get(index ref.Val) ref.Val {
	*c.reads++
	return c.Lister.Get(index)
}

func (c counted) Iterator() traits.Iterator { return &iterator{c.Lister.Iterator(), c.reads} }

type iterator struct {
	traits.Iterator
	reads *int
}

func (i *iterator) Next() ref.Val {
	*i.reads++
	return i.Iterator.Next()
}

// TestStepsBoundWork has a list in lists, twice in each: calls that are refused read no more items than their steps. Refusals cost
// too, since `||` goes on after them.
func TestStepsBoundWork(t *testing.T) {
	t.Parallel()
	nested := `[list]` + strings.Repeat(`.map(x, [x, x])`, 25)
	for name, expression := range map[string]string{
		"refused":      nested + ` == ` + nested,
		"refused anew": nested + `.exists(x, ` + strings.Repeat(`x == x || `, 50) + `false)`,
	} {
		p, err := Compile(expression, "list")
		if err != nil {
			t.Fatal(err)
		}
		reads := 0
		list := counted{types.NewRefValList(types.DefaultTypeAdapter, []ref.Val{types.Int(1)}), &reads}
		if _, err := p.Eval(map[string]any{"list": list}); err == nil || !strings.Contains(err.Error(), "cost limit exceeded") && !strings.Contains(err.Error(), "more than 20000000 steps") {
			t.Errorf("%s: got %v", name, err)
		}
		if reads > 2*MaxCall/bytesPerItem {
			t.Errorf("%s: %d reads", name, reads)
		}
	}
}

// TestBoundedCalls holds that bounded calls give what the library gives.
func TestBoundedCalls(t *testing.T) {
	t.Parallel()
	for _, expression := range []string{
		`1 == 1 && 1 != 2 && dyn(1) == 1.0 && "a" != "b" && [1, 2] == [1, 2] && {"a": [1]} == {"a": [1]} && !([1] == [2])`,
		`[1] + [2, 3] == [1, 2, 3] && [1] + [] == [1] && ([1] + [2])[1] == 2 && 3 in [1] + [2] + [3] && 1 + 1 == 2 && "a" + "b" == "ab" && b"a" + b"b" == b"ab"`,
		`1 in [1, 2] && !(3 in [1, 2]) && "a" in {"a": 1}`,
		`"abc".matches("^a") && !"abc".matches("b$")`,
		`"abcabc".replace("b", "x") == "axcaxc" && "abcabc".replace("b", "x", 1) == "axcabc"`,
		`["a", "b"].join() == "ab" && ["a", "b"].join("-") == "a-b"`,
		`"%s is %d and %.2f".format(["x", 3, 1.5]) == "x is 3 and 1.50"`,
		`"abca".indexOf("a") == 0 && "abca".indexOf("a", 1) == 3 && "abca".lastIndexOf("a") == 3 && "abca".lastIndexOf("a", 2) == 0`,
		`sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1]) && sets.intersects([1], [1, 2])`,
		`optional.of([1]) == optional.of([1]) && optional.none() != optional.of(1)`,
	} {
		p, err := Compile(expression)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := p.Eval(nil); err != nil || !ok {
			t.Errorf("%s: %v, %v", expression, ok, err)
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
