// Package e2e runs the built program on the demo's repositories against registries that are not ours, and lets programs judge
// the outcome that did not come from us: cosign, crane and helm, built from upstream by tools.sh.
//
// The tests are skipped unless LOCKAGE_E2E=1; then a missing judge is a failure. `make e2e` sets all that is needed.
package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"

	"github.com/lockage/lockage/internal/testworld"
)

// judges are the programs that LOCKAGE_E2E=1 needs on the PATH.
var judges = []string{"cosign", "cosign3", "crane", "git", "helm", "registry"}

// requireE2E skips the test, or makes sure that every judge is there; it returns the program under test.
func requireE2E(t *testing.T) string {
	t.Helper()
	if os.Getenv("LOCKAGE_E2E") != "1" {
		t.Skip("end-to-end tests need upstream's tools: run `make e2e`")
	}
	for _, judge := range judges {
		if _, err := exec.LookPath(judge); err != nil {
			t.Fatalf("LOCKAGE_E2E=1, but a judge is missing: %v; run `make e2e`", err)
		}
	}
	bin := os.Getenv("LOCKAGE_BIN")
	if !filepath.IsAbs(bin) {
		t.Fatalf("LOCKAGE_BIN=%q is not the absolute path of a lockage binary; run `make e2e`", bin)
	}
	return bin
}

// registries are the kinds of registries that must all do.
var registries = []struct {
	name  string
	start func(*testing.T) string // returns host:port
}{
	{"distribution", func(t *testing.T) string { return newDistribution(t).addr }}, // no referrers API
	{"olareg", startOlareg}, // with referrers API
}

func startOlareg(t *testing.T) string {
	t.Helper()
	return testworld.Serve(t, newOlareg(t, true)).Host
}

// newOlareg returns an empty registry.
func newOlareg(t *testing.T, referrers bool) http.Handler {
	t.Helper()
	deletes := true
	conf := config.Config{Storage: config.ConfigStorage{StoreType: config.StoreMem}}
	conf.API.DeleteEnabled, conf.API.Referrer.Enabled = &deletes, &referrers
	registry := olareg.New(conf)
	t.Cleanup(func() { _ = registry.Close() })
	return registry
}

// eventually polls what other programs do in their own time. There is no limit but that of `go test`: how long they take depends
// on the machine.
func eventually(done func() bool) {
	for !done() {
		time.Sleep(50 * time.Millisecond)
	}
}

// world is one set of repositories, with a home of its own.
type world struct {
	t        *testing.T
	dir      string // holds source, gitops, gitops.git, keys and home
	env      []string
	bin      string
	registry string
	cluster  bool // whether KUBECONFIG names one
}

// command runs a program in a folder below the world's and returns its stdout; a failure ends the test.
func (w *world) command(dir, program string, args ...string) string {
	w.t.Helper()
	stdout, stderr, err := w.try(dir, program, args...)
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout
}

func (w *world) try(dir, program string, args ...string) (stdout, stderr string, err error) {
	w.t.Helper()
	var outBuf, errBuf strings.Builder
	cmd := exec.CommandContext(w.t.Context(), "env", append([]string{program}, args...)...) // which looks it up in the world's PATH
	cmd.Dir = filepath.Join(w.dir, dir)
	cmd.Env = w.env
	cmd.Stdout, cmd.Stderr = &outBuf, &errBuf
	err = cmd.Run()
	return outBuf.String(), errBuf.String(), err
}

// eachCosign calls judge for each version of cosign that people have, which is the `cosign` of the world meanwhile.
func (w *world) eachCosign(judge func()) {
	w.t.Helper()
	before := w.env
	for _, name := range []string{"cosign", "cosign3"} {
		program, err := exec.LookPath(name)
		if err != nil {
			w.t.Fatal(err)
		}
		bin := w.path("bin-" + name)
		if err := os.MkdirAll(bin, 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Symlink(program, filepath.Join(bin, "cosign")); err != nil && !errors.Is(err, fs.ErrExist) {
			w.t.Fatal(err)
		}
		w.env = append(before[:len(before):len(before)], "PATH="+bin+":"+os.Getenv("PATH"))
		judge()
	}
	w.env = before
}

// refused runs a program that must fail, and returns its output.
func (w *world) refused(dir, program string, args ...string) string {
	w.t.Helper()
	stdout, stderr, err := w.try(dir, program, args...)
	if err == nil {
		w.t.Fatalf("%s %s: succeeded, and must not\n%s%s", program, strings.Join(args, " "), stdout, stderr)
	}
	return strings.Join(strings.Fields(stdout+stderr), " ") // in one line: text is wrapped
}

func (w *world) path(elements ...string) string {
	return filepath.Join(append([]string{w.dir}, elements...)...)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// decode reads one JSON value, unknown keys allowed, and nothing after it.
func decode[T any](t *testing.T, document string) T {
	t.Helper()
	var value T
	decoder := json.NewDecoder(strings.NewReader(document))
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("more than one JSON value: %s", document)
	}
	return value
}
