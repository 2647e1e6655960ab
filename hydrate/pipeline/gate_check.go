package pipeline

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lockage/lockage/internal/strictyaml"
)

// maxWindowRules bounds allow and deny: whether a window is open, and when it opens, asks each of them.
const maxWindowRules = 100

var (
	gateName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	// regoBundle is a bundle of policies that cannot change: a tag may stand in it, the digest decides.
	regoBundle = regexp.MustCompile(`^oci://([a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]+)?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?@sha256:[0-9a-f]{64}$`)
)

// gateSigners lists, gate by gate, the identities that gates name.
func gateSigners(gates []Gate) [][]string {
	var names [][]string
	for _, g := range gates {
		switch {
		case g.Soak != nil:
			names = append(names, g.Soak.By)
		case g.Attestation != nil:
			names = append(names, g.Attestation.By)
		case g.Approval != nil:
			names = append(names, g.Approval.By)
		case g.Image != nil:
			names = append(names, g.Image.By)
		}
	}
	return names
}

// gateStages lists the stages that gates name.
func gateStages(gates []Gate) []string {
	var names []string
	for _, g := range gates {
		if g.Soak != nil {
			names = append(names, g.Soak.Stage)
		}
		if g.Attestation != nil {
			if name, ok := strings.CutPrefix(g.Attestation.Subject, "stage:"); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

// checkGates judges the gates of a stage.
func (e effective) checkGates(p *Pipeline, c *checker) {
	names := make(map[string]bool)
	for i, g := range e.Gates {
		node := e.doc.Find("gates", i)
		if node == nil || node.Kind != strictyaml.Map {
			continue
		}
		e.checkGateName(c, g, i, names)
		set := slices.DeleteFunc(slices.Clone(node.Entries), func(entry strictyaml.Entry) bool {
			return entry.Value.IsNull() || entry.Key == "name"
		})
		if len(set) != 1 {
			c.add(node.Pos, "a gate has exactly one condition, this one has %d: write one list item each", len(set))
		}
		if g.Soak != nil {
			e.checkStage(p, c, g.Soak.Stage, "gates", i, "soak", "stage")
			c.rule(e.doc, duration, "gates", i, "soak", "for")
			e.checkBy(c, g.Soak.By, nil, "gates", i, "soak")
			if g.Soak.By != nil && !g.Soak.Healthy {
				c.add(e.doc.At("gates", i, "soak", "by").Pos, "soak.by says whose health attestations count: write healthy: true beside it")
			}
		}
		if a := g.Attestation; a != nil {
			c.rule(e.doc, matches(predicate, "is no predicate type: write a URI"), "gates", i, "attestation", "type")
			c.rule(e.doc, duration, "gates", i, "attestation", "maxAge")
			c.rule(e.doc, notEmpty, "gates", i, "attestation", "where")
			c.rule(e.doc, func(subject string) string {
				if subject == "artifact" || subject == "image" || strings.HasPrefix(subject, "stage:") {
					return ""
				}
				return "is not known: write artifact, image or stage:NAME"
			}, "gates", i, "attestation", "subject")
			if name, ok := strings.CutPrefix(a.Subject, "stage:"); ok {
				e.checkStage(p, c, name, "gates", i, "attestation", "subject")
			}
			e.checkBy(c, a.By, a.Count, "gates", i, "attestation")
		}
		if g.Approval != nil {
			e.checkBy(c, g.Approval.By, g.Approval.Count, "gates", i, "approval")
		}
		if g.Image != nil {
			e.checkBy(c, g.Image.By, nil, "gates", i, "image")
		}
		if g.Window != nil {
			e.checkWindow(c, g.Window, i)
		}
		c.rule(e.doc, repositoryPath, "gates", i, "file")
		c.rule(e.doc, regoSource, "gates", i, "rego")
		c.rule(e.doc, notEmpty, "gates", i, "cel")
	}
	e.checkBy(c, e.Waivers.By, e.Waivers.Count, "waivers")
}

// checkGateName judges a name that was given, and that no gate before has it.
func (e effective) checkGateName(c *checker, g Gate, i int, taken map[string]bool) {
	n := e.doc.Find("gates", i, "name")
	if !n.IsString() || c.unexpanded[n.Pos] {
		return
	}
	switch {
	case !gateName.MatchString(g.Name):
		c.add(n.Pos, "gate name %q is not at most 63 lower-case letters, digits and dashes", g.Name)
	case slices.Contains(gateKinds(), g.Name) || g.Name == "order":
		c.add(n.Pos, "gate name %q has a meaning of its own: say what this gate asks for", g.Name)
	case taken[g.Name]:
		c.add(n.Pos, "gate name %q is given twice in this stage", g.Name)
	}
	taken[g.Name] = true
}

// regoSource is the rule for where policies come from.
func regoSource(arg string) string {
	if !strings.HasPrefix(arg, "oci://") {
		return repositoryPath(arg)
	}
	if !regoBundle.MatchString(arg) {
		return "is no bundle pinned by digest: write one like oci://ghcr.io/acme/policies@sha256:<64 hex>"
	}
	return ""
}

func (e effective) checkWindow(c *checker, w *Window, i int) {
	if len(w.Allow) == 0 && len(w.Deny) == 0 {
		c.add(e.doc.At("gates", i, "window").Pos, "window: write allow, deny or both")
	}
	for key, list := range map[string][]string{"allow": w.Allow, "deny": w.Deny} {
		if len(list) > maxWindowRules {
			c.add(e.doc.At("gates", i, "window", key).Pos, "window.%s has %d entries, at most %d are read", key, len(list), maxWindowRules)
		}
	}
	c.rule(e.doc, func(span string) string {
		if !weekly.MatchString(span) {
			return "is no weekly time: write one like Mon-Thu 09:00-16:00"
		}
		return neverEmpty(span)
	}, "gates", i, "window", "allow")
	c.rule(e.doc, func(span string) string {
		from, to, _ := strings.Cut(span, "/")
		switch {
		case weekly.MatchString(span):
			return neverEmpty(span)
		case isDay(from) && isDay(to) && from <= to:
			return ""
		}
		return "is neither days such as 2026-12-20/2027-01-03 nor a weekly time such as Mon-Thu 09:00-16:00"
	}, "gates", i, "window", "deny")
	c.rule(e.doc, func(zone string) string {
		if !timezone.MatchString(zone) || zone == "Local" { // what is local depends on where the program runs
			return "is no time zone: write one like America/Los_Angeles"
		}
		return ""
	}, "gates", i, "window", "timezone")
}

// neverEmpty is the rule for a weekly time's two ends.
func neverEmpty(span string) string {
	_, clock, _ := strings.Cut(span, " ")
	if from, to, _ := strings.Cut(clock, "-"); from == to {
		return "begins when it ends: write 00:00-24:00 for a whole day"
	}
	return ""
}

// checkStage reports a stage that does not exist.
func (e effective) checkStage(p *Pipeline, c *checker, name string, path ...any) {
	n := e.doc.Find(path...)
	if _, ok := p.Stage(name); !ok && n.IsString() && !c.unexpanded[n.Pos] {
		c.add(n.Pos, "%s: there is no stage %q", pathName(path), name)
	}
}

// checkBy reports identities that nobody declared, and counts below one.
func (e effective) checkBy(c *checker, by []string, count *int, path ...any) {
	list := e.doc.Find(append(slices.Clip(path), "by")...)
	if list == nil || list.Kind != strictyaml.List {
		return
	}
	if len(by) == 0 {
		c.add(list.Pos, "%s.by is empty: name who is trusted", pathName(path))
	}
	for i, name := range by {
		if _, ok := e.Identities[name]; !ok && list.At(i).IsString() && !c.unexpanded[list.At(i).Pos] {
			c.add(list.At(i).Pos, "identity %q is not declared: add it to identities", name)
		}
	}
	if count == nil {
		return
	}
	at := e.doc.At(append(slices.Clip(path), "count")...).Pos
	// An identity given by an expression may be many people, one given by a key is one.
	oneEach := !slices.ContainsFunc(by, func(name string) bool { return e.Identities[name].SubjectRegexp != "" })
	switch {
	case *count < 1:
		c.add(at, "%s.count is %d: at least 1", pathName(path), *count)
	case oneEach && len(by) > 0 && *count > len(slices.Compact(slices.Sorted(slices.Values(by)))):
		c.add(at, "%s.count is %d, and by names fewer: it could never be met", pathName(path), *count)
	}
}

func isDay(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}
