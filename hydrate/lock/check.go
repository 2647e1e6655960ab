package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Commits is the source repository as Check sees it.
type Commits interface {
	// HasCommit reports whether repository sourceRepo holds the commit, which
	// is a full id.
	HasCommit(ctx context.Context, sourceRepo, commit string) (bool, error)
}

// Images is the registry as Check sees it.
type Images interface {
	// Resolve returns the digest that a reference with a tag points to now. The
	// error is fs.ErrNotExist if no such image exists.
	Resolve(ctx context.Context, ref string) (digest.Digest, error)
	// Revision returns the org.opencontainers.image.revision of the image
	// repository@digest, from its annotations or its configuration's labels;
	// empty where it has none.
	Revision(ctx context.Context, ref string) (string, error)
}

// Outcome is how a check ended.
type Outcome string

// How a check ends.
const (
	Pass    Outcome = "pass"
	Fail    Outcome = "fail"
	Skipped Outcome = "skipped"
	// Unknown: whoever had to be asked did not answer.
	Unknown Outcome = "unknown"
)

// CheckResult is one check of a lock. Reason says why it did not pass.
type CheckResult struct {
	Check  string  `json:"check"`
	Result Outcome `json:"result"`
	Reason string  `json:"reason,omitempty"`
}

// The checks, in the order in which Check reports them. Those of an image in
// Images have its name appended: image-digest/sidecar.
const (
	CheckFormat        = "format"         // current.yaml is a lock
	CheckReleaseID     = "release-id"     // releaseId is git- and gitCommit
	CheckFilesAgree    = "files-agree"    // current.yaml equals its history file
	CheckCommit        = "commit"         // the commit exists in the source repository
	CheckImageDigest   = "image-digest"   // the image's tag resolves to the digest
	CheckImageRevision = "image-revision" // the image says that it was built from the commit
)

// Check examines current.yaml of the lock directory dir. All checks run; those
// that need a nil commits or images, or a lock that cannot be read, are
// skipped. sourceRepo stands in for packaging.sourceRepo in the short form.
// The error is about reading the directory or ctx, never about a check.
func Check(ctx context.Context, fsys fs.FS, dir, sourceRepo string, commits Commits, images Images) ([]CheckResult, error) {
	name := path.Join(dir, currentName)
	data, err := readBounded(fsys, name)
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
	c.filesAgree(fsys, dir, l, data)
	if l.Packaging.SourceRepo != "" {
		sourceRepo = l.Packaging.SourceRepo
	}
	c.commit(ctx, commits, sourceRepo, l.GitCommit)
	c.image(ctx, images, "", l.Image, l.GitCommit)
	for _, named := range l.Others {
		c.image(ctx, images, "/"+named.Name, named.Image, "")
	}
	return c.results, ctx.Err()
}

type checker struct{ results []CheckResult }

// report adds a result: pass where reason is empty.
func (c *checker) report(check, reason string) {
	result := Pass
	if reason != "" {
		result = Fail
	}
	c.results = append(c.results, CheckResult{check, result, reason})
}

// unanswered tells what is not there, a failure, from what could not be asked.
func (c *checker) unanswered(check string, err error) {
	result := Unknown
	if errors.Is(err, fs.ErrNotExist) {
		result = Fail
	}
	c.results = append(c.results, CheckResult{check, result, err.Error()})
}

func (c *checker) skip(check, reason string) {
	c.results = append(c.results, CheckResult{check, Skipped, reason})
}

func (c *checker) filesAgree(fsys fs.FS, dir string, l Lock, current []byte) {
	history, err := readBounded(fsys, path.Join(dir, l.ReleaseID+".yaml"))
	c.report(CheckFilesAgree, disagreement(dir, l, history, current, err))
}

func (c *checker) commit(ctx context.Context, commits Commits, repo, commit string) {
	if commits == nil {
		c.skip(CheckCommit, "the source repository was not asked")
		return
	}
	ok, err := commits.HasCommit(ctx, repo, commit)
	switch {
	case err != nil:
		c.unanswered(CheckCommit, err)
	case !ok:
		c.report(CheckCommit, "commit "+commit+" does not exist in the source repository: was it pushed?")
	default:
		c.report(CheckCommit, "")
	}
}

// image checks one image. Only the main one (commit is not empty) must have
// been built from the locked commit.
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
		c.unanswered(digestCheck, err)
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
		c.unanswered(revisionCheck, err)
	case revision == "":
		c.skip(revisionCheck, "the image names no org.opencontainers.image.revision")
	case strings.TrimPrefix(revision, "sha1:") != commit:
		c.report(revisionCheck, fmt.Sprintf("the image was built from %q, not from %s", revision, commit))
	default:
		c.report(revisionCheck, "")
	}
}
