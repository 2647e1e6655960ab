package policy

import (
	"fmt"
	"strings"

	"github.com/lockage/lockage/internal/terminal"
)

// maxPlain bounds the bytes of another party's words in a reason.
const maxPlain = 300

// plain makes somebody else's words fit for a reason: on one line, visible, and of bounded length.
func plain(s string) string { return terminal.Clip(terminal.Line(s), maxPlain) }

// writer is an io.Writer, in a package that has no business with io.
type writer interface {
	Write(p []byte) (int, error)
}

// WriteText writes results as a person at a terminal reads them, a line each, indented.
func WriteText(w writer, results []GateResult) error {
	width := 0
	for _, r := range results {
		width = max(width, len(r.Gate))
	}
	for _, r := range results {
		if _, err := fmt.Fprintf(w, "  %-7s  %-*s  %s\n", r.Result, width, r.Gate, terminal.Line(r.Reason+retry(r))); err != nil {
			return err
		}
	}
	return nil
}

func retry(r GateResult) string {
	if r.RetryAfter == nil {
		return ""
	}
	return " (ask again at " + at(*r.RetryAfter) + ")"
}

// WriteMarkdown writes results as a list for a pull request or a step summary. Whatever gates, identities and reasons
// say is in code spans, where nothing has a meaning: no markup, no HTML, no link, no mention of anybody.
func WriteMarkdown(w writer, results []GateResult) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Gates: **%s**\n\n", Outcome(results))
	for _, r := range results {
		fmt.Fprintf(&b, "- %s %s %s: %s\n", mark(r.Result), r.Result, CodeSpan(r.Gate), CodeSpan(r.Reason+retry(r)))
	}
	if len(results) == 0 {
		b.WriteString("- no gate is declared\n")
	}
	_, err := fmt.Fprint(w, b.String())
	return err
}

func mark(r Result) string {
	switch r {
	case Pass:
		return "✅"
	case Waived:
		return "⚠️"
	case Pending:
		return "⏳"
	}
	return "❌"
}

// CodeSpan writes a text as a code span of Markdown, in which nothing has a meaning, and on one line.
func CodeSpan(s string) string {
	s = terminal.Line(s)
	longest, run := 0, 0
	for _, r := range s {
		run++
		if r != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	if longest > 0 || s == "" {
		s = " " + s + " "
	}
	fence := strings.Repeat("`", longest+1)
	return fence + s + fence
}
