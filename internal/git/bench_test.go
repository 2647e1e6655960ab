package git_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/samplechart"
	"github.com/lockage/lockage/internal/testworld"
)

// BenchmarkFetch brings a chart out of a repository that holds 32 MB beside it, over smart HTTP from the real git: into
// an empty cache, and out of a full one. received/op is what came over the wire.
func BenchmarkFetch(b *testing.B) {
	dir, _ := testworld.Checkout(b, nil)
	noise := rand.NewChaCha8([32]byte{})
	for i := range 32 {
		content := make([]byte, 1<<20)
		_, _ = noise.Read(content) // never fails
		testworld.Write(b, dir, map[string]string{fmt.Sprintf("assets/%d.bin", i): string(content)})
	}
	for name, chart := range map[string]fs.FS{"small": samplechart.Small(), "large": samplechart.Large()} {
		if err := os.CopyFS(filepath.Join(dir, "charts", name), chart); err != nil {
			b.Fatal(err)
		}
	}
	head := testworld.Commit(b, dir, "charts")
	s := serve(b, dir, full...)

	for _, name := range []string{"small", "large"} {
		warm := testworld.GitOptions(b)
		fetch(b, s.url(), warm, head, "charts/"+name)
		for _, cache := range []string{"empty", "full"} {
			b.Run("chart="+name+"/cache="+cache, func(b *testing.B) {
				var stats git.Stats
				for b.Loop() {
					opts := warm
					if cache == "empty" {
						b.StopTimer()
						opts = testworld.GitOptions(b)
						b.StartTimer()
					}
					stats = fetch(b, s.url(), opts, head, "charts/"+name)
				}
				b.ReportMetric(float64(stats.BytesReceived), "received/op")
				b.ReportMetric(float64(stats.RoundTrips), "requests/op")
			})
		}
	}
}

// fetch reads every file below a path.
func fetch(b *testing.B, url string, opts git.Options, commit git.Hash, path string) git.Stats {
	b.Helper()
	remote := openRemote(b, url, opts)
	snapshot, err := remote.Snapshot(b.Context(), commit)
	if err != nil {
		b.Fatal(err)
	}
	if err := snapshot.Prefetch(b.Context(), path); err != nil {
		b.Fatal(err)
	}
	files := snapshot.FS(b.Context())
	err = fs.WalkDir(files, path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		_, err = fs.ReadFile(files, name)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return remote.Stats()
}
