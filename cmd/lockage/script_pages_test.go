package main

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lockage/lockage/internal/testworld"
)

// openPages are the documents that scripts step through, by the script's folder.
var openPages sync.Map

type openPage struct {
	file string
	rest []testworld.Step
}

// cmdPage opens a document.
func cmdPage(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 1, "page FILE")
	document, err := os.ReadFile(filepath.Join("..", "..", args[0]))
	ts.Check(err)
	openPages.Store(ts.Getenv("WORK"), &openPage{file: args[0], rest: testworld.Steps(string(document))})
}

// innerHost is the registry that pages copy to.
const innerHost = "registry.internal:5000"

// cmdStep does the document's next step, in the current folder: it writes the files and runs the shell, which must end with CODE
// and print what the document shows. ghcr.io is the script's registry, and innerHost the one that it named INNER.
func cmdStep(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) > 1, "step [CODE]")
	open, ok := openPages.Load(ts.Getenv("WORK"))
	refuse(ts, !ok, "step: open a page first")
	p := open.(*openPage)
	if len(p.rest) == 0 {
		ts.Fatalf("%s has no further step", p.file)
	}
	step := p.rest[0]
	p.rest = p.rest[1:]
	inner := cmp.Or(ts.Getenv("INNER"), innerHost)
	here := strings.NewReplacer("ghcr.io/", ts.Getenv("REGISTRY")+"/", innerHost, inner)
	there := strings.NewReplacer(ts.Getenv("REGISTRY"), "ghcr.io", inner, innerHost)
	for path, content := range step.Files {
		writeFile(ts, ts.MkAbs(path), here.Replace(content))
	}
	want := 0
	if len(args) == 1 {
		code, err := strconv.Atoi(args[0])
		ts.Check(err)
		want = code
	}
	execute(ts, want, "bash", "-e", "-o", "pipefail", "-c", here.Replace(step.Shell))
	if err := step.Prints(there.Replace(ts.ReadFile("stdout"))); err != nil {
		ts.Fatalf("%s: after\n%s%v", p.file, step.Shell, err)
	}
}

var stepLine = regexp.MustCompile(`(?m)^step\b`)

// TestPages checks that for each page on how to do something there is a script or test that does all its steps.
func TestPages(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/howto/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	onForge, err := os.ReadFile("../../internal/e2e/howto_test.go") // which does all steps of each page that it names
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pages {
		document, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".md")
		if name == "README" || strings.Contains(string(onForge), `"`+name+`": `) {
			continue // all begin with README
		}
		script, err := os.ReadFile("../../testdata/script/howto-" + name + ".txtar")
		if err != nil {
			t.Errorf("%s: no script does its steps: %v", path, err)
			continue
		}
		_, does, _ := strings.Cut(string(script), "page docs/howto/"+filepath.Base(path)+"\n")
		if want, got := len(testworld.Steps(string(document))), len(stepLine.FindAllString(does, -1)); got != want {
			t.Errorf("%s has %d steps, and its script does %d", path, want, got)
		}
	}
}
