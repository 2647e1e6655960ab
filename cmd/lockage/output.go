package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf16"

	"golang.org/x/term"

	"github.com/lockage/lockage/internal/terminal"
)

// result is what a verb has to say: the same facts as text and as JSON.
type result interface {
	// Text writes the result for a person at a terminal or a log.
	Text(w io.Writer)
}

// document is the one JSON object that -o json prints.
type document struct {
	Results any    `json:"results"`
	Error   string `json:"error,omitempty"`
}

// emit prints results as the user asked for them. With -o json they are kept until finish, so that an error that
// comes later stands in the same document.
func (a *app) emit(r result) {
	a.results = r
	if a.format != "text" {
		return
	}
	if _, ok := r.(verbatim); ok {
		r.Text(a.stdout)
		return
	}
	var b strings.Builder
	r.Text(&b)
	_, _ = io.WriteString(a.stdout, harmless(b.String()))
}

// verbatim are results whose text is manifests, byte for byte, or has colours and is made harmless where it is written.
type verbatim interface{ verbatim() }

// finish prints what is left to say, and returns the exit status for err.
func (a *app) finish(err error) int {
	code := exitCode(err)
	said := a.results != nil || err != nil
	doc := document{Results: a.results}
	if doc.Results == nil {
		doc.Results = []any{}
	}
	if err != nil {
		doc.Error = err.Error()
	}
	if a.format == "json" && said {
		if werr := writeJSON(a.stdout, doc); werr != nil && err == nil {
			err, code = werr, exitFailed
		}
	}
	if err != nil {
		fmt.Fprintln(a.stderr, harmless("lockage: "+err.Error()))
	}
	if said && os.Getenv("GITHUB_ACTIONS") == "true" {
		a.writeActions(doc)
	}
	return code
}

func writeJSON(w io.Writer, doc document) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return err
	}
	// All of these stand in strings only, where they can be written so: the encoder escapes what ASCII has of them.
	var out strings.Builder
	for _, r := range strings.ReplaceAll(b.String(), runnerCommand, `#\u0023[`) {
		if r == '\n' || terminal.Printable(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&out, `\u%04x`, unit)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// By these the runners of GitHub and Gitea know commands in what a step prints: the first anywhere in a line, the second at its
// beginning.
const (
	runnerCommand = "##["
	lineCommand   = "::"
)

// harmless writes a text of several lines so that nothing in it takes effect, whoever wrote it: what a terminal obeys or an eye
// misses as an escape, and commands to a runner apart.
func harmless(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if begin := len(line) - len(strings.TrimLeftFunc(line, unicode.IsSpace)); strings.HasPrefix(line[begin:], lineCommand) {
			line = line[:begin] + ": " + line[begin+1:]
		}
		b.WriteString(terminal.Escape(strings.ReplaceAll(line, runnerCommand, "# #["), "\n\t"))
	}
	return b.String()
}

// maxSummary bounds what is written to the step summary; GitHub refuses more than 1 MiB.
const maxSummary = 512 << 10

// writeActions hands the results to GitHub Actions, where it runs us: the step's output `results` is the JSON
// document, and the step summary shows the text.
func (a *app) writeActions(doc document) {
	if data, err := json.Marshal(doc); err == nil {
		a.appendActions("GITHUB_OUTPUT", "results="+string(data)+"\n")
	}
	var b strings.Builder
	if r, ok := a.results.(result); ok {
		r.Text(&b)
	}
	text := harmless(strings.TrimRight(b.String()+doc.Error, "\n"))
	if len(text) > maxSummary {
		text = strings.ToValidUTF8(text[:maxSummary], "") + "\n(and more)"
	}
	// An indented block: nothing in it is Markdown or HTML, whatever it says.
	a.appendActions("GITHUB_STEP_SUMMARY", "    "+strings.ReplaceAll(text, "\n", "\n    ")+"\n\n")
}

func (a *app) appendActions(variable, text string) {
	path := os.Getenv(variable)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // the runner names the file
	if err != nil {
		a.warn("%s: %v", variable, err)
		return
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		a.warn("%s: %v", variable, err)
	}
}

// warn tells the user something that is no result, on standard error.
func (a *app) warn(format string, args ...any) {
	fmt.Fprintln(a.stderr, harmless(fmt.Sprintf("lockage: "+format, args...)))
}

// step shows progress: on a terminal, or where --progress plain asks for it. A pipe never sees it otherwise.
func (a *app) step(format string, args ...any) {
	switch a.progress {
	case "none":
		return
	case "auto":
		if f, ok := a.stderr.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
			return
		}
	}
	fmt.Fprintln(a.stderr, harmless(fmt.Sprintf(format, args...)))
}
