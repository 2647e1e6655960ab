package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/sides"
)

type pullResult struct {
	Reference     string            `json:"reference"`
	Digest        digest.Digest     `json:"digest"`
	ContentDigest digest.Digest     `json:"contentDigest"`
	Annotations   map[string]string `json:"annotations"`
	Directory     string            `json:"directory,omitempty"`

	tree *oci.Tree
}

func (r pullResult) Text(w io.Writer) {
	if r.Directory == "" {
		writeYAML(w, r.tree)
		return
	}
	fmt.Fprintf(w, "%s\n  digest %s\n  files in %s\n", r.Reference, r.Digest, r.Directory)
}

func newPullCommand(a *app) *cobra.Command {
	var release string
	cmd := &cobra.Command{
		Use:   "pull STAGE|live:STAGE|REFERENCE [DIR]",
		Short: "Print or write the manifests of an artifact",
		Long: `Pull writes the manifests of an artifact to standard output, or as files to DIR, which must be new or empty. It checks the
bytes against their digests, but no signature: use verify for that.

STAGE, or candidate:STAGE, means its candidate of the current release, and live:STAGE what is live, by the policy ref. A REFERENCE,
REPOSITORY:TAG or REPOSITORY@DIGEST, needs no checkout.`,
		Example: `  lockage pull production
  lockage pull live:production
  lockage pull ghcr.io/acme/shop-manifests:production manifests/`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := ""
			if len(args) == 2 && args[1] != "-" {
				dir = args[1]
			}
			return a.pull(cmd.Context(), args[0], release, dir)
		},
	}
	releaseFlag(cmd, &release, "release", "release of a STAGE, an `ID` git-<4 to 40 hex>[-<hex>] (default: the current one)")
	return cmd
}

func (a *app) pull(ctx context.Context, what, release, dir string) error {
	repository, reference, err := a.locate(ctx, what, release)
	if err != nil {
		return err
	}
	manifest, err := repository.ReadArtifact(ctx, reference)
	if err != nil {
		return err
	}
	tree, err := repository.Pull(ctx, manifest)
	if err != nil {
		return err
	}
	if dir != "" {
		if err := writeDir(dir, tree); err != nil {
			return err
		}
	}
	a.emitVerbatim(list[pullResult]{{
		Reference:     repository.Reference(reference),
		Digest:        manifest.Descriptor.Digest,
		ContentDigest: tree.ContentDigest(),
		Annotations:   manifest.Annotations,
		Directory:     dir,
		tree:          tree,
	}})
	return nil
}

// locate finds an artifact by its reference, a stage's candidate by the checkout's pipelines, or what is live in a stage.
func (a *app) locate(ctx context.Context, what, release string) (*oci.Repository, string, error) {
	if stage, ok := strings.CutPrefix(what, sides.LivePrefix); ok {
		return a.locateLive(ctx, stage, release)
	}
	if strings.ContainsAny(strings.TrimPrefix(what, sides.CandidatePrefix), ":@") {
		name, tagOrDigest, err := verify.SplitReference(what)
		if err != nil {
			return nil, "", usageError{err}
		}
		repository, err := a.registries(a.dir).Repository(name)
		return repository, tagOrDigest, err
	}
	d, err := a.checkedOut(ctx)
	if err != nil {
		return nil, "", err
	}
	q := verify.Query{Artifact: what, Release: release}
	requests, err := verify.Find(ctx, q, d.pipelines, d.files, d.client, d.workspace.Repository)
	if err != nil {
		return nil, "", err
	}
	request, err := verify.Only(requests, q)
	if err != nil {
		return nil, "", err
	}
	entry, err := request.Found(ctx)
	if err != nil {
		return nil, "", err
	}
	repository, err := d.client.Repository(request.Repository.Name())
	return repository, entry.Digest.String(), err
}

// locateLive finds what is live in a stage, by the policy ref.
func (a *app) locateLive(ctx context.Context, name, release string) (*oci.Repository, string, error) {
	if release != "" {
		return nil, "", usagef("--release selects a candidate: leave it out for live:%s", name)
	}
	d, err := a.declared(ctx)
	if err != nil {
		return nil, "", err
	}
	pipelines, stage, err := verify.Having(d.pipelines, name)
	if err != nil {
		return nil, "", err
	}
	if len(pipelines) > 1 {
		return nil, "", usagef("%d pipelines have a stage %s: name one as live:PIPELINE/STAGE", len(pipelines), name)
	}
	s, err := d.open(ctx, pipelines[0], stage)
	if err != nil {
		return nil, "", err
	}
	state, err := live.Read(ctx, s)
	if err == nil && state.Live == nil {
		err = fmt.Errorf("nothing is live in %s/%s yet", pipelines[0].Name, stage)
	}
	if err != nil {
		return nil, "", err
	}
	return s.Artifacts, state.Live.To.Digest.String(), nil
}
