package diff

import (
	"fmt"
	"slices"
)

// maxDetails bounds the details of one risk.
const maxDetails = 12

// risks judges an object, the loudest first. It marks the fields that the cluster refuses to change.
func (p *pair) risks() []Risk {
	var risks []Risk
	for _, judge := range []func(*pair) []Risk{
		immutableRisks, deletionRisks, scaleRisks, privilegeRisks, roleRisks, bindingRisks, definitionRisks, secretRisks, imageRisks,
	} {
		risks = append(risks, judge(p)...)
	}
	for i := range risks {
		details := risks[i].Details
		if len(details) > maxDetails {
			risks[i].Details = append(details[:maxDetails:maxDetails], fmt.Sprintf("… %d more", len(details)-maxDetails))
		}
		for j, detail := range risks[i].Details {
			risks[i].Details[j] = clip(detail, maxShown)
		}
	}
	slices.SortStableFunc(risks, func(a, b Risk) int { return b.Level.loudness() - a.Level.loudness() })
	return risks
}

func (l Level) loudness() int { return slices.Index([]Level{Info, Warning, Danger}, l) }

// quiet reports whether none of the risks, loudest first, is louder than Info.
func quiet(risks []Risk) bool { return len(risks) == 0 || risks[0].Level == Info }

// is reports whether the object is of this group and one of these kinds.
func (p *pair) is(group string, kinds ...string) bool {
	o := p.object()
	return o.Group == group && slices.Contains(kinds, o.Kind)
}

func deletionRisks(p *pair) []Risk {
	if p.change != Removed {
		return nil
	}
	what := map[string]string{
		"PersistentVolumeClaim":    "claim removed: its volume and data may go with it",
		"PersistentVolume":         "volume removed: its data may go with it",
		"StatefulSet":              "StatefulSet removed: its claims stay behind or go, as its policy says",
		"Namespace":                "namespace removed: everything in it goes with it",
		"CustomResourceDefinition": "definition removed: all its custom resources go with it",
	}
	if message, loud := what[p.before.Kind]; loud {
		return []Risk{{RiskDeletion, Danger, message, nil}}
	}
	return []Risk{{RiskDeletion, Warning, "object removed", nil}}
}

func scaleRisks(p *pair) []Risk {
	zero := func(content map[string]any) bool { return get(content, "spec", "replicas") == int64(0) }
	if p.was != nil && p.now != nil && zero(p.now) && !zero(p.was) {
		return []Risk{{RiskScale, Danger, "scaled to zero replicas", nil}}
	}
	return nil
}

func secretRisks(p *pair) []Risk {
	if !p.is("", "Secret") || p.change == Removed {
		return nil
	}
	if p.change == Added {
		return []Risk{{RiskSecret, Info, "new Secret", nil}}
	}
	var keys []string
	for _, f := range p.fields {
		if f.path.below("data") || f.path.below("stringData") {
			keys = append(keys, f.path[len(f.path)-1].name)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(keys)
	return []Risk{{RiskSecret, Warning, "data of a Secret changes", slices.Compact(keys)}}
}

// definitionRisks judges definitions of custom resources.
func definitionRisks(p *pair) []Risk {
	if !p.is("apiextensions.k8s.io", "CustomResourceDefinition") || p.was == nil || p.now == nil {
		return nil
	}
	was, now := versions(p.was), versions(p.now)
	var gone, unserved, pruned, required []string
	for _, v := range was {
		name := text(v["name"])
		i := slices.IndexFunc(now, func(w map[string]any) bool { return text(w["name"]) == name })
		switch {
		case i < 0:
			gone = append(gone, name)
		case v["served"] == true && now[i]["served"] != true:
			unserved = append(unserved, name)
		}
	}
	schema := 0
	for _, f := range p.fields {
		if !slices.Contains(f.path, step{name: "openAPIV3Schema"}) {
			continue
		}
		schema++
		if n := len(f.path); n > 1 && f.path[n-2] == (step{name: "properties"}) && f.change == Removed {
			pruned = append(pruned, schemaField(f.path))
		}
		if f.path.key() == "required" && f.change == Added {
			required = append(required, schemaField(f.path))
		}
	}
	var risks []Risk
	add := func(level Level, message string, details []string) {
		if len(details) > 0 {
			risks = append(risks, Risk{RiskCRD, level, message, details})
		}
	}
	add(Danger, "versions removed: the cluster refuses it while objects are stored in them", gone)
	add(Danger, "versions no longer served", unserved)
	if before, after := storage(was), storage(now); before != after && before != "" {
		add(Warning, "storage version changes", []string{before + " → " + after})
	}
	add(Danger, "fields removed from the schema: they are pruned from stored objects", pruned)
	add(Warning, "fields become required", required)
	if schema > 0 {
		risks = append(risks, Risk{RiskCRD, Info, "schema changes", []string{plural(schema, "place")}})
	}
	return risks
}

func versions(content map[string]any) []map[string]any {
	list, _ := get(content, "spec", "versions").([]any)
	return mapsIn(list)
}

func storage(versions []map[string]any) string {
	for _, v := range versions {
		if v["storage"] == true {
			return text(v["name"])
		}
	}
	return ""
}

// get returns the value below content, nil if there is none.
func get(content map[string]any, keys ...string) any {
	var value any = content
	for _, key := range keys {
		m, _ := value.(map[string]any)
		value = m[key]
	}
	return value
}

func text(value any) string {
	s, _ := value.(string)
	return s
}

// mapsIn returns the items of a list that are maps.
func mapsIn(list []any) []map[string]any {
	var out []map[string]any
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// textsIn returns the items of a list that are strings.
func textsIn(value any) []string {
	list, _ := value.([]any)
	var out []string
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
