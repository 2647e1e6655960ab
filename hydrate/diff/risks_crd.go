package diff

import "slices"

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
