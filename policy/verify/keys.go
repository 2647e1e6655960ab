package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// Keys are the keys of an identity of a stage. They verify what any key in its file at the policy ref's tip signed. What a former
// one signed counts if it was the first in the file at the commit of the policy ref under which it was signed, see [Keys.Count];
// of a hydrator's, if the release was locked there, too.
type Keys struct {
	*sign.Verifier
	Identity        string // its name in the pipeline file
	Pipeline, Stage string
	File            string // the pipeline file
	KeyFile         string // the identity's; "" for one that is known by issuer and subject
}

// KeysOf returns the keys of a declared identity, read from the files of the policy ref. What cannot be used is [ErrIdentity].
func KeysOf(files fs.FS, declared pipeline.Expanded, name string) (Keys, error) {
	verifier, err := Identity(files, declared, name)
	return Keys{verifier, name, declared.Pipeline, declared.Stage, declared.File, declared.Identities[name].Key}, err
}

// Count reports whether a statement counts that was signed under a commit of the policy ref, at which the pipeline file had the
// given name, and why not.
func (k Keys) Count(ctx context.Context, ref PolicyRef, s sign.Verified, file, commit string) (counts bool, why string, err error) {
	if !s.Former() {
		return true, "", nil
	}
	first, why, err := k.FirstAt(ctx, ref, file, commit)
	if err == nil && why == "" && !first.Made(s.Author()) {
		why = fmt.Sprintf("it was not the first there at commit %.12s", commit)
	}
	if err != nil || why == "" {
		return why == "", "", err
	}
	return false, k.putAway(s) + ": " + why, nil
}

// countProvenance is [Keys.Count] for a provenance. One by a former key has to be of a release that was locked at its GitOps
// commit as it says: else a replaced key would sign what was locked since, in the name of an old commit.
func (k Keys) countProvenance(ctx context.Context, ref PolicyRef, s sign.Verified, p sign.Provenance) (counts bool, why string, err error) {
	file, commit := cmp.Or(p.File, k.File), p.Commit(policy.DependencyGitOps)
	counts, why, err = k.Count(ctx, ref, s, file, commit)
	if err != nil || !counts || !s.Former() {
		return counts, why, err
	}
	why = fmt.Sprintf("%s, and %s was not locked so at commit %.12s", k.putAway(s), p.Release, commit)
	if lock.CheckID(p.Release) != nil {
		return false, why, nil
	}
	d, err := DeclaredAt(ctx, p.Claim, ref, commit, file)
	switch {
	case errors.Is(err, ErrDeclared):
		return false, why, nil
	case err != nil:
		return false, "", fmt.Errorf("commit %.12s of %s: %w", commit, ref.Name(), err)
	case p.Meaning != d.Lock.Meaning():
		return false, why, nil
	}
	return true, "", nil
}

// putAway says that a statement is by what the identity was known by before.
func (k Keys) putAway(s sign.Verified) string {
	if s.Author().Issuer != "" || k.KeyFile == "" {
		return fmt.Sprintf("%s signs no more as %s", s.Author(), k.Identity)
	}
	return fmt.Sprintf("its key %.12s is not the first in %s now", s.KeyFingerprint(), k.KeyFile)
}

// FirstAt returns what the identity was known by at a commit of the policy ref, the first of its keys, or why it was not. It does not say
// what proves certificates.
func (k Keys) FirstAt(ctx context.Context, ref PolicyRef, file, commit string) (key sign.Identity, why string, err error) {
	return k.firstAt(ctx, ref, file, commit, knownBy)
}

// FirstProvenAt is [Keys.FirstAt], with the trusted root of that commit to prove certificates.
func (k Keys) FirstProvenAt(ctx context.Context, ref PolicyRef, file, commit string) (key sign.Identity, why string, err error) {
	return k.firstAt(ctx, ref, file, commit, Identities)
}

// firstAt returns the first of the identities that are read at a commit.
func (k Keys) firstAt(ctx context.Context, ref PolicyRef, file, commit string, read identitiesFunc) (key sign.Identity, why string, err error) {
	on, err := ref.Contains(ctx, commit)
	if err != nil {
		return key, "", err
	}
	if !on {
		return key, fmt.Sprintf("commit %.12s is not on %s", commit, ref.Name()), nil
	}
	keys, err := k.at(ctx, ref, file, commit, read)
	if err != nil && unusable(err) {
		return key, fmt.Sprintf("at commit %.12s: %v", commit, err), nil
	}
	if err != nil {
		return key, "", fmt.Errorf("commit %.12s of %s: %w", commit, ref.Name(), err)
	}
	return keys[0], "", nil
}

type identitiesFunc func(files fs.FS, declared pipeline.Expanded, name string) ([]sign.Identity, error)

// at reads the identity's keys at a commit.
func (k Keys) at(ctx context.Context, ref PolicyRef, file, commit string, read identitiesFunc) ([]sign.Identity, error) {
	files, err := ref.FilesAt(ctx, commit)
	if err != nil {
		return nil, err
	}
	p, err := k.declaredIn(ctx, ref, commit, file)
	if err != nil {
		return nil, err
	}
	declared, _, err := p.ExpandCurrent(k.Stage, files)
	if err != nil {
		return nil, err
	}
	return read(files, declared, k.Identity)
}

// declaredIn reads the pipeline at a commit from the file that a signer names. An example or a copy counts for nothing: the file is
// today's, unless that did not declare the pipeline there; then it is one that does so no more.
func (k Keys) declaredIn(ctx context.Context, ref PolicyRef, commit, file string) (*pipeline.Pipeline, error) {
	read := func(commit, file string) (*pipeline.Pipeline, error) {
		return declaredAt(ctx, sign.Claim{Pipeline: k.Pipeline, Stage: k.Stage}, ref, commit, file)
	}
	if file != k.File {
		_, err := read(commit, k.File)
		if errors.Is(err, ErrDeclared) {
			_, err = read(ref.Tip(), file)
		}
		switch {
		case err == nil:
			return nil, fmt.Errorf("%w: %s declares the pipeline, and %s is an example or a copy", ErrDeclared, k.File, file)
		case !errors.Is(err, ErrDeclared):
			return nil, err
		}
	}
	return read(commit, file)
}

// unusable reports whether an error says something of the files that were read, rather than that they could not be.
func unusable(err error) bool {
	return errors.Is(declaredError(err), ErrDeclared) || errors.Is(err, ErrIdentity)
}
