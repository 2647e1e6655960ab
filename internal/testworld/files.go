package testworld

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/demo"
	"github.com/lockage/lockage/policy"
)

// Image is the digest of the image that a [Lock] names.
const Image = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// CommitID returns the n-th commit ID of those that tests number: n as 40 hex digits.
func CommitID(n int) string { return fmt.Sprintf("%040x", n) }

// Release returns the release of the n-th commit.
func Release(n int) string { return "git-" + CommitID(n) }

// Lock returns the lock of a release of a Helm chart at a source commit.
func Lock(commit string) lock.Lock {
	return lock.Lock{
		SchemaVersion: lock.SchemaVersion,
		ReleaseID:     "git-" + commit,
		GitCommit:     commit,
		Image:         lock.Image{Ref: "ghcr.io/acme/app:v1", Digest: Image},
		Packaging:     lock.Packaging{Kind: lock.Helm, SourceRepo: "https://github.com/acme/app.git", SourcePath: "chart"},
		CreatedAt:     "2026-03-22T12:34:56Z",
	}
}

// AddLock writes a lock to the lock directory dir and makes it the current one.
func AddLock(files fstest.MapFS, dir string, l lock.Lock) {
	for _, name := range []string{"current", l.ReleaseID} {
		files[dir+"/"+name+".yaml"] = &fstest.MapFile{Data: lock.Format(l)}
	}
}

// Pipeline returns a small pipeline file: the stages staging and production, with artifacts at registry/acme/NAME, locks in
// locks/NAME, and the public keys keys/IDENTITY.pub of these identities.
func Pipeline(name, registry string, identities ...string) string {
	keys := ""
	for _, identity := range identities {
		keys += fmt.Sprintf("  %[1]s: {key: keys/%[1]s.pub}\n", identity)
	}
	return fmt.Sprintf(`apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: %[1]s
lock: locks/%[1]s
artifacts: %[2]s/acme/%[1]s
render: {releaseName: app, kubeVersion: "1.34"}
identities:
%[3]sstages:
  - {name: staging}
  - {name: production, after: [staging]}
`, name, registry, keys)
}

// History is a policy ref whose commits lie on one line, the oldest first.
type History []string

// Name names the policy ref.
func (History) Name() string { return "origin@main" }

// Tip returns the last commit; "" for none.
func (h History) Tip() string {
	if len(h) == 0 {
		return ""
	}
	return h[len(h)-1]
}

// Contains reports whether the commit is on the policy ref.
func (h History) Contains(_ context.Context, commit string) (bool, error) {
	return slices.Contains(h, commit), nil
}

// IsAncestor reports whether both commits are on the policy ref, in this order or equal.
func (h History) IsAncestor(_ context.Context, ancestor, descendant string) (bool, error) {
	i, j := slices.Index(h, ancestor), slices.Index(h, descendant)
	return 0 <= i && i <= j, nil
}

// FilesAt reads nothing: a History has no files, see [Files].
func (History) FilesAt(context.Context, string) (fs.FS, error) { return nil, fs.ErrNotExist }

// PipelineAt reads nothing, see [Files].
func (History) PipelineAt(context.Context, string, string) (*pipeline.Pipeline, error) {
	return nil, fs.ErrNotExist
}

// Files is a policy ref whose commits have files.
type Files struct {
	History
	At map[string]fs.FS // by commit
}

// FilesAt returns the files at a commit.
func (f Files) FilesAt(_ context.Context, commit string) (fs.FS, error) {
	files := f.At[commit]
	if files == nil {
		return nil, fs.ErrNotExist
	}
	return files, nil
}

// PipelineAt returns the pipeline that a file declares at a commit.
func (f Files) PipelineAt(ctx context.Context, commit, file string) (*pipeline.Pipeline, error) {
	files, err := f.FilesAt(ctx, commit)
	if err != nil {
		return nil, err
	}
	loaded, err := pipeline.Load(files, policy.Kinds(), file)
	if err != nil {
		return nil, err
	}
	return loaded[0], nil
}

// Demo prepares the demonstration's repositories for a registry. Its pipeline names the hydrator's private key by file.
func Demo(t testing.TB, registry string, now time.Time) demo.Setup {
	t.Helper()
	dir := t.TempDir()
	return must(demo.Prepare(t.Context(), dir, demo.Options{Registry: registry, Now: now, NewKey: KeyPair, Change: func(pipeline string) string {
		return strings.ReplaceAll(pipeline, "env://"+demo.PrivateKeyVariable, dir+"/keys/hydrator.key")
	}}))(t)
}

// DemoRelease makes a release of the demonstration with one object more than those before.
func DemoRelease(t testing.TB, setup demo.Setup) string {
	t.Helper()
	n := Git(t, setup.SourceDir, "rev-list", "--count", "HEAD")
	Write(t, setup.SourceDir, map[string]string{
		demo.ChartPath + "/templates/more-" + n + ".yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more-" + n + "}\n",
	})
	return DemoCommit(t, setup)
}

// DemoCommit commits what is in the demonstration's source as a release, makes it current on the policy ref, and returns its id.
func DemoCommit(t testing.TB, setup demo.Setup) string {
	t.Helper()
	commit := string(Commit(t, setup.SourceDir, "more"))
	next := must(lock.Current(os.DirFS(setup.GitOpsDir), demo.LockDir))(t).Lock
	next.ReleaseID, next.GitCommit = "git-"+commit, commit
	root := must(os.OpenRoot(setup.GitOpsDir))(t)
	defer root.Close()
	must(lock.Write(t.Context(), root, demo.LockDir, next, History{}))(t)
	Commit(t, setup.GitOpsDir, "release "+commit)
	Git(t, setup.GitOpsDir, "push", "-q", "origin", "HEAD")
	return next.ReleaseID
}
