package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"text/tabwriter"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/lockage/lockage/gitops"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/plan"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/verify"
)

type hydrateResults []hydrateResult

type hydrateResult struct {
	Pipeline     string         `json:"pipeline"`
	Release      string         `json:"release,omitempty"`
	GitCommit    string         `json:"gitCommit,omitempty"`
	GitopsCommit string         `json:"gitopsCommit"`
	DryRun       bool           `json:"dryRun,omitempty"`
	Stages       []hydrateStage `json:"stages"`
	Error        string         `json:"error,omitempty"`
}

type hydrateStage struct {
	Stage         string         `json:"stage"`
	Action        publish.Action `json:"action"`
	Reference     string         `json:"reference,omitempty"`
	Digest        string         `json:"digest,omitempty"`
	ContentDigest string         `json:"contentDigest,omitempty"`
	InputDigest   string         `json:"inputDigest,omitempty"`
	Tags          []string       `json:"tags,omitempty"`
	Objects       int            `json:"objects,omitempty"`
	Images        []string       `json:"images,omitempty"`
	Branch        string         `json:"branch,omitempty"`
	Commit        string         `json:"commit,omitempty"`
	Error         string         `json:"error,omitempty"`
}

func (rs hydrateResults) Text(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rs {
		dry := ""
		if r.DryRun {
			dry = ", dry run: nothing was written"
		}
		if r.Error != "" {
			fmt.Fprintf(tw, "%s: failed%s\n", r.Pipeline, dry)
			continue
		}
		fmt.Fprintf(tw, "%s %s (GitOps commit %.12s%s)\n", r.Pipeline, r.Release, r.GitopsCommit, dry)
		for _, s := range r.Stages {
			if s.Error != "" {
				fmt.Fprintf(tw, "  %s\t%s\n", s.Stage, s.Action)
				continue
			}
			fmt.Fprintf(tw, "  %s\t%s\t%d objects\t%s", s.Stage, s.Action, s.Objects, s.Reference)
			if s.Commit != "" {
				fmt.Fprintf(tw, "\t%s %.12s", s.Branch, s.Commit)
			}
			fmt.Fprintln(tw)
		}
	}
	_ = tw.Flush() // the writer's own errors show at the end of the run
}

func newHydrateCommand(a *app) *cobra.Command {
	var h hydrator
	cmd := &cobra.Command{
		Use:   "hydrate [STAGE...]",
		Short: "Render, pack, sign and push the stages of a release",
		Long: `Hydrate renders every stage of every pipeline at the locked source commit, packs each into one OCI artifact, signs it
and tags it by image digest and release. What is in the registry already is left alone, and a run that was interrupted is
completed by the next one.

Where the pipeline has a mirror, each stage's manifests are then committed to its branch, below its path and nowhere
else, in one atomic push a pipeline: for people to review, and for tools to diff. The commit names the artifact.

It reads the GitOps repository at HEAD, never uncommitted files, and only publishes when that commit is on the policy ref.`,
		RunE: func(cmd *cobra.Command, stages []string) error {
			h.app, h.stages = a, stages
			return h.run(cmd.Context())
		},
		ValidArgsFunction: completeStages(a),
	}
	cmd.Flags().StringVar(&h.release, "release", "", "hydrate this `RELEASE`, git-<40 hex>, instead of the current one")
	cmd.Flags().StringVar(&h.policy, "policy", "", "the trusted branch, `REMOTE@REF` (default: the remote's default branch)")
	cmd.Flags().BoolVar(&h.dryRun, "dry-run", false, "say what would be done; write nothing and use no key")
	return cmd
}

type hydrator struct {
	app     *app
	stages  []string
	release string
	policy  string
	dryRun  bool

	workspace *gitops.Workspace
	trunk     *gitops.Policy
	client    *oci.Client
	keys      *sign.Keyring

	commitSigners map[string]func(payload []byte) (string, error) // by reference of the key
}

func (h *hydrator) run(ctx context.Context) error {
	a := h.app
	if err := checkRelease(h.release); err != nil {
		return err
	}
	w, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	files, err := w.Files(ctx)
	if err != nil {
		return err
	}
	if _, err := a.pipelines(w, files); err != nil {
		return err // before the policy ref is asked for
	}
	h.workspace, h.client, h.keys = w, a.registries(w.Root()), a.keyring()
	h.commitSigners = map[string]func([]byte) (string, error){}
	if h.trunk, err = w.Policy(ctx, h.policy, func(message string) { a.warn("%s", message) }); err != nil {
		return err
	}
	if err := w.Publishable(ctx, h.trunk); err != nil {
		return err
	}
	releases, err := a.plan(ctx, w, files, h.stages, h.release)
	if err != nil {
		return err
	}

	newest := h.newest(ctx)

	results := make(hydrateResults, len(releases))
	var runs []*stageRun
	var errs []error
	for i, r := range releases {
		results[i] = hydrateResult{Pipeline: r.Pipeline.Name, GitopsCommit: string(w.Head.Hash), DryRun: h.dryRun, Stages: []hydrateStage{}}
		jobs, err := h.jobs(r, files, newest)
		if err = errors.Join(r.Err, err, h.checkMirrors(ctx, r)); err != nil {
			results[i].Error = err.Error()
			errs = append(errs, named(err, r.Pipeline.Name))
			continue
		}
		results[i].Release, results[i].GitCommit = r.Lock.Lock.ReleaseID, r.Lock.Lock.GitCommit
		for j, job := range jobs {
			runs = append(runs, &stageRun{release: i, stage: r.Stages[j], job: job})
		}
	}

	h.publish(ctx, runs)
	if !h.dryRun {
		h.mirror(ctx, runs)
	}
	for _, r := range runs {
		results[r.release].Stages = append(results[r.release].Stages, r.result())
		for _, warning := range r.published.Warnings {
			a.warn("%s/%s: %s", r.stage.Pipeline, r.stage.Name, warning)
		}
		if err := r.err(); err != nil {
			errs = append(errs, err)
		}
	}
	a.emit(results)
	return errors.Join(errs...)
}

// publish brings the registry to what the stages are.
func (h *hydrator) publish(ctx context.Context, runs []*stageRun) {
	jobs := make([]publish.Job, len(runs))
	for i, r := range runs {
		jobs[i] = r.job
	}
	published := publish.All(ctx, jobs, func(job publish.Job, result publish.Result) {
		h.app.step("%s/%s %s", job.Stage.Pipeline, job.Stage.Name, result.Action)
	})
	for i, r := range runs {
		r.published = published[i]
	}
}

// newest are the inputs that the policy ref's tip gives each stage, where that is not what is checked out: a candidate
// that has them is not to be replaced.
func (h *hydrator) newest(ctx context.Context) map[plan.Key]digest.Digest {
	if h.trunk.Tip() == string(h.workspace.Head.Hash) {
		return nil
	}
	files, err := h.trunk.Files(ctx)
	if err == nil {
		var releases []plan.Release
		if releases, err = h.app.plan(ctx, h.workspace, files, nil, h.release); err == nil {
			return plan.InputDigests(releases)
		}
	}
	h.app.warn("%s has moved on, and what it declares now cannot be read: %v", h.trunk.Name(), err)
	return nil
}

// jobs makes the jobs of one release.
func (h *hydrator) jobs(r plan.Release, files fs.FS, newest map[plan.Key]digest.Digest) ([]publish.Job, error) {
	if r.Err != nil {
		return nil, nil
	}
	if err := lock.CheckRecorded(files, r.Pipeline.Lock, r.Lock); err != nil {
		return nil, err
	}
	var jobs []publish.Job
	for _, s := range r.Stages {
		repository, err := h.client.Repository(s.Declared.Repository)
		if err != nil {
			return nil, err
		}
		verifier, err := verify.Hydrator(files, s.Declared)
		if err != nil {
			return nil, err
		}
		writer := publish.Writer(publish.Nowhere{})
		if !h.dryRun {
			if role := s.Declared.Sign.Hydrator; role == nil || role.Key == "" {
				return nil, usagef("pipeline %s: sign.hydrator.key is missing: name the private key that signs, such as env://HYDRATOR_KEY", s.Pipeline)
			}
			writer = publish.NewWriter(repository, func(ctx context.Context) (sign.Signer, error) {
				return h.signer(ctx, s.Declared, verifier)
			})
		}
		jobs = append(jobs, publish.Job{
			Stage:        s.Stage,
			Registry:     repository,
			Writer:       writer,
			Hydrator:     verifier,
			LockFile:     r.Lock,
			SourceURL:    r.SourceURL,
			Committed:    r.Committed,
			GitOpsURL:    h.trunk.URL(),
			GitOpsCommit: string(h.workspace.Head.Hash),
			Trunk:        h.trunk,
			TipInput:     newest[plan.KeyOf(s.Stage)],
			Version:      version(),
		})
	}
	return jobs, nil
}

// signer opens the hydrator's key, and makes sure that it is the one that is trusted.
func (h *hydrator) signer(ctx context.Context, declared pipeline.Expanded, trusted *sign.Verifier) (sign.Signer, error) {
	ref := declared.Sign.Hydrator.Key
	key, err := h.keys.Open(ctx, keyPath(h.workspace.Root(), ref))
	if err != nil {
		return nil, err
	}
	if !trusted.Trusts(key.PublicKey()) {
		return nil, usagef("pipeline %s: the key %s (sign.hydrator) is not the one that identities.hydrator trusts, %s: nobody would accept its signatures",
			declared.Pipeline, ref, declared.Identities["hydrator"].Key)
	}
	return key, nil
}

func stageResult(name string, r publish.Result) hydrateStage {
	s := hydrateStage{
		Stage:         name,
		Action:        r.Action,
		Reference:     r.Reference,
		Digest:        r.Digest.String(),
		ContentDigest: r.ContentDigest.String(),
		InputDigest:   r.InputDigest.String(),
		Tags:          r.Tags,
		Objects:       r.Objects,
		Images:        r.Images,
	}
	if r.Err != nil {
		s.Error = r.Err.Error()
	}
	return s
}

// named puts a pipeline's name before an error that does not say it. Problems of files stay as they are: they begin with
// file and line.
func named(err error, pipeline string) error {
	var problems strictyaml.Problems
	if errors.As(err, &problems) || strings.Contains(err.Error(), "pipeline "+pipeline) {
		return err
	}
	return fmt.Errorf("%s: %w", pipeline, err)
}
