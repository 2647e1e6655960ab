package policytest

import (
	"fmt"
	"strings"

	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/policy"
)

// Options say how reports are shown.
type Options struct {
	Verbose  bool // the gates of cases that came out as expected, too
	Markdown bool
}

// Text shows reports to people, and their count at the end.
func Text(reports []Report, options Options) string {
	var b strings.Builder
	passed := 0
	for _, r := range reports {
		if r.Result == policy.Pass {
			passed++
		}
		gates := r.Gates
		if r.Result == policy.Pass && !options.Verbose {
			gates = nil
		}
		if options.Markdown {
			b.WriteString(r.markdown(gates))
		} else {
			b.WriteString(r.text(gates))
		}
	}
	fmt.Fprintf(&b, "%d of %d cases came out as expected\n", passed, len(reports))
	return b.String()
}

func (r Report) text(gates []policy.GateResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-4s  %s: %s\n", r.Result, r.File, terminal.Line(r.Case))
	for _, problem := range r.Problems {
		fmt.Fprintf(&b, "  %s\n", terminal.Line(problem))
	}
	return b.String() + policy.Text(gates)
}

func (r Report) markdown(gates []policy.GateResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#### %s %s: %s\n\n", policy.Mark(r.Result), policy.CodeSpan(r.File), policy.CodeSpan(r.Case))
	for _, problem := range r.Problems {
		fmt.Fprintf(&b, "- %s\n", policy.CodeSpan(problem))
	}
	if gates == nil {
		return b.String()
	}
	if len(r.Problems) > 0 {
		b.WriteString("\n")
	}
	return b.String() + policy.Markdown(gates) + "\n"
}
