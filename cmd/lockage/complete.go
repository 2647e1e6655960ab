package main

import (
	"slices"

	"github.com/spf13/cobra"
)

// completeStages completes the names of the stages in the checkout's pipelines.
func completeStages(a *app) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		d, err := a.checkedOut(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		var names []string
		for _, p := range d.pipelines {
			names = append(names, p.Order()...)
		}
		slices.Sort(names)
		return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
	}
}
