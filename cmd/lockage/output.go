package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
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
	if a.format == "text" {
		r.Text(a.stdout)
	}
}

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
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if werr := enc.Encode(doc); werr != nil && err == nil {
			err, code = werr, exitFailed
		}
	}
	if err != nil {
		for i, line := range strings.Split(err.Error(), "\n") {
			if i == 0 {
				line = "lockage: " + line
			}
			fmt.Fprintln(a.stderr, line)
		}
	}
	if said && os.Getenv("GITHUB_ACTIONS") == "true" {
		a.writeActions(doc)
	}
	return code
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
	text := strings.TrimRight(b.String()+doc.Error, "\n")
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
	fmt.Fprintf(a.stderr, "lockage: "+format+"\n", args...)
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
	fmt.Fprintf(a.stderr, format+"\n", args...)
}
