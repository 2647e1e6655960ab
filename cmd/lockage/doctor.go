package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/pipeline"
	forges "github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/promote/doctor"
)

type doctorResults []doctor.Finding

func (rs doctorResults) Text(w io.Writer) {
	subject, good := "", 0
	for _, r := range rs {
		if r.Severity == doctor.Good {
			good++
		}
		if r.Subject != subject {
			fmt.Fprintln(w, r.Subject)
			subject = r.Subject
		}
		fmt.Fprintf(w, "  %-8s %s: %s\n", r.Severity, r.Finding, r.Reason)
		if r.Next != "" {
			fmt.Fprintf(w, "           next: %s\n", r.Next)
		}
	}
	fmt.Fprintf(w, "%s, %d ok\n", counted(len(rs)-good, "finding"), good)
}

func newDoctorCommand(a *app) *cobra.Command {
	var registry string
	cmd := &cobra.Command{
		Use:   "doctor [REFERENCE]",
		Short: "Find what is wrong with a configuration, a registry or an artifact",
		Long: `Doctor examines the configuration at the policy ref: private keys in the repository, keys that stages or roles share, who could
change policy beside locks, and who reads manifests. Where the environment has a token for the forge (LOCKAGE_FORGE_TOKEN, GITHUB_TOKEN …)
that may read the rules of branches, it examines who may push to the policy ref, candidates and live refs. It writes nothing.

With a REFERENCE, REPOSITORY:TAG or REPOSITORY@DIGEST, it examines whether cosign 2 and 3, Flux, Kyverno and Argo CD read that
artifact and find its signatures. ` + "`lockage verify`" + ` proves them.

With --registry REPOSITORY, it tries there what lockage does: media types, signatures, tags that move or must not, deletes, the clock. For
that it writes two small artifacts and the tags of a stage ` + oci.ProbeStage + `, and deletes them where it may.

The exit status is 1 if anything found is an error, and 0 for warnings.`,
		Example: `  lockage doctor
  lockage doctor ghcr.io/acme/shop-manifests:production
  lockage doctor --registry ghcr.io/acme/shop-manifests`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case registry != "" && len(args) > 0:
				return usagef("--registry examines a repository: leave out the REFERENCE")
			case registry != "":
				return a.diagnose(a.doctorRegistry(cmd.Context(), registry))
			case len(args) > 0:
				return a.diagnose(a.doctorArtifact(cmd.Context(), args[0]))
			}
			return a.diagnose(a.doctorConfiguration(cmd.Context()))
		},
	}
	cmd.Flags().StringVar(&registry, "registry", "", "`REPOSITORY` to try, which is written to")
	a.policyFlag(cmd)
	return cmd
}

// diagnose prints findings, and fails if one is an error.
func (a *app) diagnose(found []doctor.Finding, err error) error {
	if err != nil {
		return err
	}
	a.emit(doctorResults(nonNil(found)))
	bad := slices.DeleteFunc(slices.Clone(found), func(f doctor.Finding) bool { return f.Severity != doctor.Bad })
	if len(bad) > 0 {
		return fmt.Errorf("%s to put right", counted(len(bad), "error"))
	}
	return nil
}

func (a *app) doctorConfiguration(ctx context.Context) ([]doctor.Finding, error) {
	d, err := a.declared(ctx)
	if err != nil {
		return nil, err
	}
	expand := func(p *pipeline.Pipeline, stage string) (pipeline.Expanded, error) {
		declared, _, err := d.expand(p, stage)
		return declared, err
	}
	found, err := doctor.Configuration(d.files, d.policyRef.Name(), d.pipelines, expand)
	if err != nil {
		return nil, err
	}
	rules, err := doctor.Forges(ctx, d.policyRef, d.workspace.Repository, d.pipelines, expand, func(url string) (*forges.Repository, error) {
		return forges.Open(ctx, url, forgeOptions())
	})
	return append(found, rules...), err
}

func (a *app) doctorRegistry(ctx context.Context, name string) ([]doctor.Finding, error) {
	repository, err := a.registries(a.dir).Repository(name)
	if err != nil {
		return nil, usageError{err}
	}
	a.warning(fmt.Sprintf("%s: writing two artifacts and tags of stage %s, which are deleted where that is allowed", name, oci.ProbeStage))
	return doctor.Registry(ctx, repository, rand.Text(), time.Now())
}

func (a *app) doctorArtifact(ctx context.Context, reference string) ([]doctor.Finding, error) {
	name, tagOrDigest, err := oci.SplitArtifact(layoutName(reference))
	if err != nil {
		return nil, usageError{err}
	}
	repository, err := a.registries(a.dir).Repository(name)
	if err != nil {
		return nil, usageError{err}
	}
	return doctor.Artifact(ctx, repository, tagOrDigest)
}
