package worker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/lockage/lockage/hydrate"
)

// withRealPaths is a file system with real paths, as that of a commit.
type withRealPaths struct{ fs.FS }

func (withRealPaths) RealPath(name string) (string, error) { return "real/" + name, nil }

// bare is a file system that only opens.
type bare struct{ tree fs.FS }

func (b bare) Open(name string) (fs.File, error) { return b.tree.Open(name) }

// TestFilesAsInTheParent compares what a child sees of file systems with what they are.
func TestFilesAsInTheParent(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	if err := os.CopyFS(dir, fstest.MapFS{"folder/a": {Data: []byte("A")}, "folder/deep/b": {Data: []byte("B")}, "c": {Data: []byte("C")}}); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"link": "folder/a", "circle": "circle", "folder/up": "../c"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Skip(err)
		}
	}
	onDisk := os.DirFS(dir)
	inMemory := fstest.MapFS{"folder/x": {Data: []byte("X"), Mode: 0o755, ModTime: time.Unix(1, 0)}, "y": {Data: []byte("Y")}}
	pool := openPool(t, "child", testBounds)
	var prefetched []string
	for _, trees := range [][2]fs.FS{{onDisk, inMemory}, {withRealPaths{bare{inMemory}}, bare{inMemory}}} {
		source := hydrate.Source{
			Files:    trees[0],
			Overlay:  &hydrate.Overlay{GitOps: trees[1], Options: hydrate.Options{Overlay: "describe"}},
			Prefetch: func(_ context.Context, paths ...string) error { prefetched = paths; return nil },
		}
		local, err := testRenderer{overlays: true}.Open(ctx, source)
		if err != nil {
			t.Fatal(err)
		}
		want, err := renderPackage(ctx, local, "")
		if err != nil {
			t.Fatal(err)
		}
		prefetched = nil
		pkg, err := pool.Renderer("overlay", testRenderer{overlays: true}).Open(ctx, source)
		if err != nil {
			t.Fatal(err)
		}
		got, err := renderPackage(ctx, pkg, "")
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("in the child:\n%s\nin the parent:\n%s", got, want)
		}
		if !slices.Equal(prefetched, []string{"a", "b"}) {
			t.Errorf("prefetched %q", prefetched)
		}
		if inputs := pkg.Inputs(); len(inputs) != 1 || inputs[0].Path != "input" {
			t.Errorf("inputs %v", inputs)
		}
	}
}

// TestBounds: what exceeds a bound is named, and the next render of the pool goes on.
func TestBounds(t *testing.T) {
	t.Parallel()
	patient, hasty := openPool(t, "child", testBounds), openPool(t, "child", hastyBounds)
	for script, want := range map[string]string{
		"fine, loop":    "chart/templates/loop.yaml: the render was stopped after 2s of processor time; does a loop run without end?",
		"fine, recurse": "chart/templates/recurse.yaml: the render was stopped at 1 MB of stack; does something include or call itself (tpl) without end?",
		"fine, eat":     "chart/templates/eat.yaml: the render was stopped at 200 MB of memory; does it build a list or text that grows without end?",
		"fine, gulp":    "chart/templates/gulp.yaml: the render was stopped at 200 MB of memory; does it build a list or text that grows without end?",
		"write":         "chart/templates/write.yaml: 2097242 of 2097246 bytes that the stage renders to come from it, and at most 1048576 are allowed; does a loop write more than it should?",
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			pool := patient
			if strings.Contains(script, "loop") {
				pool = hasty
			}
			if got, err := render(t.Context(), pool, script, fstest.MapFS{}); err == nil || err.Error() != want {
				t.Errorf("%.40q, %v\nwant %s", got, err, want)
			}
			if got, err := render(t.Context(), pool, "fine", fstest.MapFS{}); got != "fine" || err != nil {
				t.Errorf("afterwards: %q, %v", got, err)
			}
		})
	}
}

// TestOutputOfManyDocuments: documents without content have a size, too, and so have warnings.
func TestOutputOfManyDocuments(t *testing.T) {
	t.Parallel()
	var many hydrate.Rendered
	for range 20_000 {
		many.Manifests = append(many.Manifests, hydrate.Manifest{Source: "chart/templates/many.yaml"})
	}
	if err := checkOutput(many, 1<<20); err == nil || !strings.HasPrefix(err.Error(), "chart/templates/many.yaml: ") {
		t.Error(err)
	}
	many.Manifests = many.Manifests[:1]
	if err := checkOutput(many, 1<<20); err != nil {
		t.Error(err)
	}
	many.Warnings = []string{strings.Repeat("x", 1<<20)}
	if err := checkOutput(many, 1<<20); err == nil {
		t.Error("a long warning is let through")
	}
}

// TestMemoryOfEarlierRenders: what a child has kept does not count against the next render.
func TestMemoryOfEarlierRenders(t *testing.T) {
	t.Parallel()
	pool := openPool(t, "child", testBounds)
	for range 3 {
		if got, err := render(t.Context(), pool, "keep", fstest.MapFS{}); got != "keep" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// TestPackagesOpen: a child opens a package once, and forgets the one that was unused for longest.
func TestPackagesOpen(t *testing.T) {
	t.Parallel()
	pool := openPool(t, "child", testBounds)
	var asked atomic.Int32
	first, err := pool.Renderer("plain", testRenderer{}).Open(t.Context(), hydrate.Source{Files: counting{fstest.MapFS{}, &asked}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := renderPackage(t.Context(), first, "fine"); err != nil {
			t.Fatal(err)
		}
	}
	if children := len(pool.idle); children != 1 || asked.Load() != 2 {
		t.Errorf("%d children for renders that follow each other; the package was opened %d times, here and in the child", children, asked.Load())
	}
	for range maxPackages + 1 {
		if _, err := render(t.Context(), pool, "fine", fstest.MapFS{}); err != nil {
			t.Fatal(err)
		}
	}
	if kept := pool.idle[0].packages; len(kept) != maxPackages || slices.Contains(kept, 1) {
		t.Errorf("kept %v", kept)
	}
	if _, err := renderPackage(t.Context(), first, "fine"); err != nil || asked.Load() != 3 {
		t.Errorf("a package that was forgotten: %v, opened %d times", err, asked.Load())
	}
}

type counting struct {
	fs.FS
	asked *atomic.Int32
}

func (c counting) Open(name string) (fs.File, error) {
	c.asked.Add(1)
	return c.FS.Open(name)
}

var errOfParent = errors.New("the registry is out")

type archives func(repository, name, version string) ([]byte, error)

func (a archives) Archive(_ context.Context, repository, name, version string) ([]byte, error) {
	return a(repository, name, version)
}

// TestErrorsTravel: an error has its text in the parent, and what it wrapped there.
func TestErrorsTravel(t *testing.T) {
	t.Parallel()
	pool := openPool(t, "child", testBounds)
	_, err := render(t.Context(), pool, "absent", fstest.MapFS{})
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != "read it: open absent: file does not exist" {
		t.Error(err)
	}
	var path *fs.PathError
	if !errors.As(err, &path) {
		t.Errorf("%T is not what the parent answered", err)
	}
	pool.options.Archives = archives(func(repository, name, version string) ([]byte, error) {
		if repository+name+version != "oci://example.comredis1.2.3" {
			t.Errorf("%s %s %s", repository, name, version)
		}
		return nil, errOfParent
	})
	pool.Close() // so that a child with these archives is started
	if _, err := render(t.Context(), pool, "archive", fstest.MapFS{}); !errors.Is(err, errOfParent) || errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	pool.options.Archives = nil
	pool.Close()
	if _, err := render(t.Context(), pool, "archive", fstest.MapFS{}); err == nil {
		t.Error("an archive of nobody")
	}
}

// TestBrokenChildren: whatever a child does, the parent says that it ended, and never prints its stacks.
func TestBrokenChildren(t *testing.T) {
	t.Parallel()
	for child, want := range map[string]string{
		"silent":    "exit status 0",
		"loud":      "exit status 1) loud loud",
		"panic":     "exit status 2) panic: out of luck",
		"garbage":   "signal: killed",
		"truncated": "unexpected EOF (exit status 0)",
		"oversized": "a message between the processes is larger than its limit (signal: killed)",
		"empty":     "it sent a message that says nothing (signal: killed)",
		"absent":    "start a process that renders",
	} {
		t.Run(child, func(t *testing.T) {
			t.Parallel()
			pool := openPool(t, child, testBounds)
			if child == "absent" {
				pool.options.Program = filepath.Join(t.TempDir(), "absent")
			}
			_, err := render(t.Context(), pool, "fine", fstest.MapFS{})
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "goroutine") || len(err.Error()) > 2*maxLastWords {
				t.Errorf("%v\nwant %s", err, want)
			}
		})
	}
	pool := openPool(t, "child", testBounds)
	_, err := render(t.Context(), pool, "fine, panic", fstest.MapFS{})
	if err == nil || !strings.Contains(err.Error(), "chart/templates/panic.yaml: the process that rendered it ended") ||
		!strings.Contains(err.Error(), "a panic that is not recovered") || strings.Contains(err.Error(), "goroutine") {
		t.Error(err)
	}
}

// cancelling is a file system whose reader is interrupted.
type cancelling struct {
	fstest.MapFS
	cancel func()
}

func (c cancelling) Open(string) (fs.File, error) {
	c.cancel()
	return fstest.MapFS{"pid": {}}.Open("pid")
}

// TestCancel: the end of a context ends a render that never ends, with the context's error.
func TestCancel(t *testing.T) {
	t.Parallel()
	forever := testBounds
	forever.Time = time.Hour
	pool := openPool(t, "child", forever)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := render(ctx, pool, "pid, loop", cancelling{cancel: cancel}); !errors.Is(err, context.Canceled) || err.Error() != context.Canceled.Error() {
		t.Error(err)
	}
	if len(pool.idle) != 0 {
		t.Error("a child that was killed is used again")
	}
	if _, err := render(ctx, pool, "fine", fstest.MapFS{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got, err := render(t.Context(), pool, "fine", fstest.MapFS{}); got != "fine" || err != nil {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}

// TestNothingOfTheParent: a child has no environment but the time zone, and works in no folder of the parent.
func TestNothingOfTheParent(t *testing.T) {
	t.Parallel()
	if os.Getenv("PATH") == "" {
		t.Fatal("the test has no environment itself")
	}
	got, err := render(t.Context(), openPool(t, "child", testBounds), "environment", fstest.MapFS{})
	if err != nil || strings.Contains(got, "PATH=") || os.PathSeparator == '/' && got != "[TZ=UTC]/" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestWholeValuesTravel refuses fields of requests and results that encoding/gob leaves out.
func TestWholeValuesTravel(t *testing.T) {
	t.Parallel()
	ours := []string{"hydrate.Source.Files", "hydrate.Source.Prefetch", "hydrate.Overlay.GitOps"} // sent otherwise
	seen := map[reflect.Type]bool{}
	var visit func(typ reflect.Type, where string)
	visit = func(typ reflect.Type, where string) {
		switch {
		case slices.Contains(ours, where) || seen[typ] || typ == reflect.TypeFor[time.Time]():
			return
		case typ.Kind() == reflect.Interface || typ.Kind() == reflect.Func || typ.Kind() == reflect.Chan:
			t.Errorf("%s, a %s, does not travel", where, typ)
		}
		seen[typ] = true
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			visit(typ.Elem(), where)
		case reflect.Struct:
			for field := range typ.NumField() {
				f := typ.Field(field)
				if !f.IsExported() {
					t.Errorf("%s.%s is not exported, and does not travel", typ, f.Name)
				}
				visit(f.Type, typ.String()+"."+f.Name)
			}
		}
	}
	visit(reflect.TypeFor[message](), "message")
	if len(seen) < 15 {
		t.Errorf("only %d types were seen", len(seen))
	}
}
