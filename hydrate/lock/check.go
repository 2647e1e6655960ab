package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// Charts looks up packaged charts in their repositories.
type Charts interface {
	// Resolve returns the digest of the archive that the repository has of a chart and version now. The error is fs.ErrNotExist if
	// it has none.
	Resolve(ctx context.Context, c Chart) (digest.Digest, error)
}

// Order knows in which order releases became current.
type Order interface {
	// Newer returns the newest release of a lock directory, if it became current after another one; "" if that is not older.
	Newer(ctx context.Context, dir, release string) (newest string, err error)
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
	CheckReleaseID     = "release-id"     // releaseId belongs to gitCommit and to what the lock means
	CheckFilesAgree    = "files-agree"    // current.yaml means what its history file does
	CheckOrder         = "order"          // current.yaml did not go back to an older release
	CheckCommit        = "commit"         // the commit exists in the source repository
	CheckImageDigest   = "image-digest"   // the image's tag resolves to the digest
	CheckImageRevision = "image-revision" // the image was built from the commit, according to its annotation
	CheckChartDigest   = "chart-digest"   // in place of the last three: the chart's version is the archive of the digest
)

// Asked are those who answer the checks that need more than the lock directory; nil for those that are not asked.
type Asked struct {
	Commits Commits
	Images  Images
	Charts  Charts
}

// Check examines current.yaml of the lock directory dir. All checks run; those that nobody is asked for, or that a lock which cannot be
// read has, are skipped. sourceRepo replaces packaging.sourceRepo in the short form. The error is about reading the directory or ctx,
// never about a check.
func Check(ctx context.Context, fsys fs.FS, dir, sourceRepo string, order Order, asked Asked) ([]CheckResult, error) {
	name := CurrentFile(dir)
	data, err := strictyaml.ReadFile(fsys, name)
	if _, none := Current(fsys, dir); errors.Is(none, ErrNoRelease) {
		return []CheckResult{result(CheckFormat, "", skipped(none.Error()))}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("check lock: %w", err)
	}
	l, _, problems := decode(name, data)
	var results []CheckResult
	add := func(check, reason string, err error) { results = append(results, result(check, reason, err)) }
	if err := problems.Err(); err != nil {
		add(CheckFormat, err.Error(), nil)
		for _, check := range []string{CheckReleaseID, CheckFilesAgree, CheckOrder, CheckCommit, CheckImageDigest, CheckImageRevision} {
			add(check, "", skipped("the lock cannot be read"))
		}
		return results, nil
	}
	add(CheckFormat, "", nil)
	add(CheckReleaseID, l.inconsistency(), nil)
	reason, err := disagreement(fsys, dir, sourceRepo, l)
	if err != nil {
		reason = err.Error()
	}
	add(CheckFilesAgree, reason, nil)
	reason, err = checkOrder(ctx, order, dir, l.ReleaseID)
	add(CheckOrder, reason, err)
	if l.Packaging.Kind == Packaged {
		reason, err = checkChart(ctx, asked.Charts, l.Chart)
		add(CheckChartDigest, reason, err)
		return results, ctx.Err()
	}
	commits, images := asked.Commits, asked.Images
	reason, err = checkCommit(ctx, commits, cmp.Or(l.Packaging.SourceRepo, sourceRepo), l.GitCommit)
	add(CheckCommit, reason, err)
	reason, err = checkDigest(ctx, images, l.Image)
	add(CheckImageDigest, reason, err)
	reason, err = checkRevision(ctx, images, l.Image, l.GitCommit)
	add(CheckImageRevision, reason, err)
	for _, other := range l.Others {
		reason, err = checkDigest(ctx, images, other.Image)
		add(CheckImageDigest+"/"+other.Name, reason, err)
	}
	return results, ctx.Err()
}

// skipped is the reason why a check did not run.
type skipped string

func (s skipped) Error() string { return string(s) }

// result makes the result of a check: reason is why the lock fails it, err why it could not be answered.
func result(check, reason string, err error) CheckResult {
	if err == nil && reason == "" {
		return CheckResult{check, Pass, ""}
	}
	var skip skipped
	switch {
	case errors.As(err, &skip):
		return CheckResult{check, Skipped, string(skip)}
	case err == nil:
		return CheckResult{check, Fail, reason}
	case errors.Is(err, fs.ErrNotExist):
		return CheckResult{check, Fail, err.Error()}
	}
	return CheckResult{check, Unknown, err.Error()}
}

func checkOrder(ctx context.Context, order Order, dir, release string) (reason string, err error) {
	newest, err := order.Newer(ctx, dir, release)
	if newest != "" {
		reason = currentName + " went back from " + newest + ", which nothing follows: copy " + newest + ".yaml over it; the way back is `lockage rollback`"
	}
	return reason, err
}

func checkCommit(ctx context.Context, commits Commits, repo, commit string) (reason string, err error) {
	if commits == nil {
		return "", skipped("the source repository was not asked")
	}
	exists, err := commits.HasCommit(ctx, repo, commit)
	if !exists {
		reason = "commit " + commit + " does not exist in the source repository: was it pushed?"
	}
	return reason, err
}

func checkChart(ctx context.Context, charts Charts, c Chart) (reason string, err error) {
	if charts == nil {
		return "", skipped("the chart's repository was not asked")
	}
	now, err := charts.Resolve(ctx, c)
	if now != c.Digest {
		reason = c.String() + " is now " + now.String() + ", not " + c.Digest.String() + ": the owner of the repository replaced the archive"
	}
	return reason, err
}

func checkDigest(ctx context.Context, images Images, image Image) (reason string, err error) {
	switch {
	case image == (Image{}):
		return "", skipped(noImage)
	case images == nil:
		return "", skipped("the registry was not asked")
	case image.Tag() == "":
		return "", skipped(image.Ref + " has no tag")
	}
	now, err := images.Resolve(ctx, image.Repository()+":"+image.Tag())
	if now != image.Digest {
		reason = image.Ref + " is now " + now.String() + ", not " + image.Digest.String() + ": the tag was moved, or the lock names another image"
	}
	return reason, err
}

// noImage is why images of a lock without one are not checked.
const noImage = "the lock names no image"

func checkRevision(ctx context.Context, images Images, image Image, commit string) (reason string, err error) {
	switch {
	case image == (Image{}):
		return "", skipped(noImage)
	case images == nil:
		return "", skipped("the registry was not asked")
	}
	revision, err := images.Revision(ctx, image.Pinned())
	switch {
	case err != nil:
		return "", err
	case revision == "":
		return "", skipped("the image names no org.opencontainers.image.revision")
	case strings.TrimPrefix(revision, "sha1:") != commit:
		return fmt.Sprintf("the image was built from %q, not from %s", revision, commit), nil
	}
	return "", nil
}
