package policy

import (
	"fmt"
	"strings"

	"github.com/lockage/lockage/policy/cel"
	"github.com/lockage/lockage/policy/rego"
)

// variables are what CEL expressions see of a promotion, and Rego in data.lockage.
func (f Facts) variables() map[string]any {
	return map[string]any{
		"objects":     objects(f.Objects),
		"liveObjects": objects(f.LiveObjects),
		"release":     map[string]any{"id": f.Release, "commit": f.Commit},
		"pipeline":    f.Pipeline,
		"stage":       f.Stage,
		"image": map[string]any{
			"repository": f.Image.Repository,
			"digest":     f.Image.Digest.String(),
			"ref":        f.Image.Repository + "@" + f.Image.Digest.String(),
		},
		"diff": f.Diff,
	}
}

// objects is a list as expressions take it: never null.
func objects(list []map[string]any) []any {
	out := make([]any, len(list))
	for i, o := range list {
		out[i] = o
	}
	return out
}

func (f Facts) cel(expression string) GateResult {
	variables := f.variables()
	names := make([]string, 0, len(variables))
	for name := range variables {
		names = append(names, name)
	}
	program, err := cel.Compile(expression, names...)
	if err != nil {
		return fail("does not compile: %s", plain(err.Error()))
	}
	ok, err := program.Eval(variables)
	switch {
	case err != nil:
		return fail("cannot be told: %s; it takes: %s", plain(err.Error()), plain(expression))
	case !ok:
		return fail("false: it takes: %s", plain(expression))
	}
	return pass("true: %s", plain(expression))
}

func (f Facts) rego(argument string) GateResult {
	if reason := f.Unusable[argument]; reason != "" {
		return fail("%s", plain(reason))
	}
	bundle, ok := f.Modules[argument]
	if !ok || len(bundle) == 0 {
		return fail("there are no policies in %s: commit some there", plain(argument))
	}
	policies, err := rego.Compile(bundle)
	if err != nil {
		return fail("%s: %s", plain(argument), plain(err.Error()))
	}
	report, err := policies.Eval(rego.Input{Objects: f.Objects, Data: f.variables()})
	if err != nil {
		return fail("%s: %s", plain(argument), plain(err.Error()))
	}
	warned := ""
	if len(report.Warnings) > 0 {
		warned = "; " + count(len(report.Warnings), "warning", "warnings") + ": " + f.findings(report.Warnings)
	}
	if len(report.Denials) > 0 {
		return fail("%s: %s%s", count(len(report.Denials), "denial", "denials"), f.findings(report.Denials), warned)
	}
	return pass("%s of %s deny nothing in %s%s", count(len(report.Rules), "rule", "rules"), plain(argument),
		count(len(f.Objects), "object", "objects"), warned)
}

// maxFindings is how many messages of policies stand in a reason.
const maxFindings = 10

// findings tells what policies gave, and of which objects.
func (f Facts) findings(list []rego.Finding) string {
	var b strings.Builder
	for i, found := range list {
		if i == maxFindings {
			fmt.Fprintf(&b, "; and %d more", len(list)-maxFindings)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(plain(found.Message))
		if n := len(found.Objects); n > 0 && n < len(f.Objects) || n == 1 {
			b.WriteString(" (" + title(f.Objects[found.Objects[0]]))
			if n > 1 {
				fmt.Fprintf(&b, " and %d more", n-1)
			}
			b.WriteString(")")
		}
	}
	return b.String()
}

// title names an object for people.
func title(object map[string]any) string {
	kind, _ := object["kind"].(string)
	name, _ := lookUp(object, "metadata", "name").(string)
	return plain(orDefault(kind, "object") + " " + name)
}
