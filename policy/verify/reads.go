package verify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// Commits reads the files of commits of the GitOps repository; *workspace.Policy does.
type Commits interface {
	FilesAt(ctx context.Context, commit string) (fs.FS, error)
	// PipelineAt returns the pipeline that a file declares at a commit.
	PipelineAt(ctx context.Context, commit, file string) (*pipeline.Pipeline, error)
}

// NewRead describes for a provenance what was found in the GitOps repository.
func NewRead(r git.Read) sign.FileRead {
	read := sign.FileRead{Name: r.Name, Folder: r.Folder, ID: string(r.ID)}
	if r.Path != r.Name {
		read.Path = r.Path
	}
	return read
}

// Declared is a stage as a GitOps commit declares it for a release.
type Declared struct {
	pipeline.Expanded
	Pipeline *pipeline.Pipeline
	Lock     lock.File
	Files    fs.FS // of the commit
}

// DeclaredAt reads a stage at a GitOps commit, from the first of the pipeline files that declares the claim's pipeline there. What is
// wrong in files of that commit is [ErrDeclared].
func DeclaredAt(ctx context.Context, claim sign.Claim, commits Commits, commit string, names ...string) (d Declared, err error) {
	if d.Files, err = commits.FilesAt(ctx, commit); err != nil {
		return d, err
	}
	err = fmt.Errorf("%w: it has no pipeline file", ErrDeclared)
	for _, name := range names {
		if d.Pipeline, err = declaredAt(ctx, claim, commits, commit, name); err == nil || !errors.Is(err, ErrDeclared) {
			break
		}
	}
	if err != nil {
		return d, err
	}
	if d.Lock, err = d.Pipeline.LockOf(d.Files, claim.Release); err == nil {
		d.Expanded, err = d.Pipeline.Expand(claim.Stage, d.Lock.Lock, d.Files)
	}
	return d, declaredError(err)
}

// ErrDeclared says that what a GitOps commit declares cannot be read as what was asked for.
var ErrDeclared = errors.New("not declared there")

func declaredAt(ctx context.Context, claim sign.Claim, commits Commits, commit, name string) (*pipeline.Pipeline, error) {
	if !fs.ValidPath(path.Clean(name)) {
		return nil, fmt.Errorf("%w: %q is not a file of the repository", ErrDeclared, name)
	}
	p, err := commits.PipelineAt(ctx, commit, name)
	if err != nil {
		return nil, declaredError(err)
	}
	if _, ok := p.Stage(claim.Stage); p.Name != claim.Pipeline || !ok {
		return nil, fmt.Errorf("%w: %s declares no stage %s of a pipeline %s", ErrDeclared, name, claim.Stage, claim.Pipeline)
	}
	return p, nil
}

// declaredError makes an error about the content of files ErrDeclared.
func declaredError(err error) error {
	var problems strictyaml.Problems
	if errors.As(err, &problems) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, bounded.ErrTooLarge) {
		return fmt.Errorf("%w: %w", ErrDeclared, err)
	}
	return err
}

// ReadsEqual compares what a provenance says was read with another GitOps commit, and returns the first difference; "" if a hydration
// there reads the same lock, options and files, and therefore makes the same content. It looks up ids in Git's trees and renders
// nothing. The pipeline file is the provenance's, or else one of the names.
//
// It is as exact as the input digest: a file that was moved or a vars file that gives the same options makes no difference.
func ReadsEqual(ctx context.Context, p sign.Provenance, commits Commits, commit string, names ...string) (difference string, err error) {
	if p.File == "" || len(p.Options) == 0 {
		return "the provenance does not say what was read", nil
	}
	if p.Commit(policy.DependencyGitOps) == commit {
		return "", nil
	}
	d, err := DeclaredAt(ctx, p.Claim, commits, commit, append([]string{p.File}, names...)...)
	if errors.Is(err, ErrDeclared) {
		return fmt.Sprintf("at GitOps commit %.12s: %v", commit, err), nil
	}
	if err != nil {
		return "", err
	}
	difference, err = d.Differs(p)
	if difference != "" {
		difference += fmt.Sprintf(" at GitOps commit %.12s", commit)
	}
	return difference, err
}

// Differs is [ReadsEqual] for a stage that was read already.
func (d Declared) Differs(p sign.Provenance) (string, error) {
	switch {
	case p.Meaning != d.Lock.Meaning():
		return "the lock of " + p.Release + " is another one", nil
	case !bytes.Equal(d.Render.Named(d.Lock.Lock), p.Options):
		return "the render options are others", nil
	}
	files, ok := d.Files.(*git.FS)
	if !ok {
		return "", errors.New("the GitOps repository is not read from a commit")
	}
	if difference, err := d.valuesDiffer(files, p.Values); difference != "" || err != nil {
		return difference, err
	}
	for _, was := range p.Reads {
		now, err := files.Find(was.Name, was.Folder && was.ID != "")
		if err != nil {
			return fmt.Sprintf("%s cannot be read (%v)", was.Name, err), nil
		}
		if NewRead(now) != was {
			return was.Name + " is another one", nil
		}
	}
	return "", nil
}

// valuesDiffer compares values files by their content in the order in which they are layered, and those that do not exist by name.
// Files of the source are those of one commit: their names decide.
func (d Declared) valuesDiffer(files *git.FS, stated []sign.FileRead) (string, error) {
	var was, now, gone, absent []string
	source := map[string]string{}
	for _, r := range stated {
		if r.Source {
			source[r.Name] = r.ID
		}
		if was = append(was, r.ID); r.ID == "" {
			was, gone = was[:len(was)-1], append(gone, originOf(r.Source)+"/"+r.Name)
		}
	}
	for _, v := range d.Values {
		id, known := source[v.File]
		if v.From != pipeline.FromSource {
			found, err := files.Find(v.File, false)
			if err != nil || found.Folder {
				return fmt.Sprintf("values file %s is not a file", v.File), nil //nolint:nilerr // it would be an error of the hydration
			}
			id, known = string(found.ID), true
		}
		switch {
		case !known || id == "" && !v.Optional:
			return fmt.Sprintf("values file %s is another one", v.File), nil
		case id == "":
			absent = append(absent, originOf(v.From == pipeline.FromSource)+"/"+v.File)
		default:
			now = append(now, id)
		}
	}
	if !slices.Equal(was, now) || !slices.Equal(gone, absent) {
		return "the values files are others", nil
	}
	return "", nil
}

func originOf(source bool) string {
	return string(cmp.Or(map[bool]pipeline.Origin{true: pipeline.FromSource}[source], pipeline.FromGitOps))
}
