package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/term"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/helm"
	"github.com/lockage/lockage/hydrate/helm/chartrepo"
	"github.com/lockage/lockage/hydrate/kustomize"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
)

func (a *app) gitOptions() git.Options {
	return git.Options{Dir: a.dir, CacheDir: a.cacheDir, Warn: func(message string) { a.warn("%s", message) }}
}

func (a *app) workspace(ctx context.Context) (*workspace.Workspace, error) {
	return workspace.Open(ctx, a.dir, a.gitOptions())
}

// registries opens artifact repositories. Directories of image layouts are relative to root.
func (a *app) registries(root string) *oci.Client {
	return oci.NewClient(oci.Options{
		UserAgent: "lockage/" + version(),
		BaseDir:   root,
		Warn:      func(message string) { a.warn("%s", message) },
	})
}

// checkRelease refuses what cannot be a release, given by a flag; empty means the current one.
func checkRelease(flag, release string) error {
	if release == "" {
		return nil
	}
	if err := lock.CheckID(release); err != nil {
		return usagef("%s %w", flag, err)
	}
	return nil
}

// pipelines reads the pipeline files that -f names, in files.
func (a *app) pipelines(w *workspace.Workspace, files fs.FS) ([]*pipeline.Pipeline, error) {
	return w.Pipelines(files, a.files)
}

// plan plans the stages that files declares.
func (a *app) plan(ctx context.Context, w *workspace.Workspace, files fs.FS, stages []string, release string) ([]plan.Release, error) {
	return a.planAt(ctx, w, plan.Request{Files: files, Stages: stages, Release: release})
}

// planAt makes a plan of a request that says what is special about it.
func (a *app) planAt(ctx context.Context, w *workspace.Workspace, request plan.Request) ([]plan.Release, error) {
	var err error
	if request.Pipelines, err = a.pipelines(w, request.Files); err != nil {
		return nil, err
	}
	request.Sources = w.Repository
	request.Renderers = a.renderers()
	return plan.Make(ctx, request)
}

// renderers are by the lock's packaging.kind. What charts depend on is fetched into the cache.
func (a *app) renderers() map[string]hydrate.Renderer {
	fetcher := chartrepo.New(chartrepo.Options{
		CacheDir:   a.cacheDir,
		Registries: a.registries(a.dir),
		UserAgent:  "lockage/" + version(),
	})
	return map[string]hydrate.Renderer{lock.Helm: helm.Renderer{Charts: fetcher}, lock.Kustomize: kustomize.Renderer{}}
}

// keyring opens private keys. A password comes from the environment, or is asked for at a terminal.
func (a *app) keyring() *sign.Keyring {
	return sign.NewKeyring(sign.PasswordFromEnv(a.askPassword("Password of the signing key: ")))
}

// askPassword asks at the terminal; it is nil where there is none.
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
		go func() { // ends with the process, if nobody types
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
