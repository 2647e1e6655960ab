package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const cliReference = "../../docs/cli.md"

// The reference of the command line is made from the commands themselves, and must not drift from them.
func TestDocsOfTheCommandLine(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("# Command line\n\nMade from the program by `make docs`; do not edit.\n")
	root := newRootCommand(&app{})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	describe(&b, root)
	if *update {
		if err := os.WriteFile(cliReference, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(cliReference)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s is out of date: run make docs", cliReference)
	}
}

func describe(w io.Writer, cmd *cobra.Command) {
	if cmd.Name() == "help" || cmd.Hidden {
		return
	}
	fmt.Fprintf(w, "\n## %s\n\n", cmd.CommandPath())
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	if cmd.Parent() != nil && cmd.Parent().Name() == "completion" {
		text = cmd.Short // cobra's long text names the program's path
	}
	fmt.Fprintf(w, "%s\n\n", text)
	if cmd.Runnable() && cmd.HasParent() {
		fmt.Fprintf(w, "    %s\n\n", cmd.UseLine())
	}
	if flags := cmd.LocalFlags(); flags.HasAvailableFlags() {
		fmt.Fprintf(w, "```\n%s```\n", flags.FlagUsages())
	}
	for _, sub := range cmd.Commands() {
		describe(w, sub)
	}
}
