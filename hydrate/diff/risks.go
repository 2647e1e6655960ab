package diff

import (
	"cmp"
	"slices"

	"github.com/lockage/lockage/hydrate"
)

// Risk is something a reviewer should not miss.
type Risk struct {
	Kind    RiskKind `json:"kind"`
	Level   Level    `json:"level"`
	Message string   `json:"message"`           // words of this package only
	Details []string `json:"details,omitempty"` // words of the manifests
}

// RiskKind groups risks.
type RiskKind string

// The kinds of risk.
const (
	RiskDeletion  RiskKind = "deletion"
	RiskImmutable RiskKind = "immutable" // the cluster refuses the change
	RiskRBAC      RiskKind = "rbac"
	RiskCRD       RiskKind = "crd"
	RiskPrivilege RiskKind = "privilege" // power over the node
	RiskScale     RiskKind = "scale"
	RiskSecret    RiskKind = "secret"
	RiskImage     RiskKind = "image"
	RiskLeftOut   RiskKind = "left-out" // some program does not apply the object
)

// Level is how severe a risk is.
type Level string

// The levels, least severe first.
const (
	Info    Level = "info"
	Warning Level = "warning"
	Danger  Level = "danger"
)

func bySeverity(a, b Risk) int {
	levels := []Level{Danger, Warning, Info}
	return slices.Index(levels, a.Level) - slices.Index(levels, b.Level)
}

// risk returns a risk that has details, or none.
func risk(kind RiskKind, level Level, message string, details []string) []Risk {
	if len(details) == 0 {
		return nil
	}
	return []Risk{{kind, level, message, details}}
}

// risks judges an object, the most severe first.
func (c *comparison) risks() []Risk {
	var risks []Risk
	for _, judge := range []func(*comparison) []Risk{
		immutableRisks, deletionRisks, namespaceRisks, scaleRisks, privilegeRisks, roleRisks, bindingRisks, definitionRisks, secretRisks, imageRisks, leftOutRisks,
	} {
		risks = append(risks, judge(c)...)
	}
	slices.SortStableFunc(risks, bySeverity)
	return risks
}

// quiet reports whether none of the risks, the most severe first, is above Info.
func quiet(risks []Risk) bool { return len(risks) == 0 || risks[0].Level == Info }

// is reports whether the object is of this group and one of these kinds.
func (c *comparison) is(group string, kinds ...string) bool {
	o := c.object()
	return o.Group == group && slices.Contains(kinds, o.Kind)
}

func deletionRisks(c *comparison) []Risk {
	if c.change != Removed {
		return nil
	}
	messages := map[string]string{
		"PersistentVolumeClaim":    "claim removed: its volume and data may go with it",
		"PersistentVolume":         "volume removed: its data may go with it",
		"StatefulSet":              "StatefulSet removed: its claims stay behind or go, as its policy says",
		"Namespace":                "namespace removed: everything in it goes with it",
		"CustomResourceDefinition": "definition removed: all its custom resources go with it",
	}
	if message := messages[c.old.Kind]; message != "" {
		return []Risk{{RiskDeletion, Danger, message, nil}}
	}
	return []Risk{{RiskDeletion, Warning, "object removed", nil}}
}

// leftOutRisks names an object that is in the tree, and that not everybody applies.
func leftOutRisks(c *comparison) []Risk {
	if c.current == nil {
		return nil
	}
	why, left := c.current.LeftOut()
	if !left {
		return nil
	}
	level := Warning
	if c.old != nil {
		if before, was := c.old.LeftOut(); was && before == why {
			level = Info
		}
	}
	return risk(RiskLeftOut, level, "not everybody applies it", []string{why})
}

// namespaceRisks names an object that leaves its namespace to the release on one side only.
func namespaceRisks(c *comparison) []Risk {
	if c.change != Changed || c.old.Namespace == c.current.Namespace {
		return nil
	}
	shown := func(o *hydrate.Object) string { return cmp.Or(o.Namespace, "that of the release") }
	return risk(RiskDeletion, Warning, "moves to another namespace, where it is made anew, unless that is the release's", []string{shown(c.old) + " → " + shown(c.current)})
}

func scaleRisks(c *comparison) []Risk {
	zero := func(content map[string]any) bool { return get(content, "spec", "replicas") == int64(0) }
	if c.before != nil && c.after != nil && zero(c.after) && !zero(c.before) {
		return []Risk{{RiskScale, Danger, "scaled to zero replicas", nil}}
	}
	return nil
}

func secretRisks(c *comparison) []Risk {
	if !c.is("", "Secret") || c.change == Removed {
		return nil
	}
	if c.change == Added {
		return []Risk{{RiskSecret, Info, "new Secret", nil}}
	}
	var keys []string
	for _, f := range c.fields {
		if f.Path.below("data") || f.Path.below("stringData") {
			keys = append(keys, f.Path[len(f.Path)-1].name)
		}
	}
	slices.Sort(keys)
	return risk(RiskSecret, Warning, "data of a Secret changes", slices.Compact(keys))
}

// get returns the value at the end of keys, or nil.
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

func itemsOf[T any](value any) []T {
	list, _ := value.([]any)
	var out []T
	for _, item := range list {
		if v, ok := item.(T); ok {
			out = append(out, v)
		}
	}
	return out
}

func mapsIn(value any) []map[string]any { return itemsOf[map[string]any](value) }
func textsIn(value any) []string        { return itemsOf[string](value) }

// definitionRisks judges definitions of custom resources.
func definitionRisks(c *comparison) []Risk {
	if !c.is("apiextensions.k8s.io", "CustomResourceDefinition") || c.before == nil || c.after == nil {
		return nil
	}
	before, after := mapsIn(get(c.before, "spec", "versions")), mapsIn(get(c.after, "spec", "versions"))
	var gone, unserved, storage []string
	for _, v := range before {
		name := text(v["name"])
		i := slices.IndexFunc(after, func(w map[string]any) bool { return text(w["name"]) == name })
		switch {
		case i < 0:
			gone = append(gone, name)
		case v["served"] == true && after[i]["served"] != true:
			unserved = append(unserved, name)
		}
	}
	if old, current := storageVersion(before), storageVersion(after); old != current && old != "" {
		storage = []string{old + " → " + current}
	}
	var schema, pruned, required []string
	places := 0
	for _, f := range c.fields {
		if !slices.Contains(f.Path, step{name: "openAPIV3Schema"}) {
			continue
		}
		places++
		if n := len(f.Path); n > 1 && f.Path[n-2] == (step{name: "properties"}) && f.Change == Removed {
			pruned = append(pruned, schemaField(f.Path))
		}
		if f.Path.lastKey() == "required" && f.Change == Added {
			required = append(required, schemaField(f.Path))
		}
	}
	if places > 0 {
		schema = []string{plural(places, "place")}
	}
	return slices.Concat(
		risk(RiskCRD, Danger, "versions removed: the cluster refuses it while objects are stored in them", gone),
		risk(RiskCRD, Danger, "versions no longer served", unserved),
		risk(RiskCRD, Warning, "storage version changes", storage),
		risk(RiskCRD, Danger, "fields removed from the schema: they are pruned from stored objects", pruned),
		risk(RiskCRD, Warning, "fields become required", required),
		risk(RiskCRD, Info, "schema changes", schema),
	)
}

func storageVersion(versions []map[string]any) string {
	for _, v := range versions {
		if v["storage"] == true {
			return text(v["name"])
		}
	}
	return ""
}
