package helm

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"helm.sh/helm/v3/pkg/chart"

	"github.com/lockage/lockage/hydrate"
)

// TestUntouchedValuesMergeAsBefore merges random values into random charts, once with values held back and once without.
func TestUntouchedValuesMergeAsBefore(t *testing.T) {
	t.Parallel()
	held := 0
	for seed := range uint64(1000) {
		random := rand.New(rand.NewPCG(seed, 0))
		for _, d := range []dialect{helm3{}, helm4{}} {
			c := randomChart(random, "root", 2)
			p := &Package{chart: c, byName: mergedByName(c)}
			user := randomMap(random, 3)
			request := hydrate.Request{KubeVersion: "1.34"}
			before := fmt.Sprint(c.Values)
			held += len(p.untouched(user, true).held)
			got, gotValues, _, gotErr := d.instance(p, request, user)
			p.byName = nil
			want, wantValues, _, wantErr := d.instance(p, request, user)
			if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) || !reflect.DeepEqual(gotValues, wantValues) {
				t.Fatalf("Helm %d, seed %d, with %v:\n%v %v\nwant\n%v %v", d.engine(), seed, user, gotValues, gotErr, wantValues, wantErr)
			}
			if gotErr == nil && fmt.Sprint(namesBelow(got)) != fmt.Sprint(namesBelow(want)) {
				t.Fatalf("Helm %d, seed %d: subcharts %v, want %v", d.engine(), seed, namesBelow(got), namesBelow(want))
			}
			if fmt.Sprint(c.Values) != before {
				t.Fatalf("Helm %d, seed %d: the chart's own values changed", d.engine(), seed)
			}
		}
	}
	if held < 1000 {
		t.Errorf("%d values were held back", held)
	}
}

func namesBelow(c *instance) (names []string) {
	for _, sub := range c.subcharts {
		names = append(names, sub.path)
		names = append(names, namesBelow(sub)...)
	}
	return names
}

// randomChart returns a chart that may have subcharts, some declared, by conditions, tags and aliases.
func randomChart(random *rand.Rand, name string, depth int) *chart.Chart {
	c := &chart.Chart{Metadata: &chart.Metadata{Name: name, Version: "1.0.0", APIVersion: "v2"}, Values: randomMap(random, 3)}
	if depth == 0 {
		return c
	}
	for _, sub := range []string{"a", "b", "c"} {
		if random.IntN(2) == 0 {
			continue
		}
		c.AddDependency(randomChart(random, sub, depth-1))
		if depth < 2 && random.IntN(8) > 0 {
			continue
		}
		for _, alias := range [][]string{{""}, {"d"}, {"", "e"}}[random.IntN(3)] {
			d := &chart.Dependency{Name: sub, Alias: alias, Version: "*", Condition: []string{"", "a.b", "b,d.a", "e"}[random.IntN(4)]}
			if random.IntN(3) == 0 {
				d.Tags = []string{"a"}
			}
			if random.IntN(16) == 0 {
				d.ImportValues = []any{map[string]any{"child": "b", "parent": "c"}}
			}
			c.Metadata.Dependencies = append(c.Metadata.Dependencies, d)
		}
	}
	return c
}

func randomMap(random *rand.Rand, depth int) map[string]any {
	out := map[string]any{}
	for range random.IntN(7) {
		key := []string{"a", "b", "c", "d", "e", "f", "g", "h", "global", "tags"}[random.IntN(10)]
		switch n := random.IntN(8); {
		case n < 4 && depth > 0:
			out[key] = randomMap(random, depth-1)
		case n == 5:
			out[key] = nil
		case n == 6:
			out[key] = []any{"x", nil, map[string]any{"a": nil, "b": 1.0}}
		case n == 7:
			out[key] = "text"
		default:
			out[key] = random.IntN(2) == 0
		}
	}
	return out
}
