package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/idtoken"
)

// tokens finds the token of the CI job.
func tokens() idtoken.Source {
	return idtoken.Source{Getenv: os.Getenv, Client: http.DefaultClient, Audience: sign.Audience}
}

// isTerminal reports whether somebody can answer on standard input.
func (a *app) isTerminal() bool {
	f, ok := a.stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// signsIn reports whether a statement can be signed without a key: by the token of a job, or by a person at a terminal.
func (a *app) signsIn() bool { return tokens().Ambient() || a.isTerminal() }

// signIn signs without a key: as whom the token of the job names, or as the person who signs in at the issuer after reading what is signed.
// The artifact is verified before.
func (a *app) signIn(ctx context.Context, t *target) (sign.Signer, error) {
	instance, err := verify.Instance(t.request.Files, t.declared)
	if err != nil {
		return nil, err
	}
	if err := t.verify(ctx); err != nil {
		return nil, err
	}
	token := func(ctx context.Context) (string, error) {
		token, err := tokens().Token(ctx, "")
		if !errors.Is(err, idtoken.ErrNone) || !a.isTerminal() {
			return token, err
		}
		return sign.Login(ctx, instance, time.Now(), a.stdin, a.stderr, func(issuer string) {
			fmt.Fprintf(a.stderr, "you sign for stage %s of pipeline %s:\n  release    %s\n  artifact   %s\n  sign in    %s\n",
				t.declared.Stage, t.declared.Pipeline, t.lock.ReleaseID, t.repository.Reference(t.desc.Digest.String()), issuer)
		})
	}
	return sign.NewKeyless(ctx, instance, token, time.Now)
}
