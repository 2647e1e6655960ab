package kustomize

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/testworld"
)

// TestFetchesWhatIsRead builds over a repository with much else in it, from a real server.
func TestFetchesWhatIsRead(t *testing.T) {
	t.Parallel()
	content := map[string]string{}
	for name, file := range app("").Files.(fstest.MapFS) {
		content[name] = string(file.Data)
	}
	for i := range 200 {
		content[fmt.Sprintf("services/s%d/main.txt", i)] = strings.Repeat(fmt.Sprintf("%x", i*7919), 2000)
	}
	dir, head := testworld.Checkout(t, content)
	remote := testworld.Remote(t, testworld.GitServer(t, testworld.Bare(t, dir)).URL)
	snapshot, err := remote.Snapshot(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]hydrate.Source{
		"overlay":   app("resources: [\"" + sourceRepo + "//k8s/base\"]\n"),
		"generated": {Path: "k8s", Overlay: &hydrate.Overlay{GitOps: files(), Options: hydrate.Options{Kustomize: &hydrate.Kustomize{Base: "base"}}}},
	} {
		source.Files, source.Repository, source.Commit, source.Prefetch = snapshot.FS(t.Context()), sourceRepo, string(head), snapshot.Prefetch
		if _, got, _ := open(t, source); !strings.Contains(got, "image: web") {
			t.Errorf("%s: %s", name, got)
		}
		// The server's capabilities, the commit, two folders on the way, and the base with all that is in it.
		if stats := remote.Stats(); stats.RoundTrips > 5 || stats.BytesReceived > 8<<10 {
			t.Errorf("%s: %d round trips, %d bytes", name, stats.RoundTrips, stats.BytesReceived)
		} else {
			t.Logf("%s: %d round trips, %d bytes", name, stats.RoundTrips, stats.BytesReceived)
		}
	}
}
