package publish

import (
	"slices"
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate/pipeline"
)

func TestShardsTogetherAreAllPipelinesOnce(t *testing.T) {
	t.Parallel()
	var all []*pipeline.Pipeline
	for _, name := range strings.Fields("q w e r t y u i o p") {
		all = append(all, &pipeline.Pipeline{Name: name})
	}
	if got := (Shard{}).of(all); !slices.Equal(got, all) {
		t.Errorf("no shard picks %d of %d", len(got), len(all))
	}
	for n := 1; n <= 12; n++ {
		seen := map[string]int{}
		smallest, largest := len(all), 0
		for k := 1; k <= n; k++ {
			own := Shard{k, n}.of(all)
			smallest, largest = min(smallest, len(own)), max(largest, len(own))
			for _, p := range own {
				seen[p.Name]++
			}
		}
		if len(seen) != len(all) || largest-smallest > 1 {
			t.Errorf("%d shards hold %d pipelines, %d to %d each", n, len(seen), smallest, largest)
		}
		for name, times := range seen {
			if times != 1 {
				t.Errorf("%d shards hold %s %d times", n, name, times)
			}
		}
	}
}

func TestParseShard(t *testing.T) {
	t.Parallel()
	if got, err := ParseShard("2/3"); err != nil || got != (Shard{2, 3}) {
		t.Errorf("2/3 is %v, %v", got, err)
	}
	for _, s := range []string{"", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1 / 3"} {
		if _, err := ParseShard(s); err == nil {
			t.Errorf("%q is a shard", s)
		}
	}
}
