package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/helm"
	"github.com/lockage/lockage/hydrate/helm/chartrepo"
	"github.com/lockage/lockage/hydrate/kustomize"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/hydrate/workspace"
	forges "github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
)

func (a *app) workspace(ctx context.Context) (*workspace.Workspace, error) {
	return workspace.Open(ctx, a.dir, git.Options{Dir: a.dir, CacheDir: a.cacheDir, Warn: a.warning}, policy.Kinds())
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
		Client:    a.registries(w.Root()),
		Forge:     forgeOptions(),
		Keys:      a.keyring(),
		Version:   version(),
		Now:       time.Now,
		Random:    rand.Int64N,
		Warn:      a.warning,
		Step:      a.step,
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
	var err error
	if request.Pipelines, err = w.Pipelines(request.Files, a.files); err != nil {
		return nil, err
	}
	request.Sources = w.Repository
	request.Renderers = a.renderers()
	return plan.Make(ctx, request)
}

// renderers returns the renderers by the lock's packaging.kind. Dependencies of charts are fetched into the cache.
func (a *app) renderers() map[lock.Kind]hydrate.Renderer {
	fetcher := chartrepo.New(chartrepo.Options{
		CacheDir:   a.cacheDir,
		Registries: a.registries(a.dir),
		UserAgent:  userAgent(),
	})
	return map[lock.Kind]hydrate.Renderer{lock.Helm: helm.Renderer{Charts: fetcher}, lock.Kustomize: kustomize.Renderer{}}
}

// keyring opens private keys, with a password from the environment or the terminal.
func (a *app) keyring() *sign.Keyring {
	return sign.NewKeyring(sign.PasswordFromEnv(a.askPassword("Password of the signing key: ")))
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
