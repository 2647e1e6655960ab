package promote_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/promote"
)

// maxRequests is what a promotion may ask of registry and Git server together: on servers that are far away they are what
// it costs.
const maxRequests = 80

func TestRequests(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, mirrored+head)
	older, newer := s.releases[0], s.releases[1]
	for _, r := range []string{older, newer} {
		s.must(promote.Promote, r, "staging")
	}
	s.must(promote.Promote, older, production)
	s.faults.fail(0, "")
	s.must(promote.Promote, newer, production)
	if asked := s.faults.log(); len(asked) > maxRequests {
		t.Errorf("%d requests:\n%s", len(asked), strings.Join(asked, "\n"))
	}
}

// The times of a run of many stages, on a registry and a Git server on loopback: of the first and of a next promotion, and
// of a rollback.
func BenchmarkStages(b *testing.B) {
	for _, n := range []int{1, 30} {
		for _, mirror := range []string{"", "mirror: {path: \"apps/codeai/{stage}/deploy\"}\n"} {
			b.Run(fmt.Sprintf("stages=%d/mirror=%t", n, mirror != ""), func(b *testing.B) {
				var names []string
				declared := mirror + strings.NewReplacer(
					"vars: apps/codeai/deployments/{stage}/deployment.yaml\n", "",
					"\"{namespace}\"", "web",
					"[\"apps/codeai/envTypes/{envType}.values.yaml\", \"apps/codeai/deployments/{stage}/values.yaml\"]", "[apps/codeai/envTypes/production.values.yaml]",
				).Replace(head[:strings.Index(head, "stages:")]) + "stages:\n"
				for i := range n {
					names = append(names, fmt.Sprintf("s%02d", i))
					declared += "  - name: " + names[i] + "\n"
				}
				s := newScene(b, true, declared)
				all := func(do verb, release string) time.Duration {
					o := s.options(release, names...)
					start := time.Now()
					results, err := do(b.Context(), o)
					took := time.Since(start)
					if err != nil {
						b.Fatal(err)
					}
					for _, r := range results {
						if r.Err != nil {
							b.Fatal(r.Err)
						}
					}
					return took
				}
				start := s.keep()
				var first, next, back time.Duration
				for b.Loop() {
					s.setBack(start)
					first += all(promote.Promote, s.releases[0])
					next += all(promote.Promote, s.releases[1])
					back += all(promote.Rollback, "")
				}
				b.ReportMetric(float64(first.Milliseconds())/float64(b.N), "first-ms")
				b.ReportMetric(float64(next.Milliseconds())/float64(b.N), "next-ms")
				b.ReportMetric(float64(back.Milliseconds())/float64(b.N), "rollback-ms")
			})
		}
	}
}
