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
	if got := (Shard{}).Select(all); !slices.Equal(got, all) {
		t.Errorf("no shard picks %d of %d", len(got), len(all))
	}
	for n := 1; n <= 12; n++ {
		seen := map[string]int{}
		smallest, largest := len(all), 0
		for k := 1; k <= n; k++ {
			own := Shard{k, n}.Select(all)
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
	for _, c := range []struct {
		text, environment string
		want              Shard
		err               string
	}{
		{"2/3", "", Shard{2, 3}, ""},
		{"2/3", "CI_NODE_INDEX=1 CI_NODE_TOTAL=8", Shard{2, 3}, ""},
		{"auto", "CI_NODE_INDEX=8 CI_NODE_TOTAL=8", Shard{8, 8}, ""},
		{"auto", "BUILDKITE_PARALLEL_JOB=0 BUILDKITE_PARALLEL_JOB_COUNT=2", Shard{1, 2}, ""},
		{"/4", "JOB_COMPLETION_INDEX=3", Shard{4, 4}, ""},
		{"/4", "CI_NODE_INDEX=3 CI_NODE_TOTAL=8", Shard{3, 4}, ""},
		{"auto", "JOB_COMPLETION_INDEX=3", Shard{}, "JOB_COMPLETION_INDEX does not come with the number of jobs: write /N"},
		{"auto", "", Shard{}, "none of CI_NODE_INDEX, "},
		{"/4", "", Shard{}, "none of CI_NODE_INDEX, "},
		{"/4", "JOB_COMPLETION_INDEX=4", Shard{}, "is not a part"},
		{"auto", "CI_NODE_INDEX=x CI_NODE_TOTAL=8", Shard{}, "is not a part"},
	} {
		getenv := func(name string) string {
			for variable := range strings.FieldsSeq(c.environment) {
				if key, value, _ := strings.Cut(variable, "="); key == name {
					return value
				}
			}
			return ""
		}
		got, err := ParseShard(c.text, getenv)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s with %s is %v, %v", c.text, c.environment, got, err)
		}
	}
	for _, s := range []string{"", "1", "/", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1 / 3", "auto/3"} {
		if _, err := ParseShard(s, func(string) string { return "1" }); err == nil {
			t.Errorf("%q is a shard", s)
		}
	}
}
