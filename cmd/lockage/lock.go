package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/gitops"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
)

func newLockCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "Write and check locks: one source commit and one image digest",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLockWriteCommand(a), newLockCheckCommand(a))
	return cmd
}

type lockWriteResults []lockWriteResult

type lockWriteResult struct {
	Pipeline string `json:"pipeline,omitempty"`
	lock.Written
}

func (rs lockWriteResults) Text(w io.Writer) {
	for _, r := range rs {
		fmt.Fprintf(w, "%s  %s\n", r.Lock.ReleaseID, r.Lock.Image.Pinned())
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, f := range []lock.WrittenFile{r.History, r.Current} {
			fmt.Fprintf(tw, "  %s\t%s\n", f.Action, f.Path)
		}
		_ = tw.Flush() // the writer's own errors show at the end of the run
	}
}

func newLockWriteCommand(a *app) *cobra.Command {
	var l lockWriter
	cmd := &cobra.Command{
		Use:   "write --commit COMMIT [--image REF]",
		Short: "Record a release in the lock directory",
		Long: `Write records a release in the work tree: git-COMMIT.yaml and current.yaml in the pipeline's lock directory, both or
neither. A release that is recorded already is left as it is, and an older commit never replaces a newer current.yaml.
Commit and push the two files.

What is not said is taken from the current lock: the image's repository (with the tag git-COMMIT), kind, source repository
and path. The digest is what the registry says.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l.app = a
			return l.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&l.lock.GitCommit, "commit", "", "the source `COMMIT`, 40 hex digits")
	f.StringVar(&l.lock.Image.Ref, "image", "", "the image's `REF`, repository and tag")
	f.StringVar(&l.lock.Image.Digest, "digest", "", "the image's `DIGEST` (default: what its tag names in the registry)")
	f.StringVar(&l.lock.Packaging.Kind, "kind", "", "helm or kustomize")
	f.StringVar(&l.lock.Packaging.SourceRepo, "source-repo", "", "`URL` of the source repository")
	f.StringVar(&l.lock.Packaging.SourcePath, "source-path", "", "`PATH` of the chart or kustomization in the source repository")
	f.StringVar(&l.lock.CreatedAt, "created-at", "", "`TIME` to record, RFC 3339 (default: now)")
	f.StringVar(&l.dir, "dir", "", "lock directory `DIR` (default: the pipeline's)")
	return cmd
}

type lockWriter struct {
	app  *app
	lock lock.Lock
	dir  string
}

func (l *lockWriter) run(ctx context.Context) error {
	if l.dir != "" && !fs.ValidPath(path.Clean(l.dir)) {
		return usagef("--dir %q: want a folder of the GitOps repository, relative to its root", l.dir)
	}
	if _, err := git.ParseHash(l.lock.GitCommit); err != nil {
		return usagef("--commit: %w", err)
	}
	w, err := l.app.workspace(ctx)
	if err != nil {
		return err
	}
	files, err := w.WorkTree()
	if err != nil {
		return err
	}
	result := lockWriteResult{}
	sourceRepo := ""
	if l.dir == "" {
		p, err := l.app.onePipeline(w, files)
		if err != nil {
			return err
		}
		result.Pipeline, l.dir, sourceRepo = p.Name, p.Lock, p.SourceRepo
	}
	if err := l.complete(ctx, files); err != nil {
		return err
	}
	root, err := os.OpenRoot(w.Root())
	if err != nil {
		return err
	}
	defer root.Close()
	if l.lock.Packaging.SourceRepo != "" {
		sourceRepo = l.lock.Packaging.SourceRepo
	}
	result.Written, err = lock.Write(ctx, root, path.Clean(l.dir), l.lock, history{w.Repository, sourceRepo})
	if err != nil {
		return err
	}
	l.app.emit(lockWriteResults{result})
	return nil
}

// complete fills what the flags leave out.
func (l *lockWriter) complete(ctx context.Context, files fs.FS) error {
	current, err := lock.Current(files, path.Clean(l.dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	was := current.Lock
	fill := func(field *string, from, flag string) error {
		if *field == "" {
			*field = from
		}
		if *field == "" {
			return usagef("%s is missing, and there is no current lock in %s to take it from", flag, l.dir)
		}
		return nil
	}
	image := ""
	if was.Image.Ref != "" {
		image = was.Image.Repository() + ":git-" + l.lock.GitCommit
	}
	p := &l.lock.Packaging
	if err := errors.Join(
		fill(&l.lock.Image.Ref, image, "--image"),
		fill(&p.Kind, was.Packaging.Kind, "--kind"),
		fill(&p.SourcePath, was.Packaging.SourcePath, "--source-path"),
		fill(&p.SourceRepo, was.Packaging.SourceRepo, "--source-repo"),
	); err != nil {
		return err
	}
	l.lock.SchemaVersion, l.lock.ReleaseID = lock.SchemaVersion, "git-"+l.lock.GitCommit
	if l.lock.CreatedAt == "" {
		l.lock.CreatedAt = time.Now().UTC().Format(time.RFC3339)
	}
	if l.lock.Image.Digest != "" {
		return nil
	}
	l.lock.Image.Digest, err = oci.NewImages(l.app.registries("")).Resolve(ctx, l.lock.Image.Ref)
	return err
}

// onePipeline is the only pipeline of the checkout.
func (a *app) onePipeline(w *gitops.Workspace, files fs.FS) (*pipeline.Pipeline, error) {
	pipelines, err := a.pipelines(w, files)
	if err != nil {
		return nil, err
	}
	if len(pipelines) != 1 {
		return nil, usagef("%d pipelines match; name one with -f, or a lock directory with --dir", len(pipelines))
	}
	return pipelines[0], nil
}

// history answers questions about the source repository.
type history struct {
	repository *git.Repository
	sourceRepo string
}

func (h history) IsAncestor(ctx context.Context, ancestor, descendant string) (bool, error) {
	remote, err := h.repository.Remote(ctx, h.sourceRepo)
	if err != nil {
		return false, err
	}
	return remote.IsAncestor(ctx, git.Hash(ancestor), git.Hash(descendant))
}

func (h history) HasCommit(ctx context.Context, sourceRepo, commit string) (bool, error) {
	remote, err := h.repository.Remote(ctx, sourceRepo)
	if err != nil {
		return false, err
	}
	_, err = remote.Commit(ctx, git.Hash(commit))
	if errors.Is(err, git.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

type lockCheckResults []lockCheckResult

type lockCheckResult struct {
	Pipeline string             `json:"pipeline"`
	Lock     string             `json:"lock"`
	Result   lock.Outcome       `json:"result"`
	Checks   []lock.CheckResult `json:"checks"`
}

func (rs lockCheckResults) Text(w io.Writer) {
	for _, r := range rs {
		fmt.Fprintf(w, "%s %s: %s\n", r.Pipeline, r.Lock, r.Result)
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, c := range r.Checks {
			fmt.Fprintf(tw, "  %s\t%s\t%s\n", c.Result, c.Check, c.Reason)
		}
		_ = tw.Flush() // the writer's own errors show at the end of the run
	}
}

func newLockCheckCommand(a *app) *cobra.Command {
	var offline bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Is the current lock consistent with itself, Git and the registry?",
		Long: `Check examines the current lock of every pipeline as it lies in the work tree: its two files agree, its release is its
commit, the commit exists in the source repository, the image's tag names its digest, and the image was built from the
commit, where it says so. A check that fails gives exit status 3.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.checkLocks(cmd.Context(), offline)
		},
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "ask neither the source repository nor the registry")
	return cmd
}

func (a *app) checkLocks(ctx context.Context, offline bool) error {
	w, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	files, err := w.Present(ctx)
	if err != nil {
		return err
	}
	pipelines, err := a.pipelines(w, files)
	if err != nil {
		return err
	}
	var commits lock.Commits
	var images lock.Images
	if !offline {
		commits, images = history{repository: w.Repository}, oci.NewImages(a.registries(""))
	}
	var results lockCheckResults
	var errs []error
	for _, p := range pipelines {
		checks, err := lock.Check(ctx, files, p.Lock, p.SourceRepo, commits, images)
		if err != nil {
			errs = append(errs, named(err, p.Name))
			continue
		}
		r := lockCheckResult{Pipeline: p.Name, Lock: path.Join(p.Lock, "current.yaml"), Result: lock.Pass, Checks: checks}
		for _, c := range checks {
			switch {
			case c.Result == lock.Unknown:
				errs = append(errs, fmt.Errorf("lock %s: %s: %s", r.Lock, c.Check, c.Reason))
				if r.Result == lock.Pass {
					r.Result = lock.Unknown
				}
			case c.Result == lock.Fail && c.Check == lock.CheckFormat:
				errs = append(errs, usageError{errors.New(c.Reason)})
				r.Result = lock.Fail
			case c.Result == lock.Fail:
				errs = append(errs, fmt.Errorf("lock %s is %w: %s: %s", r.Lock, policy.ErrDenied, c.Check, c.Reason))
				r.Result = lock.Fail
			}
		}
		results = append(results, r)
	}
	if len(results) > 0 {
		a.emit(results)
	}
	return errors.Join(errs...)
}
