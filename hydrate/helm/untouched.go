package helm

import (
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
)

// untouched holds default values back while Helm merges the others. Helm copies all values of a chart some five times a render, by
// reflection, which is most of what merging takes. What no other values touch comes out as it went in: it is replaced by its
// number, and put back, as a copy, when all is merged.
type untouched struct {
	values    map[*chart.Chart]map[string]any // what Helm merges of each chart
	held      []any
	keepsNull bool // whether Helm leaves null where it is in maps that nothing touches
}

// held is the number of a value that is held back, a scalar to Helm.
type held int

// mergedByName returns the keys of default values that Helm looks at by their names: those of globals, tags, subcharts and
// conditions. It returns nil if merging c's values takes more than that: where values are imported from subcharts, where two
// subcharts have one name, or where subcharts have dependencies of their own, whose conditions Helm seeks in the merged values
// of both charts.
func mergedByName(c *chart.Chart) map[string]bool {
	names := map[string]bool{"global": true, "tags": true}
	for _, d := range c.Metadata.Dependencies {
		if d == nil || len(d.ImportValues) > 0 {
			return nil
		}
		for condition := range strings.SplitSeq(d.Condition, ",") {
			first, _, _ := strings.Cut(strings.TrimSpace(condition), ".")
			names[first] = true
		}
	}
	taken := map[string]bool{}
	for _, d := range c.Dependencies() {
		below := mergedByName(d)
		if below == nil || len(d.Metadata.Dependencies) > 0 {
			return nil
		}
		maps.Copy(names, below)
		for _, name := range namesOf(d, c.Metadata.Dependencies) {
			if taken[name] {
				return nil
			}
			names[name], taken[name] = true, true
		}
	}
	return names
}

// untouched holds back the values of p's charts that the user's values do not touch.
func (p *Package) untouched(user map[string]any, keepsNull bool) *untouched {
	u := &untouched{values: map[*chart.Chart]map[string]any{}, keepsNull: keepsNull}
	if p.byName != nil && len(p.several) == 0 {
		u.holdChart(p.chart, p.byName, []map[string]any{user})
	}
	return u
}

// valuesOf returns the values of a chart that Helm merges.
func (u *untouched) valuesOf(c *chart.Chart) map[string]any {
	if values, ok := u.values[c]; ok {
		return values
	}
	return c.Values
}

// holdChart holds back the values of c and its subcharts that are not among those that others give to c.
func (u *untouched) holdChart(c *chart.Chart, byName map[string]bool, others []map[string]any) {
	for _, d := range c.Dependencies() {
		var given []map[string]any
		for _, name := range namesOf(d, c.Metadata.Dependencies) {
			for _, values := range append(slices.Clip(others), c.Values) {
				if table, ok := values[name].(map[string]any); ok {
					given = append(given, table)
				}
			}
		}
		u.holdChart(d, byName, given)
	}
	values := make(map[string]any, len(c.Values))
	for key, value := range c.Values {
		touches := func(other map[string]any) bool { _, has := other[key]; return has }
		if !byName[key] && !slices.ContainsFunc(others, touches) {
			value = u.hold(value)
		}
		values[key] = value
	}
	u.values[c] = values
}

// namesOf returns the names by which a chart may have values of its subchart.
func namesOf(c *chart.Chart, declared []*chart.Dependency) []string {
	names := []string{c.Name()}
	for _, d := range declared {
		if d.Name == c.Name() && d.Alias != "" {
			names = append(names, d.Alias)
		}
	}
	return names
}

// hold returns what Helm sees of a value: the number of a list, or of a map unless Helm removes null from it.
func (u *untouched) hold(value any) any {
	switch v := value.(type) {
	case []any:
	case map[string]any:
		if !u.keepsNull && holdsNull(v) {
			out := make(map[string]any, len(v))
			for key, item := range v {
				out[key] = u.hold(item)
			}
			return out
		}
	default:
		return value
	}
	u.held = append(u.held, value)
	return held(len(u.held) - 1)
}

func holdsNull(m map[string]any) bool {
	for _, value := range m {
		below, _ := value.(map[string]any)
		if value == nil || holdsNull(below) {
			return true
		}
	}
	return false
}

// putBack puts what is held back into merged values.
func (u *untouched) putBack(values map[string]any) {
	for key, value := range values {
		switch value := value.(type) {
		case held:
			values[key] = copyValue(u.held[value])
		case map[string]any:
			u.putBack(value)
		}
	}
}

func copyValue(value any) any {
	switch value := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, item := range value {
			out[key] = copyValue(item)
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			out[i] = copyValue(item)
		}
		return out
	}
	return value
}
