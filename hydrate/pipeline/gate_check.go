package pipeline

import (
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/lockage/lockage/internal/memo"
	"github.com/lockage/lockage/internal/strictyaml"
)

// orderGate is the name of the gate that every stage with an after has.
const orderGate = "order"

// pullGate is the name of the gate of a pull request, beside one that counts approvals.
const pullGate = "pull-request"

// loaded is what the pipelines of one Load share.
type loaded struct {
	kinds []GateKind
	made  memo.Map[string, any]
}

// Declaration is where a condition is written, so that its kind can report what is wrong with it. Keys are those of the
// condition; "" is the condition itself.
type Declaration struct {
	effective
	pipeline *Pipeline
	checker  *checker
	files    fs.FS
	path     []any
	err      error
}

func (d *Declaration) at(key string) []any {
	if key == "" {
		return d.path
	}
	return append(slices.Clip(d.path), key)
}

// Report adds a problem at the value of a key, or at the condition where the key is absent. The message names the key.
func (d *Declaration) Report(key, format string, args ...any) {
	path := d.at(key)
	d.checker.add(d.doc.At(path...).Pos, "%s: "+format, append([]any{pathName(path)}, args...)...)
}

// Rule applies a rule to the string under a key, or to every string in the list there. A rule returns what is wrong, as the end
// of a sentence, or "". It does not see what is of another type or has placeholders without a value, which is reported already.
// Rule reports whether something is written there, and all of it keeps the rule.
func (d *Declaration) Rule(key string, rule func(value string) string) bool {
	return d.checker.rule(d.doc, rule, d.at(key)...)
}

// Duration parses the duration above zero under a key. It returns 0 if the key is absent.
func (d *Declaration) Duration(key string) time.Duration {
	var parsed time.Duration
	d.Rule(key, func(value string) string {
		var err error
		if parsed, err = time.ParseDuration(value); err != nil || parsed <= 0 {
			return "is not a duration above zero: write one like 2h or 90m"
		}
		return ""
	})
	return parsed
}

// Stage reports a stage that does not exist, named under a key.
func (d *Declaration) Stage(name, key string) {
	n := d.doc.Find(d.at(key)...)
	if _, ok := d.pipeline.Stage(name); ok || d.anyName || !n.IsString() || d.checker.unexpanded[n.Pos] {
		return
	}
	if d.pipeline.Disables(name) {
		d.Report(key, "stage %q is disabled: name another one, or remove the gate", name)
	} else {
		d.Report(key, "there is no stage %q: there are %s", name, strings.Join(slices.Sorted(slices.Values(d.pipeline.Order())), ", "))
	}
}

// Signers reports identities under the key by that are not declared, and a number under the key count that they cannot reach.
func (d *Declaration) Signers(by []string, count *int) { d.checkBy(d.checker, by, count, d.path...) }

// People is Signers where names that are not declared mean people whom the forge knows, or teams, which may be any number.
func (d *Declaration) People(by []string, count *int) {
	e := d.effective
	if slices.ContainsFunc(by, func(name string) bool { _, ok := e.Identities[name]; return !ok }) {
		e.anyName, e.anybody = true, true
	}
	e.checkBy(d.checker, by, count, d.path...)
}

// Files is the GitOps repository.
func (d *Declaration) Files() fs.FS { return d.files }

// Fail ends the loading with an error of reading files.
func (d *Declaration) Fail(err error) { d.err = err }

// OfRelease reports whether the string under a key differs by release: what it names need not exist before there is one.
func (d *Declaration) OfRelease(key string) bool {
	n := d.doc.Find(d.at(key)...)
	return n != nil && d.checker.ofRelease[n.Pos]
}

// Once returns what was made by the same key for another gate of the pipelines that were loaded together, or else makes it.
func Once[T any](d *Declaration, key string, create func() (T, error)) (T, error) {
	made, err := d.pipeline.loaded.made.Get(key, func() (any, error) { return create() })
	value, _ := made.(T)
	return value, err
}

// parseGates parses the gates of a stage, placeholders replaced, and reports problems. The error is one of reading files.
func (e *effective) parseGates(p *Pipeline, files fs.FS, c *checker) error {
	kinds := p.loaded.kinds
	names := make(map[string]bool)
	for i := range e.Gates {
		node := e.doc.Find("gates", i)
		if node == nil || node.Kind != strictyaml.Map {
			continue
		}
		name, declared, _ := decodeGate(kinds, node, "", true) // decodeGates reported problems
		g := Gate{Name: name}
		e.checkGateName(c, kinds, g, i, names)
		set := slices.DeleteFunc(slices.Clone(node.Entries), func(entry strictyaml.Entry) bool {
			return entry.Value.IsNull() || entry.Key == "name"
		})
		if len(set) != 1 {
			c.add(node.Pos, "a gate has exactly one condition, this one has %d: write one list item each", len(set))
		}
		for k, kind := range kinds {
			if declared[k] == nil {
				continue
			}
			d := &Declaration{effective: *e, pipeline: p, checker: c, files: files, path: []any{"gates", i, kind.Name}}
			g.Kind, g.Declared, g.Condition = kind.Name, declared[k], kind.parse(declared[k], d)
			if d.err != nil {
				return d.err
			}
		}
		e.Gates[i] = g
	}
	e.checkBy(c, e.Waivers.By, e.Waivers.Count, "waivers")
	return nil
}

// checkGateName judges a name that was given, and reports one that a gate before has.
func (e *effective) checkGateName(c *checker, kinds []GateKind, g Gate, i int, taken map[string]bool) {
	n := e.doc.Find("gates", i, "name")
	if !n.IsString() || c.unexpanded[n.Pos] {
		return
	}
	switch {
	case !longName.MatchString(g.Name):
		c.add(n.Pos, "gate name %q is not at most 63 lower-case letters, digits and dashes", g.Name)
	case slices.ContainsFunc(kinds, func(k GateKind) bool { return k.Name == g.Name }) || g.Name == orderGate || g.Name == pullGate:
		c.add(n.Pos, "gate name %q has a meaning of its own: say what this gate asks for", g.Name)
	case taken[g.Name]:
		c.add(n.Pos, "gate name %q is given twice in this stage", g.Name)
	}
	taken[g.Name] = true
}

// checkBy reports identities that are not declared, and counts below one.
func (e *effective) checkBy(c *checker, by []string, count *int, path ...any) {
	list := e.doc.Find(append(slices.Clip(path), "by")...)
	if list == nil || list.Kind != strictyaml.List {
		return
	}
	if len(by) == 0 {
		c.add(list.Pos, "%s.by is empty: name who is trusted", pathName(path))
	}
	for i, name := range by {
		if _, ok := e.Identities[name]; !ok && !e.anyName && list.At(i).IsString() && !c.unexpanded[list.At(i).Pos] {
			c.add(list.At(i).Pos, "identity %q is not declared: add it to identities", name)
		}
	}
	if count == nil {
		return
	}
	at := e.doc.At(append(slices.Clip(path), "count")...).Pos
	// An identity given by an expression may be many people, one given by a key is one.
	oneEach := !e.anybody && !slices.ContainsFunc(by, func(name string) bool { return e.Identities[name].SubjectRegexp != "" })
	switch {
	case *count < 1:
		c.add(at, "%s.count is %d: at least 1", pathName(path), *count)
	case oneEach && len(by) > 0 && *count > len(slices.Compact(slices.Sorted(slices.Values(by)))):
		c.add(at, "%s.count is %d, and by names fewer: it could never be met", pathName(path), *count)
	}
}
