package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"

	"github.com/lockage/lockage/internal/terminal"
)

// result is the result of a verb: the same facts as text and as JSON.
type result interface {
	// Text writes the result for a terminal or a log.
	Text(w io.Writer)
}

// list is results that are shown one after the other.
type list[T result] []T

func (rs list[T]) Text(w io.Writer) {
	for _, r := range rs {
		r.Text(w)
	}
}

// nothing is the result of a run that has no stage. The text says why.
type nothing string

// MarshalJSON returns an empty list.
func (nothing) MarshalJSON() ([]byte, error) { return []byte("[]"), nil }

func (n nothing) Text(w io.Writer) { fmt.Fprintln(w, string(n)) }

// document is the one JSON object that -o json prints.
type document struct {
	Results any    `json:"results"`
	Error   string `json:"error,omitempty"`
}

// emit prints results in the format of -o. As JSON they are kept until finish, so that a later error is in the same document.
func (a *app) emit(r result) {
	a.results = r
	a.clear()
	if a.format == "json" {
		return
	}
	text := harmless(a.text(r))
	if a.colours() {
		text = coloured(text)
	}
	_, err := io.WriteString(a.stdout, text)
	a.unshown = cmp.Or(a.unshown, err)
}

// text returns the text of a result, in the width that -o asks for.
func (a *app) text(r result) string {
	var b strings.Builder
	r.Text(&b)
	if a.format == "wide" || a.verbatim {
		return b.String()
	}
	return narrow(b.String())
}

// emitVerbatim is emit for results whose text is manifests, byte for byte, or has colours and is escaped by its writer.
func (a *app) emitVerbatim(r result) {
	a.results, a.verbatim = r, true
	a.clear()
	if a.format != "json" {
		w := &checkedWriter{Writer: a.stdout}
		r.Text(w)
		a.unshown = cmp.Or(a.unshown, w.err)
	}
}

// checkedWriter keeps the first error of a writer.
type checkedWriter struct {
	io.Writer
	err error
}

func (w *checkedWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.err = cmp.Or(w.err, err)
	return n, err
}

// finish prints the error and, as JSON, the results; it returns the exit status.
func (a *app) finish(err error) int {
	err = errors.Join(err, a.unshown)
	code := exitCode(err)
	reportable := a.results != nil || err != nil
	doc := document{Results: a.results, Error: messageOf(err)}
	if doc.Results == nil {
		doc.Results = []any{}
	}
	if a.format == "json" && reportable {
		if werr := writeJSON(a.stdout, doc); werr != nil {
			err, code = errors.Join(err, werr), cmp.Or(code, exitFailed)
		}
	}
	message := messageOf(err)
	if a.format != "json" {
		message = brief(err)
	}
	if a.clear(); err != nil {
		a.warning(message)
	}
	if reportable && os.Getenv("GITHUB_ACTIONS") == "true" {
		a.writeActions(doc, message)
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
	// These characters occur in strings only, where an escape is allowed; the encoder has escaped those of ASCII.
	var out strings.Builder
	for _, r := range runnerCommand.ReplaceAllString(b.String(), `#\u0023$1`) {
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

// runnerCommand matches what runners read as commands anywhere in a line of a step's output: ##[…] at GitHub and Gitea, ##vso[…] at
// Azure Pipelines, ##teamcity[…].
var runnerCommand = regexp.MustCompile(`(?i)##([a-z]*\[)`)

// lineCommand begins a line that the runners of GitHub and Gitea read as a command.
const lineCommand = "::"

// harmless escapes in a text of several lines what a terminal would obey or a reader would not see, and breaks up commands to a
// runner: the text may come from anybody.
func harmless(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if begin := len(line) - len(strings.TrimLeftFunc(line, unicode.IsSpace)); strings.HasPrefix(line[begin:], lineCommand) {
			line = line[:begin] + ": " + line[begin+1:]
		}
		b.WriteString(terminal.Escape(runnerCommand.ReplaceAllString(line, "# #$1"), "\n\t"))
	}
	return b.String()
}

// maxSummary bounds what is written to the step summary; GitHub refuses more than 1 MiB.
const maxSummary = 512 << 10

// writeActions hands the results to GitHub Actions: the step's output `results` is the JSON document, and the step summary
// shows the text and the message.
func (a *app) writeActions(doc document, message string) {
	if data, err := json.Marshal(doc); err == nil {
		a.appendActions("GITHUB_OUTPUT", "results="+string(data)+"\n")
	}
	sections := []section{{text: message}}
	switch r := a.results.(type) {
	case sectioned:
		sections = append(r.Sections(), sections...)
	case result:
		sections[0].text = a.text(r) + message
	}
	for _, s := range sections {
		a.summarize(s)
	}
}

// section is a part of the step summary.
type section struct{ title, text string }

// sectioned is a result that has several.
type sectioned interface{ Sections() []section }

func (a *app) summarize(s section) {
	text := harmless(strings.TrimRight(s.text, "\n"))
	if len(text) > maxSummary {
		text = strings.ToValidUTF8(text[:maxSummary], "") + "\n(and more)"
	}
	if s.title != "" {
		a.appendActions("GITHUB_STEP_SUMMARY", "### "+s.title+"\n\n")
	}
	// Nothing in an indented block is Markdown or HTML.
	if text != "" {
		a.appendActions("GITHUB_STEP_SUMMARY", "    "+strings.ReplaceAll(text, "\n", "\n    ")+"\n\n")
	}
}

func (a *app) appendActions(variable, text string) {
	path := os.Getenv(variable)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // the runner names the file
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		a.warn("%s: %v", variable, err)
	}
}

// warn prints a message that is not a result on standard error.
func (a *app) warn(format string, args ...any) { a.warning(fmt.Sprintf(format, args...)) }

// warning is warn for a message as it is.
func (a *app) warning(message string) { a.print("lockage: " + message) }

// print prints a message on standard error, above the line of progress.
func (a *app) print(message string) {
	a.clear()
	fmt.Fprintln(a.stderr, harmless(message))
}

// warnEach prints messages that are not a result.
func (a *app) warnEach(messages []string) {
	for _, message := range messages {
		a.warning(message)
	}
}

func table(w io.Writer, rows func(w io.Writer)) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows(tw)
	_ = tw.Flush() // the writer's own errors show at the end of the run
}

// messageOf is the text of an error; "" for nil.
func messageOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// longList is how many rows a reader counts by themselves.
const longList = 10

// summarize writes a line with how many rows have each outcome, the most frequent first, if there are many of them.
func summarize(w io.Writer, outcomes []string) {
	if len(outcomes) <= longList {
		return
	}
	counts := map[string]int{}
	for _, o := range outcomes {
		counts[o]++
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(counts[b]-counts[a], cmp.Compare(a, b)) })
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", counts[name], name)
	}
	fmt.Fprintln(w, strings.Join(names, ", "))
}

// few lists names on one line, the first of them if there are many.
func few(names []string) string {
	line := strings.Join(names[:min(len(names), longList)], ", ")
	if more := len(names) - longList; more > 0 {
		line += fmt.Sprintf(" and %d more", more)
	}
	return line
}

// counted is a number of things.
func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// nonNil makes a nil list an empty one, in JSON too.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// checkEmpty refuses a folder that is neither new nor empty.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && len(entries) > 0:
		return usagef("folder %s is not empty; name another one, or remove it", dir)
	}
	return err
}

// writeDir writes the files of a tree to a folder that is new or empty. They are written beside it first and put in
// place by one rename: the folder has all of them or none.
func writeDir(dir string, files fs.FS) error {
	dir = filepath.Clean(dir)
	if err := checkEmpty(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // manifests are public
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".lockage-")
	if err != nil {
		return err
	}
	err = os.CopyFS(tmp, files)
	if err == nil {
		err = os.Chmod(tmp, 0o755) //nolint:gosec // the same
	}
	if err == nil {
		err = os.Rename(tmp, dir) // replaces an empty folder
	}
	if err != nil {
		_ = os.RemoveAll(tmp)
	}
	return err
}
