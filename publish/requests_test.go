package publish

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/oci/registry"
)

// TestRequests holds what a stage asks of its registry: with a registry at the other end of the world, this is what a
// hydration costs. Change a number here only for a known reason.
func TestRequests(t *testing.T) {
	t.Parallel()
	pushed := map[string]int{
		"POST upload":  6, // config and layer, two statements, .sig's payload, and once a run the empty config
		"PUT manifest": 3, // artifact, signature, provenance
		"PUT .sig":     1,
		"PUT tag":      3, // hydration, image, candidate
	}
	for name, c := range map[string]struct {
		options registry.Options
		asked   map[string]int
	}{
		// Once a run it is found out whether the registry takes a blob with the request that begins its upload, and has the API.
		"referrers": {registry.Options{}, map[string]int{"GET referrers": 1, "HEAD blob": 1}},
		"fallback":  {registry.Options{WithoutReferrers: true}, map[string]int{"GET referrers": 1, "GET index": 1, "PUT index": 1, "PUT upload": 6}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.options)
			want := maps.Clone(pushed)
			maps.Copy(want, c.asked)
			for _, run := range []struct {
				gitops, value string
				action        Action
				want          map[string]int
			}{
				{g(1), "a", Pushed, want},
				{g(1), "a", Unchanged, map[string]int{"HEAD tag": 1}},
				{g(2), "a", Unchanged, map[string]int{"HEAD tag": 1}},
				{g(3), "b", Pushed, want},
			} {
				w.Forget()
				w.run(w.job(run.gitops, run.value), run.action)
				got := map[string]int{}
				for _, request := range w.Requests("") {
					method, path, _ := strings.Cut(request, " ")
					got[method+" "+requestKind(path)]++
				}
				if diff := cmp.Diff(run.want, got); diff != "" {
					t.Errorf("%s, value %s (-want +got):\n%s", run.gitops, run.value, diff)
				}
			}
		})
	}
}

func requestKind(path string) string {
	for _, k := range []struct{ part, kind string }{
		{"/manifests/sha256:", "manifest"},
		{".sig", ".sig"},
		{"/manifests/sha256-", "index"},
		{"/manifests/", "tag"},
		{"/blobs/uploads/", "upload"},
		{"/blobs/", "blob"},
		{"/referrers/", "referrers"},
		{"/tags/", "list"},
	} {
		if strings.Contains(path, k.part) {
			return k.kind
		}
	}
	return path
}
