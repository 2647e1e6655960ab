package worker

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/lockage/lockage/hydrate"
)

// TestMain makes the test binary a child, good or broken, where its first argument says so.
func TestMain(m *testing.M) {
	if len(os.Args) != 2 || children[os.Args[1]] == nil {
		os.Exit(m.Run())
	}
	if err := children[os.Args[1]](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var children = map[string]func() error{
	"child": func() error {
		return Serve(context.Background(), os.Stdin, os.Stdout, testRenderers)
	},
	"parent": func() error { // of a child that renders without end
		_, err := render(context.Background(), newPool("child", Bounds{Memory: 1 << 30, Stack: 1 << 20, Output: 1 << 20, Time: time.Hour}), "pid, loop", tellPID{})
		return err
	},
	"silent": func() error { return nil },
	"loud":   func() error { return errors.New(strings.Repeat("loud ", 1<<20)) },
	"panic":  func() error { panic("out of luck") },
	"garbage": func() error {
		_, err := io.WriteString(os.Stdout, strings.Repeat("garbage ", 1<<17)) // random bytes may announce a long message
		return errors.Join(err, wait())
	},
	"truncated": func() error {
		var reply strings.Builder
		err := gob.NewEncoder(&reply).Encode(message{Reply: &reply0})
		_, werr := os.Stdout.WriteString(reply.String()[:reply.Len()-5])
		return errors.Join(err, werr)
	},
	"oversized": func() error {
		if _, err := os.Stdout.Write([]byte{0xfb, 1, 0, 0, 0, 0}); err != nil { // a message of 4 GB
			return err
		}
		for data := make([]byte, 1<<20); ; {
			if _, err := os.Stdout.Write(data); err != nil {
				return err
			}
		}
	},
	"empty": func() error { return errors.Join(gob.NewEncoder(os.Stdout).Encode(message{}), wait()) },
}

var reply0 = reply{Rendered: hydrate.Rendered{Warnings: []string{"a warning"}}}

// wait waits for the end of the parent's patience.
func wait() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// testBounds are small, but for the time: a busy machine and the race detector take several times as much.
var testBounds = Bounds{Memory: 200 << 20, Stack: 1 << 20, Output: 1 << 20, Time: time.Minute}

// hastyBounds are for what must reach the bound of time.
var hastyBounds = Bounds{Memory: testBounds.Memory, Stack: testBounds.Stack, Output: testBounds.Output, Time: 2 * time.Second}

func newPool(child string, bounds Bounds) *Pool {
	program, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return New(Options{Program: program, Args: []string{program, child}, Size: 2, Bounds: bounds})
}

func openPool(t *testing.T, child string, bounds Bounds) *Pool {
	t.Helper()
	pool := newPool(child, bounds)
	t.Cleanup(pool.Close)
	return pool
}

// render renders one stage of a new package in a pool. The script is what the package does.
func render(ctx context.Context, pool *Pool, script string, files fs.FS) (string, error) {
	pkg, err := pool.Renderer("plain", testRenderer{}).Open(ctx, hydrate.Source{Files: files, Path: "chart"})
	if err != nil {
		return "", err
	}
	return renderPackage(ctx, pkg, script)
}

func renderPackage(ctx context.Context, pkg hydrate.Package, script string) (string, error) {
	rendered, err := pkg.Render(ctx, hydrate.Request{ReleaseName: script})
	if err != nil {
		return "", err
	}
	return string(rendered.Manifests[0].Data), nil
}

func testRenderers(charts Archives) map[string]hydrate.Renderer {
	return map[string]hydrate.Renderer{"plain": testRenderer{charts: charts}, "overlay": testRenderer{charts: charts, overlays: true}}
}

// testRenderer opens packages that do what the request's release name, or the overlay's name, says.
type testRenderer struct {
	charts   Archives
	overlays bool
}

func (testRenderer) Version(hydrate.Options) string { return "test v1" }
func (r testRenderer) Overlays() bool               { return r.overlays }
func (p *testPackage) Inputs() []hydrate.Input      { return []hydrate.Input{{Path: "input"}} }

func (r testRenderer) Open(_ context.Context, source hydrate.Source) (hydrate.Package, error) {
	if !r.overlays {
		_, _ = fs.Stat(source.Files, "opened")
	}
	return &testPackage{source, r.charts}, nil
}

type testPackage struct {
	source hydrate.Source
	charts Archives
}

// ballast is what earlier renders left in the process.
var ballast [][]byte

func (p *testPackage) Render(ctx context.Context, request hydrate.Request) (rendered hydrate.Rendered, err error) {
	script := request.ReleaseName
	if p.source.Overlay != nil {
		script = p.source.Overlay.Options.Overlay
	}
	var out string
	for step := range strings.SplitSeq(script, ", ") {
		hydrate.Progress(ctx, "chart/templates/"+step+".yaml")
		if out, err = p.step(ctx, step); err != nil {
			return rendered, err
		}
	}
	rendered.Manifests = []hydrate.Manifest{{Source: "chart/templates/" + script + ".yaml", Document: 1, Data: []byte(out)}}
	rendered.Warnings = []string{"done"}
	return rendered, nil
}

func (p *testPackage) step(ctx context.Context, step string) (string, error) {
	switch step {
	case "loop":
		for i := 0; ; i++ {
			_ = i
		}
	case "recurse":
		return recurse(step), nil
	case "eat":
		for {
			ballast = append(ballast, slices.Repeat([]byte("x"), 1<<20))
		}
	case "gulp":
		return string(make([]byte, 1<<42)), nil
	case "keep": // more than half of testBounds.Memory
		ballast = append(ballast, slices.Repeat([]byte("x"), 120<<20))
		time.Sleep(100 * time.Millisecond) // so that the process sees it
	case "write":
		return strings.Repeat("x", 2<<20), nil
	case "panic":
		panic("a panic that is not recovered")
	case "pid":
		_, err := fs.ReadFile(p.source.Files, fmt.Sprint("pid/", os.Getpid()))
		return "", err
	case "environment":
		dir, err := os.Getwd()
		return fmt.Sprint(os.Environ(), dir), err
	case "absent":
		_, err := fs.ReadFile(p.source.Files, "absent")
		return "", fmt.Errorf("read it: %w", err)
	case "archive":
		data, err := p.charts.Archive(ctx, "oci://example.com", "redis", "1.2.3")
		return string(data), err
	case "describe":
		return describe(p.source.Files) + describe(p.source.Overlay.GitOps), p.source.Prefetch(ctx, "a", "b")
	}
	return step, nil
}

func recurse(text string) string { return recurse(text+"x") + "y" } //nolint:staticcheck // without end, on purpose

// tellPID prints the process of a child that reads pid/N.
type tellPID struct{ fstest.MapFS }

func (t tellPID) Open(name string) (fs.File, error) {
	if pid, ok := strings.CutPrefix(name, "pid/"); ok {
		fmt.Println(pid)
		return fstest.MapFS{"pid": {}}.Open("pid")
	}
	return nil, fs.ErrNotExist
}

// describe lists all that can be asked of a file system.
func describe(fsys fs.FS) string {
	var b strings.Builder
	note := func(name string, results ...any) { fmt.Fprintln(&b, name, results) }
	sub, err := fs.Sub(fsys, "folder")
	note("sub", err)
	for _, tree := range []fs.FS{fsys, sub} {
		err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
			note(name, entry.IsDir(), entry.Type(), err)
			info, err := fs.Stat(tree, name)
			note("stat", err)
			if err == nil {
				note("is", info.Name(), info.Size(), info.Mode(), info.ModTime().UTC())
			}
			data, err := fs.ReadFile(tree, name)
			note("read", string(data), errors.Is(err, fs.ErrNotExist))
			if links, ok := tree.(fs.ReadLinkFS); ok {
				target, err := links.ReadLink(name)
				info, lerr := links.Lstat(name)
				note("link", target, err, info.Mode(), lerr)
			}
			if paths, ok := tree.(realPather); ok {
				note("real", must(paths.RealPath(name)))
			}
			return nil
		})
		note("walk", err)
		_, err = fs.Stat(tree, "absent")
		note("absent", err, errors.Is(err, fs.ErrNotExist))
		_, err = tree.Open("../x")
		note("outside", err)
	}
	_, err = fs.Sub(fsys, "absent")
	note("no sub", err)
	return b.String()
}

func must(value string, err error) string { return fmt.Sprint(value, err) }
