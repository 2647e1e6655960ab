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

// Text shows results to a person at a terminal, a line each, indented.
func Text(results []GateResult) string {
	width := 0
	for _, r := range results {
		width = max(width, len(r.Gate))
	}
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "  %-7s  %-*s  %s\n", r.Result, width, r.Gate, terminal.Line(r.reasonAndRetry()))
	}
	return b.String()
}

// Markdown shows results as a list for a pull request or a step summary. All that gates, identities and reasons say is in code
// spans, where nothing has a meaning: no markup, no HTML, no link, no mention of anybody.
func Markdown(results []GateResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Gates: **%s**\n\n", Outcome(results))
	for _, r := range results {
		fmt.Fprintf(&b, "- %s %s %s: %s\n", Mark(r.Result), r.Result, CodeSpan(r.Gate), CodeSpan(r.reasonAndRetry()))
	}
	if len(results) == 0 {
		b.WriteString("- no gate is declared\n")
	}
	return b.String()
}

func (r GateResult) reasonAndRetry() string {
	if r.RetryAfter == nil {
		return r.Reason
	}
	return r.Reason + " (ask again at " + at(*r.RetryAfter) + ")"
}

// Mark returns the sign of a result in Markdown.
func Mark(r Result) string {
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
