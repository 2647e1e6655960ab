package ledger_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
)

// large is an artifact of 200 KB that no compression makes smaller.
func large() fstest.MapFS {
	data := make([]byte, 0, 200<<10)
	for d := digest.FromString(""); len(data) < cap(data); d = digest.FromString(string(d)) {
		data = append(data, d.Encoded()...)
	}
	return tree("a.yaml", "a\n", "folder/large.yaml", string(data))
}

// promoteCompared promotes the artifact of a candidate by what a comparison found, and returns how often its files were asked for
// and how many bytes were pushed.
func promoteCompared(t *testing.T, f *forge, remote *git.Remote, candidate ledger.Change, compared ledger.Comparison) (loads, sent int) {
	t.Helper()
	f.Before(func(r *http.Request) {
		if pushes(r) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			sent += len(body)
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
	})
	e := promotion(t, 1, "", "a.yaml", "a\n")
	e.Artifact, e.Compared = candidate.Artifact, compared
	e.Tree = func(ctx context.Context) (fs.FS, error) { loads++; return candidate.Tree(ctx) }
	if _, err := ledger.NewWriter(remote, nil).Write(t.Context(), []ledger.Change{e}); err != nil {
		t.Fatal(err)
	}
	f.Before(func(*http.Request) {})
	testworld.Git(t, f.bare, "fsck", "--strict", "--no-dangling")
	e.Tree = candidate.Tree
	if got := check(t, f.remote(t), e); got != "[]" {
		t.Errorf("live: %s", got)
	}
	return loads, sent
}

// Files that a branch of the remote was found to have are neither read, hashed nor sent again.
func TestComparedIsNotSent(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	candidate := entry(t, "production", 1, large())
	write(t, f.writer(t), candidate)
	remote := f.remote(t)
	compared, err := ledger.Check(t.Context(), remote, candidate.Place, candidate.Digest, candidate.Content, large())
	if err != nil || len(compared.Differences) > 0 {
		t.Fatal(compared.Differences, err)
	}
	if loads, sent := promoteCompared(t, f, remote, candidate, compared); loads != 0 || sent == 0 || sent > 4<<10 {
		t.Errorf("%d loads, %d bytes sent", loads, sent)
	}

	other := newForge(t)
	if loads, sent := promoteCompared(t, other, other.remote(t), candidate, compared); loads != 1 || sent < 100<<10 {
		t.Errorf("to another remote: %d loads, %d bytes sent", loads, sent)
	}
}

// A comparison that found differences, or was about another content, says nothing of an artifact's files.
func TestComparedOtherwise(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	shown := entry(t, "production", 1, tree("a.yaml", "others\n"))
	remote := f.remote(t)
	write(t, f.writer(t), shown)
	candidate := entry(t, "production", 1, large())
	other, err := ledger.Check(t.Context(), remote, shown.Place, shown.Digest, shown.Content, tree("a.yaml", "others\n"))
	if err != nil || len(other.Differences) > 0 {
		t.Fatal(other.Differences, err)
	}
	if loads, _ := promoteCompared(t, f, remote, candidate, other); loads != 1 {
		t.Errorf("another content: %d loads", loads)
	}

	g := newForge(t)
	write(t, g.writer(t), shown)
	remote = g.remote(t)
	different, err := ledger.Check(t.Context(), remote, shown.Place, shown.Digest, candidate.Content, large())
	if err != nil || len(different.Differences) == 0 {
		t.Fatal(different.Differences, err)
	}
	if loads, _ := promoteCompared(t, g, remote, candidate, different); loads != 1 {
		t.Errorf("differences: %d loads", loads)
	}
}

// What stages have in common is in memory once while they are written together.
//
//nolint:paralleltest // it measures the heap
func TestSharedContentIsKeptOnce(t *testing.T) {
	const stages, size = 32, 1 << 20
	f := newForge(t)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	changes := make([]ledger.Change, stages)
	for i := range changes {
		changes[i] = hydrated(entry(t, fmt.Sprint("s", i), 1, tree("a.yaml", strings.Repeat("x", size))))
		changes[i].Tree = func(context.Context) (fs.FS, error) { return tree("a.yaml", strings.Repeat("x", size)), nil }
	}
	before, kept := heap(), int64(0)
	f.Before(func(r *http.Request) {
		if pushes(r) {
			kept = heap() - before
		}
	})
	if _, err := f.writer(t).Write(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	if kept == 0 || kept > stages*size/4 {
		t.Errorf("%d bytes are kept of %d stages with the same %d bytes", kept, stages, size)
	}
}
