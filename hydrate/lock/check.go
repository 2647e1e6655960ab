package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/strictyaml"
)

// Commits looks up commits of source repositories.
type Commits interface {
	// HasCommit reports whether repository sourceRepo has the commit, a full id.
	HasCommit(ctx context.Context, sourceRepo, commit string) (bool, error)
}

// Images looks up images in registries.
type Images interface {
	// Resolve returns the digest that a tagged reference points to now. The error is fs.ErrNotExist if no such image
	// exists.
	Resolve(ctx context.Context, ref string) (digest.Digest, error)
	// Revision returns the org.opencontainers.image.revision of the image repository@digest, from its annotations or its
	// configuration's labels; "" if it has none.
	Revision(ctx context.Context, ref string) (string, error)
}

// Outcome is the result of a check.
type Outcome string

// The outcomes of a check.
const (
	Pass    Outcome = "pass"
	Fail    Outcome = "fail"
	Skipped Outcome = "skipped"
	Unknown Outcome = "unknown" // the repository or registry did not answer
)

// CheckResult is one check of a lock. Reason explains every outcome but Pass.
type CheckResult struct {
	Check  string  `json:"check"`
	Result Outcome `json:"result"`
	Reason string  `json:"reason,omitempty"`
}

// The checks, in the order of their results. Those of a named image have its name appended: image-digest/sidecar.
const (
	CheckFormat        = "format"         // current.yaml is a lock
	CheckReleaseID     = "release-id"     // releaseId is git- and gitCommit
	CheckFilesAgree    = "files-agree"    // current.yaml equals its history file
	CheckCommit        = "commit"         // the commit exists in the source repository
	CheckImageDigest   = "image-digest"   // the image's tag resolves to the digest
	CheckImageRevision = "image-revision" // the image was built from the commit, according to its annotation
)

// Check examines current.yaml of the lock directory dir. All checks run; those that need a nil commits or images, or a lock
// that cannot be read, are skipped. sourceRepo replaces packaging.sourceRepo in the short form. The error is about reading
// the directory or ctx, never about a check.
func Check(ctx context.Context, fsys fs.FS, dir, sourceRepo string, commits Commits, images Images) ([]CheckResult, error) {
	name := path.Join(dir, currentName)
	data, err := strictyaml.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("check lock: %w", err)
	}
	l, _, problems := decode(name, data)
	c := checker{}
	if err := problems.Err(); err != nil {
		c.report(CheckFormat, err.Error())
		for _, check := range []string{CheckReleaseID, CheckFilesAgree, CheckCommit, CheckImageDigest, CheckImageRevision} {
			c.skip(check, "the lock cannot be read")
		}
		return c.results, nil
	}
	c.report(CheckFormat, "")
	c.report(CheckReleaseID, l.inconsistency())
	reason, err := disagreement(fsys, dir, l, data)
	if err != nil {
		reason = err.Error()
	}
	c.report(CheckFilesAgree, reason)
	c.commit(ctx, commits, cmp.Or(l.Packaging.SourceRepo, sourceRepo), l.GitCommit)
	c.image(ctx, images, "", l.Image, l.GitCommit)
	for _, named := range l.Others {
		c.image(ctx, images, "/"+named.Name, named.Image, "")
	}
	return c.results, ctx.Err()
}

type checker struct{ results []CheckResult }

// report adds a result: Pass if reason is empty, else Fail.
func (c *checker) report(check, reason string) {
	result := Pass
	if reason != "" {
		result = Fail
	}
	c.results = append(c.results, CheckResult{check, result, reason})
}

// failed adds the result of a lookup that failed: Fail if the object does not exist, else Unknown.
func (c *checker) failed(check string, err error) {
	result := Unknown
	if errors.Is(err, fs.ErrNotExist) {
		result = Fail
	}
	c.results = append(c.results, CheckResult{check, result, err.Error()})
}

func (c *checker) skip(check, reason string) {
	c.results = append(c.results, CheckResult{check, Skipped, reason})
}

func (c *checker) commit(ctx context.Context, commits Commits, repo, commit string) {
	if commits == nil {
		c.skip(CheckCommit, "the source repository was not asked")
		return
	}
	ok, err := commits.HasCommit(ctx, repo, commit)
	switch {
	case err != nil:
		c.failed(CheckCommit, err)
	case !ok:
		c.report(CheckCommit, "commit "+commit+" does not exist in the source repository: was it pushed?")
	default:
		c.report(CheckCommit, "")
	}
}

// image checks one image. Only the main one, whose commit is not empty, must have been built from the locked commit.
func (c *checker) image(ctx context.Context, images Images, suffix string, image Image, commit string) {
	digestCheck, revisionCheck := CheckImageDigest+suffix, CheckImageRevision+suffix
	if images == nil {
		c.skip(digestCheck, "the registry was not asked")
		if commit != "" {
			c.skip(revisionCheck, "the registry was not asked")
		}
		return
	}
	if image.Tag() == "" {
		c.skip(digestCheck, image.Ref+" has no tag")
	} else if now, err := images.Resolve(ctx, image.Repository()+":"+image.Tag()); err != nil {
		c.failed(digestCheck, err)
	} else if now != image.Digest {
		c.report(digestCheck, image.Ref+" is now "+now.String()+", not "+image.Digest.String()+": the tag was moved, or the lock names another image")
	} else {
		c.report(digestCheck, "")
	}
	if commit == "" {
		return
	}
	revision, err := images.Revision(ctx, image.Pinned())
	switch {
	case err != nil:
		c.failed(revisionCheck, err)
	case revision == "":
		c.skip(revisionCheck, "the image names no org.opencontainers.image.revision")
	case strings.TrimPrefix(revision, "sha1:") != commit:
		c.report(revisionCheck, fmt.Sprintf("the image was built from %q, not from %s", revision, commit))
	default:
		c.report(revisionCheck, "")
	}
}
