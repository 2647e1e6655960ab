package policytest

import (
	"fmt"
	"io"

	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/policy"
)

// Options say how reports are shown.
type Options struct {
	Verbose  bool // the gates of cases that came out as expected, too
	Markdown bool
}

// Write shows reports to people, and their count at the end.
func Write(w io.Writer, reports []Report, options Options) error {
	failed := 0
	for _, r := range reports {
		if r.Result != policy.Pass {
			failed++
		}
		show := writeText
		if options.Markdown {
			show = writeMarkdown
		}
		if err := show(w, r, options.Verbose || r.Result != policy.Pass); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d of %d cases came out as expected\n", len(reports)-failed, len(reports))
	return err
}

func writeText(w io.Writer, r Report, gates bool) error {
	if _, err := fmt.Fprintf(w, "%-4s  %s: %s\n", r.Result, r.File, terminal.Line(r.Case)); err != nil {
		return err
	}
	for _, problem := range r.Problems {
		if _, err := fmt.Fprintf(w, "  %s\n", terminal.Line(problem)); err != nil {
			return err
		}
	}
	if !gates {
		return nil
	}
	return policy.WriteText(w, r.Gates)
}

func writeMarkdown(w io.Writer, r Report, gates bool) error {
	sign := "✅"
	if r.Result != policy.Pass {
		sign = "❌"
	}
	if _, err := fmt.Fprintf(w, "#### %s %s: %s\n\n", sign, policy.CodeSpan(r.File), policy.CodeSpan(r.Case)); err != nil {
		return err
	}
	for _, problem := range r.Problems {
		if _, err := fmt.Fprintf(w, "- %s\n", policy.CodeSpan(problem)); err != nil {
			return err
		}
	}
	if !gates {
		return nil
	}
	if len(r.Problems) > 0 {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	if err := policy.WriteMarkdown(w, r.Gates); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}
