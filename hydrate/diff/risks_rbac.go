package diff

import (
	"reflect"
	"slices"
	"strings"
)

// maxGrants bounds the grants of one role.
const maxGrants = 4000

const rbac = "rbac.authorization.k8s.io"

// grant is one right of a role; "*" means everything, and any name.
type grant struct{ verb, group, resource, name string }

func (g grant) String() string {
	s := g.verb + " " + g.resource
	if g.group != "" && !strings.HasPrefix(g.resource, "/") {
		s += "." + g.group
	}
	if g.name != "*" {
		s += " " + g.name
	}
	return s
}

// covers reports whether g includes h.
func (g grant) covers(h grant) bool {
	wide := func(a, b string) bool { return a == b || a == "*" }
	resource := wide(g.resource, h.resource)
	if sub, ok := strings.CutPrefix(g.resource, "*/"); ok {
		resource = strings.HasSuffix(h.resource, "/"+sub)
	}
	if strings.HasPrefix(h.resource, "/") { // a URL: "*" is at the end only
		prefix, wild := strings.CutSuffix(g.resource, "*")
		resource = strings.HasPrefix(g.resource, "/") && (g.resource == h.resource || wild && strings.HasPrefix(h.resource, prefix))
	}
	return wide(g.verb, h.verb) && wide(g.group, h.group) && resource && wide(g.name, h.name)
}

// dangerous reports whether the grant leads to more rights than it names.
func (g grant) dangerous() bool {
	return g.verb == "*" || g.resource == "*" || g.group == "*" ||
		g.verb == "escalate" || g.verb == "bind" || g.verb == "impersonate" ||
		g.resource == "secrets" || g.resource == "pods/exec" || g.resource == "nodes/proxy" || g.resource == "serviceaccounts/token"
}

// roleRisks names new rights of a role.
func roleRisks(c *comparison) []Risk {
	if !c.is(rbac, "Role", "ClusterRole") || c.after == nil {
		return nil
	}
	had, fits := grants(c.before)
	has, fit := grants(c.after)
	if !fits || !fit {
		return []Risk{{RiskRBAC, Danger, "role with too many rules to judge", nil}}
	}
	var more, dangerous []string
	for _, g := range has {
		switch {
		case slices.ContainsFunc(had, func(h grant) bool { return h.covers(g) }):
		case g.dangerous():
			dangerous = append(dangerous, g.String())
		default:
			more = append(more, g.String())
		}
	}
	risks := slices.Concat(risk(RiskRBAC, Danger, "role allows far more", dangerous), risk(RiskRBAC, Warning, "role allows more", more))
	if rule := get(c.after, "aggregationRule"); rule != nil && !reflect.DeepEqual(rule, get(c.before, "aggregationRule")) {
		risks = append(risks, Risk{RiskRBAC, Warning, "role takes in the rules of other roles", nil})
	}
	return risks
}

// grants multiplies out the rules of a role, and reports whether they are within bounds.
func grants(role map[string]any) ([]grant, bool) {
	var out []grant
	for _, rule := range mapsIn(role["rules"]) {
		verbs, groups, resources, names := textsIn(rule["verbs"]), textsIn(rule["apiGroups"]), textsIn(rule["resources"]), textsIn(rule["resourceNames"])
		urls := textsIn(rule["nonResourceURLs"])
		if len(names) == 0 {
			names = []string{"*"}
		}
		// Divided, since a product of many long lists would overflow.
		if room := maxGrants - len(out); len(verbs)*max(len(urls), 1) > room || len(groups) > 0 && len(resources) > 0 &&
			len(verbs)*len(groups) > room/len(resources)/len(names) {
			return nil, false
		}
		for _, verb := range verbs {
			for _, group := range groups {
				for _, resource := range resources {
					for _, name := range names {
						out = append(out, grant{verb, group, resource, name})
					}
				}
			}
			for _, url := range urls {
				out = append(out, grant{verb, "", url, "*"})
			}
		}
	}
	return out, true
}

// bindingRisks names new subjects of a role.
func bindingRisks(c *comparison) []Risk {
	if !c.is(rbac, "RoleBinding", "ClusterRoleBinding") || c.after == nil {
		return nil
	}
	role := text(get(c.after, "roleRef", "name"))
	had := subjects(c.before)
	if !reflect.DeepEqual(c.before["roleRef"], c.after["roleRef"]) {
		had = nil
	}
	var gained []string
	level := Warning
	for _, s := range subjects(c.after) {
		if slices.Contains(had, s) {
			continue
		}
		gained = append(gained, s+" ← "+role)
		// These groups are everybody.
		if role == "cluster-admin" || role == "admin" || s == "Group system:unauthenticated" || s == "Group system:authenticated" ||
			s == "Group system:serviceaccounts" || s == "User system:anonymous" {
			level = Danger
		}
	}
	return risk(RiskRBAC, level, "role is given to more", gained)
}

func subjects(binding map[string]any) []string {
	var out []string
	for _, s := range mapsIn(binding["subjects"]) {
		name := text(s["name"])
		if namespace := text(s["namespace"]); namespace != "" {
			name = namespace + "/" + name
		}
		out = append(out, text(s["kind"])+" "+name)
	}
	return out
}
