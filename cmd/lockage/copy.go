package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/publish/copies"
)

type copyResult struct {
	copies.Result
	DryRun bool   `json:"dryRun,omitempty"`
	Error  string `json:"error,omitempty"`
}

func (r copyResult) Text(w io.Writer) {
	dry, there := "", " there"
	if r.DryRun {
		dry, there = " (dry run: nothing was written)", ""
	}
	fmt.Fprintf(w, "%s %s%s\n  %s\n", r.Action, r.Source, dry, r.Reference)
	if r.Err != nil {
		return // its reason is on standard error
	}
	fmt.Fprintf(w, "  digest %s, with %s\n", r.Digest, counted(r.Referrers, "attached statement"))
	if len(r.Tags) > 1 {
		fmt.Fprintf(w, "  tags %s\n", few(r.Tags))
	}
	if r.LeftOut > 0 {
		fmt.Fprintf(w, "  not copied: %s, too many or not whole: delete those that nobody needs\n", counted(r.LeftOut, "attached manifest"))
	}
	switch {
	case r.Verified:
		fmt.Fprintf(w, "  verified%s by the pipeline file\n", there)
	case r.DryRun:
		fmt.Fprintln(w, "  no pipeline file here says who had to sign it")
	default:
		fmt.Fprintln(w, "  compared there byte for byte; no pipeline file here says who had to sign it")
	}
}

func newCopyCommand(a *app) *cobra.Command {
	var release string
	var all, dryRun bool
	cmd := &cobra.Command{
		Use:   "copy SOURCE... DESTINATION",
		Short: "Copy artifacts with their signatures to another registry, a folder or one file",
		Long: `Copy writes artifacts to another repository, with the signatures, attestations and promotion records that are attached to
them, byte for byte. Everything is read back and verified at the destination before a tag names it there; a run that ended early
is completed by the next one, which sends only what is missing.

A SOURCE is a STAGE (its candidate), live:STAGE (what is live there), REPOSITORY:TAG, REPOSITORY@DIGEST, or a REPOSITORY with
all its artifacts that have a tag. A repository is HOST/PATH, oci-layout:DIR, or oci-layout:FILE.tar, an image layout in one tar
file; FILE.tar alone means the same. The DESTINATION is a repository; with a :TAG, if one artifact is copied, the copy gets that
tag instead of its own. A tar file is replaced as a whole, when all of it is complete.

With --all, what is live in all stages and their candidates of the current release are copied: to the DESTINATION, or to the
repositories that the pipeline file declares in copies.

An artifact of a pipeline that is declared at the policy ref must pass verification there, and be signed by the promoter if it is or
was live; the exit status is 3 if not. Others are compared byte for byte. Images that manifests name are not copied.`,
		Example: `  lockage copy live:production registry.example.com/acme/shop-manifests
  lockage copy --all -f 'apps/*/lockage.yaml'
  lockage copy ghcr.io/acme/shop-manifests:production airgap.tar
  lockage copy airgap.tar registry.internal:5000/acme/shop-manifests`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 1:
				return usagef("--all copies what the pipelines have: name the DESTINATION at most")
			case all && release != "":
				return usagef("--release selects a STAGE's candidate: leave out --all")
			case !all && len(args) < 2:
				return usagef("name at least one SOURCE, and the DESTINATION; see %q", cmd.CommandPath()+" --help")
			}
			return a.copy(cmd.Context(), args, release, all, dryRun)
		},
	}
	releaseFlag(cmd, &release, "release", "release of a STAGE, an `ID` git-<4 to 40 hex>[-<hex>] (default: the current one)")
	cmd.Flags().BoolVar(&all, "all", false, "what is live and the candidates of all stages (default DESTINATION: the pipeline's copies)")
	dryRunFlag(cmd, &dryRun)
	a.policyFlag(cmd)
	return cmd
}

func (a *app) copy(ctx context.Context, args []string, release string, all, dryRun bool) error {
	c := &copier{app: a, client: a.registries(a.dir), release: release, dryRun: dryRun, items: map[string][]copies.Item{}}
	if len(args) > 0 {
		if err := c.destination(args[len(args)-1]); err != nil {
			return err
		}
		args = args[:len(args)-1]
	}
	if err := c.declare(ctx, all || slices.ContainsFunc(args, namesStage)); err != nil {
		return err
	}
	if all {
		if err := c.all(ctx); err != nil {
			return err
		}
	}
	for _, arg := range args {
		if err := c.source(ctx, arg); err != nil {
			return err
		}
	}
	return c.run(ctx)
}

// run copies what was collected, to one destination after the other.
func (c *copier) run(ctx context.Context) error {
	if err := c.rename(); err != nil {
		return err
	}
	shown := list[copyResult]{}
	var errs []error
	for _, name := range c.order {
		to, err := c.client.Repository(name)
		if err != nil {
			return usageError{err}
		}
		results, err := copies.Run(ctx, c.client, to, c.items[name], copies.Options{DryRun: c.dryRun, Step: c.step})
		if err != nil {
			errs = append(errs, err)
		}
		for _, r := range results {
			shown = append(shown, copyResult{r, c.dryRun, messageOf(r.Err)})
			if r.Err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", r.Source, r.Err))
			}
		}
	}
	c.emit(shown)
	return worst(errs)
}

// rename replaces the tags of the one artifact that is copied by the one that the DESTINATION names.
func (c *copier) rename() error {
	if c.tag == "" {
		return nil
	}
	if len(c.items[c.to]) != 1 {
		return usagef("%s:%s is one tag, and %d artifacts are copied: leave out the tag", c.to, c.tag, len(c.items[c.to]))
	}
	c.items[c.to][0].Tags = []string{c.tag}
	return nil
}
