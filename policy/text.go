package policy

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPlain is how many bytes of somebody's words stand in a reason.
const maxPlain = 300

// plain makes somebody else's words fit to stand in a reason: visible, and cut where they are long.
func plain(s string) string {
	s = Visible(s)
	if len(s) <= maxPlain {
		return s
	}
	end := maxPlain
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// Visible puts a text on one line of a terminal or a log: what a terminal obeys or an eye misses is written as an escape.
func Visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n', r == '\t', r == '\r':
			b.WriteByte(' ')
		case unicode.IsPrint(r) && r != utf8.RuneError:
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return strings.TrimSpace(b.String())
}

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
		if _, err := fmt.Fprintf(w, "  %-7s  %-*s  %s\n", r.Result, width, r.Gate, Visible(r.Reason+retry(r))); err != nil {
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
// say stands in code spans, where nothing has a meaning: no markup, no HTML, no link, no mention of anybody.
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
	s = Visible(s)
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
