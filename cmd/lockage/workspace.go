package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/lockage/lockage/hydrate/helm"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/hydrate/workspace"
	forges "github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
)

func (a *app) workspace(ctx context.Context) (w *workspace.Workspace, err error) {
	w, err = workspace.Open(ctx, a.dir, git.Options{Dir: a.dir, CacheDir: a.cacheDir, Warn: a.warning}, policy.Kinds())
	a.opened = w
	return w, err
}

// headFiles returns the files at HEAD, or with worktree those on disk.
func headFiles(ctx context.Context, w *workspace.Workspace, worktree bool) (fs.FS, error) {
	if worktree {
		return w.WorkTree()
	}
	return w.Files(ctx)
}

// warnUncommitted warns if files that stages were planned with are edited on disk: what is committed is shown.
func (a *app) warnUncommitted(ctx context.Context, w *workspace.Workspace, planned []plan.Release) error {
	var names []string
	for _, p := range planned {
		names = append(names, p.Files()...)
	}
	differ, err := w.Uncommitted(ctx, names)
	if err == nil && len(differ) > 0 {
		a.warn("not committed: %s; commit %.12s is shown, without such edits: --worktree has them", few(differ), w.Head.Hash)
	}
	return err
}

// forgeOptions returns how to reach the forges that have pull requests.
func forgeOptions() forges.Options { return forges.Options{Getenv: os.Getenv, UserAgent: userAgent()} }

// environment is what hydrate, promote and rollback run with.
func (a *app) environment(ctx context.Context, dryRun bool) (publish.Environment, error) {
	w, err := a.workspace(ctx)
	if err != nil {
		return publish.Environment{}, err
	}
	return publish.Environment{
		Workspace: w,
		Files:     a.files,
		PolicyRef: a.policy,
		DryRun:    dryRun,
		Shard:     a.part,
		Client:    a.registries(w.Root()),
		Forge:     forgeOptions(),
		Keys:      a.keyring(),
		Getenv:    os.Getenv,
		Version:   version(),
		Now:       time.Now,
		Random:    rand.Int64N,
		Warn:      a.warning,
		Step:      a.step,
		LeftOut:   a.leaveOut,
	}, nil
}

// registries opens artifact repositories. The directories of image layouts are relative to root.
func (a *app) registries(root string) *oci.Client {
	return oci.NewClient(oci.Options{
		UserAgent: userAgent(),
		BaseDir:   root,
		Warn:      a.warning,
	})
}

// plan completes a request, and plans it.
func (a *app) plan(ctx context.Context, w *workspace.Workspace, request plan.Request) ([]plan.Release, error) {
	return a.planOverridden(ctx, w, request, pipeline.Overrides{})
}

// planOverridden plans stages, of all pipelines unless the request names them, with other render options than their pipeline files say.
func (a *app) planOverridden(ctx context.Context, w *workspace.Workspace, request plan.Request, o pipeline.Overrides) ([]plan.Release, error) {
	var err error
	if request.Pipelines == nil {
		if request.Pipelines, err = a.usable(w.Overridden(request.Files, a.files, o)); err != nil {
			return nil, err
		}
	}
	request.Sources, request.Charts = w.Repository.Sources(), helm.Charts{Archives: a.chartFetcher()}
	if request.Renderers, err = a.renderers(); err != nil {
		return nil, err
	}
	return plan.Make(ctx, request)
}

// leaveOut keeps what is wrong with pipeline files that a run goes on without, for the end of the run.
func (a *app) leaveOut(problems error) { a.leftOut = problems }

func (a *app) usable(pipelines []*pipeline.Pipeline, err error) ([]*pipeline.Pipeline, error) {
	return publish.Environment{LeftOut: a.leaveOut}.Usable(pipelines, err)
}

// keyring opens private keys, with a password from the environment or the terminal, and signs as whom a token names.
func (a *app) keyring() *sign.Keyring {
	return sign.NewKeyring(sign.PasswordFromEnv(a.askPassword("Password of the signing key: "))).WithTokens(func(ref string) sign.TokenFunc {
		return func(ctx context.Context) (string, error) { return tokens().Token(ctx, ref) }
	}, time.Now)
}

// askPassword asks for a password at the terminal; it is nil if standard input is not one.
func (a *app) askPassword(prompt string) sign.PasswordFunc {
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(ctx context.Context) ([]byte, error) {
		state, err := term.GetState(int(f.Fd()))
		if err != nil {
			return nil, err
		}
		a.clear()
		fmt.Fprint(a.stderr, prompt)
		defer fmt.Fprintln(a.stderr)
		var password []byte
		read := make(chan error, 1)
		go func() { // ends with the process if no input comes
			var err error
			password, err = term.ReadPassword(int(f.Fd()))
			read <- err
		}()
		select {
		case err := <-read:
			return password, err
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), term.Restore(int(f.Fd()), state))
		}
	}
}

// declaration is what a commit of the GitOps repository declares, usually the policy ref.
type declaration struct {
	workspace *workspace.Workspace
	policyRef *workspace.Policy
	files     fs.FS
	pipelines []*pipeline.Pipeline
	client    *oci.Client
}

// declared reads what the policy ref declares.
func (a *app) declared(ctx context.Context) (d declaration, err error) {
	if d.workspace, err = a.workspace(ctx); err != nil {
		return d, err
	}
	if d.policyRef, err = d.workspace.Policy(ctx, a.policy, a.warning); err != nil {
		return d, err
	}
	if d.files, err = d.policyRef.Files(ctx); err != nil {
		return d, err
	}
	return a.withPipelines(d)
}

// checkedOut reads what the checked-out commit declares, without a policy ref.
func (a *app) checkedOut(ctx context.Context) (d declaration, err error) {
	if d.workspace, err = a.workspace(ctx); err != nil {
		return d, err
	}
	if d.files, err = d.workspace.Files(ctx); err != nil {
		return d, err
	}
	return a.withPipelines(d)
}

func (a *app) withPipelines(d declaration) (declaration, error) {
	var err error
	d.client = a.registries(d.workspace.Root())
	if d.pipelines, err = a.usable(d.workspace.Pipelines(d.files, a.files)); err == nil && d.policyRef != nil {
		d.policyRef.Expect(d.pipelines)
	}
	return d, err
}

// checkStages refuses names of stages that no pipeline has.
func (d declaration) checkStages(names []string) error {
	return pipeline.CheckStages(d.pipelines, names)
}

// expand returns a stage as it is declared for the pipeline's current release, and that release's id.
func (d declaration) expand(p *pipeline.Pipeline, stage string) (pipeline.Expanded, string, error) {
	return p.ExpandCurrent(stage, d.files)
}

// expandAny is expand for any release that can be read, where the current one cannot: they say alike where a stage keeps its state.
func (d declaration) expandAny(p *pipeline.Pipeline, stage string) (declared pipeline.Expanded, release string, err error) {
	releases, err := lock.Releases(d.files, p.Lock)
	if err == nil {
		err = lock.ErrNoRelease
	}
	for _, release = range releases {
		var f lock.File
		if f, err = p.LockOf(d.files, release); err == nil {
			declared, err = p.Expand(stage, f.Lock, d.files)
			break
		}
	}
	return declared, release, err
}

// open finds where a stage keeps its state.
func (d declaration) open(ctx context.Context, p *pipeline.Pipeline, stage string) (live.Stage, error) {
	declared, _, err := d.expand(p, stage)
	if err != nil {
		return live.Stage{}, err
	}
	return live.Open(ctx, d.files, d.policyRef, declared, d.client, d.workspace.Repository)
}

// complete adds to a request of package verify what all requests share.
func (d declaration) complete(r verify.Request) verify.Request {
	r.Files, r.PolicyRef, r.Remotes = d.files, d.policyRef, d.workspace.Repository
	return r
}
