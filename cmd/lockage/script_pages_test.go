package main

import (
	"cmp"
	"fmt"
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
	file  string
	rest  []testworld.Step
	reads []string // pairs of a text of the document and its value here
}

// cmdPage opens a document.
func cmdPage(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 1, "page FILE")
	document, err := os.ReadFile(filepath.Join("..", "..", args[0]))
	ts.Check(err)
	inner := cmp.Or(ts.Getenv("INNER"), innerHost)
	openPages.Store(ts.Getenv("WORK"), &openPage{
		file: args[0], rest: testworld.Steps(string(document)),
		reads: []string{"ghcr.io/", ts.Getenv("REGISTRY") + "/", innerHost, inner},
	})
}

// innerHost is the registry that pages copy to.
const innerHost = "registry.internal:5000"

// cmdReads sets the value of a text of the open document.
func cmdReads(ts *testscript.TestScript, neg bool, args []string) {
	open, ok := openPages.Load(ts.Getenv("WORK"))
	refuse(ts, neg || !ok || len(args) != 2, "reads TEXT VALUE, with a page open")
	p := open.(*openPage)
	p.reads = append([]string{args[0], args[1]}, p.reads...)
}

func (p *openPage) here() *strings.Replacer { return strings.NewReplacer(p.reads...) }

// there is the reverse of here, for hosts alone.
func (p *openPage) there() *strings.Replacer {
	hosts := p.reads[len(p.reads)-4:]
	return strings.NewReplacer(hosts[1], hosts[0], hosts[3], hosts[2])
}

// nextStep takes the next step of the open document, and writes its files.
func nextStep(ts *testscript.TestScript) (*openPage, testworld.Step) {
	open, ok := openPages.Load(ts.Getenv("WORK"))
	refuse(ts, !ok, "step: open a page first")
	p := open.(*openPage)
	if len(p.rest) == 0 {
		ts.Fatalf("%s has no further step", p.file)
	}
	step := p.rest[0]
	p.rest = p.rest[1:]
	for path, content := range step.Files {
		writeFile(ts, ts.MkAbs(path), p.here().Replace(content))
	}
	return p, step
}

// cmdStep does the document's next step, in the current folder: it writes the files and runs the shell, which must end with CODE
// and print what the document shows. ghcr.io is the script's registry, and innerHost the one that it named INNER.
func cmdStep(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) > 1, "step [CODE]")
	p, step := nextStep(ts)
	execute(ts, exitCodes(ts, args, 1)[0], "bash", "-e", "-o", "pipefail", "-c", p.here().Replace(step.Shell))
	if err := step.Prints(p.there().Replace(ts.ReadFile("stdout"))); err != nil {
		ts.Fatalf("%s: after\n%s%v", p.file, step.Shell, err)
	}
}

// exitCodes are the exit statuses of so many commands: 0 where the arguments end.
func exitCodes(ts *testscript.TestScript, args []string, commands int) []int {
	codes := make([]int, commands)
	if len(args) > commands {
		ts.Fatalf("%d exit statuses for %d commands", len(args), commands)
	}
	for i, arg := range args {
		code, err := strconv.Atoi(arg)
		ts.Check(err)
		codes[i] = code
	}
	return codes
}

// cmdLines does the document's next step, a list of commands that a reader chooses from: each must end with its own CODE.
func cmdLines(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg, "lines [CODE…]")
	p, step := nextStep(ts)
	var commands []string
	for line := range strings.Lines(strings.ReplaceAll(step.Shell, "\\\n", "")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			commands = append(commands, line)
		}
	}
	codes := exitCodes(ts, args, len(commands))
	var wrong []string
	for i, command := range commands {
		if got := ended(ts, "bash", "-o", "pipefail", "-c", p.here().Replace(command)); got != codes[i] {
			wrong = append(wrong, fmt.Sprintf("exit status %d, want %d: %s", got, codes[i], command))
		}
	}
	if len(wrong) > 0 {
		ts.Fatalf("%s:\n%s", p.file, strings.Join(wrong, "\n"))
	}
}

// cmdCovered leaves the document's next step to a test, in whose file TEXT stands.
func cmdCovered(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 2, "covered FILE TEXT")
	nextStep(ts)
	test, err := os.ReadFile(filepath.Join("..", "..", args[0]))
	ts.Check(err)
	if !strings.Contains(string(test), args[1]) {
		ts.Fatalf("%s has no %s", args[0], args[1])
	}
}

var stepLine = regexp.MustCompile(`(?m)^(?:step|lines|covered)\b`)

// stepsDone returns how many steps of a page a script does: those up to the next page.
func stepsDone(script, page string) int {
	_, does, _ := strings.Cut(script, "\npage "+page+"\n")
	does, _, _ = strings.Cut(does, "\npage ")
	return len(stepLine.FindAllString(does, -1))
}

// TestPages checks that for each document with commands there is a script or test that does all its steps.
func TestPages(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var scripts []string
	for _, file := range files {
		script, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts = append(scripts, string(script))
	}
	onForge, err := os.ReadFile("../../internal/e2e/howto_test.go") // which does all steps of each page that it names
	if err != nil {
		t.Fatal(err)
	}
	pages := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob("../../" + pattern)
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, found, err)
		}
		for _, path := range found {
			document, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want, name := len(testworld.Steps(string(document))), strings.TrimSuffix(filepath.Base(path), ".md")
			if want == 0 || strings.Contains(string(onForge), `"`+name+`": `) {
				continue
			}
			pages++
			done := 0
			for _, script := range scripts {
				done = max(done, stepsDone(script, strings.TrimPrefix(path, "../../")))
			}
			if done != want {
				t.Errorf("%s has %d steps, and the script that does most of them does %d", path, want, done)
			}
		}
	}
	if pages < 38 {
		t.Errorf("%d pages", pages)
	}
}
