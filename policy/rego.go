package policy

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy/rego"
)

// regoGate asks that policies deny nothing.
type regoGate struct {
	argument string
	policies *rego.Policies // nil for those that are collected: a bundle in a registry, or a folder named by release
}

// pinnedBundle is a bundle that cannot change: it may have a tag too, the digest decides.
var pinnedBundle = regexp.MustCompile(`^oci://([a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]+)?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?@sha256:[0-9a-f]{64}$`)

func parseRego(argument string, d *pipeline.Declaration) pipeline.Condition {
	g := regoGate{argument: argument}
	bundle := strings.HasPrefix(argument, "oci://")
	kept := d.Rule("", func(string) string {
		switch {
		case !bundle:
			return pipeline.RepositoryPath(argument)
		case !pinnedBundle.MatchString(argument):
			return "is not a bundle pinned by digest: write one like oci://ghcr.io/acme/policies@sha256:<64 hex>"
		}
		return ""
	})
	if !kept || bundle || d.OfRelease("") {
		return g
	}
	var err error
	g.policies, err = pipeline.Once(d, "rego "+argument, func() (*rego.Policies, error) { return rego.Load(d.Files(), argument) })
	switch {
	case errors.Is(err, rego.ErrUnusable):
		d.Report("", "%v", err)
	case err != nil:
		d.Fail(fmt.Errorf("rego %w", err))
	}
	return g
}

func (regoGate) Signers() pipeline.Signers { return pipeline.Signers{} }

func (g regoGate) Need(n *Needs) {
	n.Seen.Objects = true // as input
	if g.policies == nil {
		n.Policies = append(n.Policies, g.argument)
		return
	}
	n.Seen.Add(g.policies.Names)
}

func (g regoGate) Judge(f Facts) GateResult {
	if reason := f.Unusable[g.argument]; reason != "" {
		return fail("%s", plain(reason))
	}
	policies := g.policies
	if policies == nil {
		policies = f.Policies[g.argument]
	}
	if policies == nil {
		return fail("no policies in %s: commit some there", plain(g.argument))
	}
	report, err := policies.Eval(rego.Input{Objects: f.Objects, Data: f.variables()})
	if err != nil {
		return fail("%s: %s", plain(g.argument), plain(err.Error()))
	}
	warned := ""
	if len(report.Warnings) > 0 {
		warned = "; " + count(len(report.Warnings), "warning", "warnings") + ": " + f.findings(report.Warnings)
	}
	if len(report.Denials) > 0 {
		return fail("%s: %s%s", count(len(report.Denials), "denial", "denials"), f.findings(report.Denials), warned)
	}
	return pass("%s of %s deny nothing in %s%s", count(len(report.Rules), "rule", "rules"), plain(g.argument),
		count(len(f.Objects), "object", "objects"), warned)
}

// maxFindings bounds the messages of policies in a reason.
const maxFindings = 10

// findings lists what policies gave, and for which objects.
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
	return plain(cmp.Or(kind, "object") + " " + name)
}
