package publish

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/oci/registry"
)

// TestRequests holds what a stage asks of its registry: with a registry at the other end of the world, this is what a
// hydration costs. Change a number here only for a known reason.
func TestRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, registry.Options{})
	seen := func() map[string]int {
		kinds := map[string]int{}
		for _, request := range w.Requests("") {
			method, path, _ := strings.Cut(request, " ")
			kinds[method+" "+requestKind(path)]++
		}
		w.Forget()
		return kinds
	}
	w.run(w.job(g(1), "a"), Pushed)
	cold := map[string]int{
		"GET tag":       2, // .sig before and after
		"HEAD tag":      3, // hydration, image, candidate
		"PUT tag":       4, // .sig, hydration, candidate, image
		"HEAD manifest": 4, // artifact and .sig, before and after
		"PUT manifest":  4, // artifact, signature, provenance, .sig
		"GET referrers": 4, // of the artifact, twice before and once after each statement
		"POST upload":   7, // config and layer, two statements, .sig's config and payload, the empty config
		"PUT upload":    7,
	}
	if diff := cmp.Diff(cold, seen()); diff != "" {
		t.Errorf("cold (-want +got):\n%s", diff)
	}

	w.run(w.job(g(1), "a"), Unchanged)
	unchanged := map[string]int{
		"HEAD tag":      3, // hydration, image, candidate
		"GET referrers": 1,
		"GET tag":       1, // .sig
		"GET blob":      1, // its payload
	}
	if diff := cmp.Diff(unchanged, seen()); diff != "" {
		t.Errorf("unchanged (-want +got):\n%s", diff)
	}
}

func requestKind(path string) string {
	for _, k := range []struct{ part, kind string }{
		{"/manifests/sha256:", "manifest"},
		{"/manifests/", "tag"},
		{"/blobs/uploads/", "upload"},
		{"/blobs/", "blob"},
		{"/referrers/", "referrers"},
		{"/tags/", "tags"},
	} {
		if strings.Contains(path, k.part) {
			return k.kind
		}
	}
	return path
}
