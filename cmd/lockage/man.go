package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// newManCommand makes the hidden verb by which packages get their manual pages. The help is set as it is: it has columns.
func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages",
		Example: "  lockage man share/man/man1",
		Hidden:  true,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manuals are public
				return err
			}
			return writeManual(args[0], cmd.Root())
		},
	}
}

// writeManual writes the page of a command and those of its subcommands.
func writeManual(dir string, cmd *cobra.Command) error {
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	err := os.WriteFile(filepath.Join(dir, name+".1"), []byte(manual(cmd)), 0o644) //nolint:gosec // manuals are public
	for _, sub := range cmd.Commands() {
		if err == nil && sub.IsAvailableCommand() {
			err = writeManual(dir, sub)
		}
	}
	return err
}

// manual is the page of a command, in the language of man(7). It names no date, so that the same release gives the same page.
func manual(cmd *cobra.Command) string {
	var b strings.Builder
	section := func(title, text string) {
		if text = strings.Trim(text, "\n"); text != "" {
			fmt.Fprintf(&b, ".SH %s\n.nf\n%s\n.fi\n", title, roff(text))
		}
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"lockage %s\" \"User Commands\"\n", roff(strings.ToUpper(name)), roff(version()))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(cmd.Short))
	section("SYNOPSIS", cmd.UseLine())
	section("DESCRIPTION", cmd.Long)
	section("OPTIONS", cmd.LocalFlags().FlagUsages())
	section("GLOBAL OPTIONS", cmd.InheritedFlags().FlagUsages())
	section("EXAMPLES", cmd.Example)
	var others []string
	if cmd.HasParent() {
		others = append(others, cmd.Parent().CommandPath())
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			others = append(others, sub.CommandPath())
		}
	}
	for i, other := range others {
		others[i] = strings.ReplaceAll(other, " ", "-") + "(1)"
	}
	section("SEE ALSO", strings.Join(others, "\n"))
	return b.String()
}

// roff escapes what has a meaning in man(7).
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
