package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/lock/remotelock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
)

// lockPause is the unit of the pauses after a push that lost a race.
const lockPause = 100 * time.Millisecond

type lockWriteResult struct {
	Pipeline string `json:"pipeline,omitempty"`
	*lock.Written
	Branch string `json:"branch,omitempty"` // with --push
	Commit string `json:"commit,omitempty"` // that was pushed
	DryRun bool   `json:"dryRun,omitempty"`
	Error  string `json:"error,omitempty"`
}

func (r lockWriteResult) Text(w io.Writer) {
	dry := ""
	if r.DryRun {
		dry = " (dry run: nothing was written)"
	}
	what := cmp.Or(r.Lock.Image.Pinned(), "(no image of its own)")
	if r.Lock.Packaging.Kind == lock.Packaged {
		what = r.Lock.Chart.String() + "@" + r.Lock.Chart.Digest.String()
	}
	fmt.Fprintf(w, "%s  %s%s\n", r.Lock.ReleaseID, what, dry)
	for _, image := range r.Lock.Others {
		fmt.Fprintf(w, "  %s=%s\n", image.Name, image.Pinned())
	}
	table(w, func(w io.Writer) {
		for _, f := range []lock.WrittenFile{r.History, r.Current} {
			fmt.Fprintf(w, "  %s\t%s\n", f.Action, f.Path)
		}
		if r.Commit != "" {
			fmt.Fprintf(w, "  pushed\t%s %.12s\n", r.Branch, r.Commit)
		}
	})
}

func newLockWriteCommand(a *app) *cobra.Command {
	l := lockWriter{app: a}
	cmd := &cobra.Command{
		Use:   "write --commit COMMIT [--image REF] | --chart URL --chart-version VERSION",
		Short: "Record a release in the lock directory",
		Long: `Write records a release in the work tree: git-COMMIT.yaml and current.yaml in the pipeline's lock directory, both or
neither. It does not change a release that is recorded already: the same commit with other images is a further release,
git-COMMIT-<12 hex>. An older commit never replaces a newer current.yaml.
Commit and push the two files.

With --push, write makes one commit of the two files on the policy ref's branch at the remote, and does not touch the
checkout; it reads the pipeline and the current lock from that branch. If others push first, it reads the branch again and
decides anew. It pushes nothing if the release is recorded already.

With --history-only, current.yaml stays: a hotfix is recorded for ` + "`hydrate --release`" + ` and ` + "`promote STAGE --release`" + `, and
nobody else follows it.

Values without a flag come from the current lock: the image's repository (with the tag git-COMMIT), further images (a tag that
held the commit holds the new one, others stay as they are), kind, source repository and path. The registry resolves the digests.
A package may have no image of its own: leave --image out of the first lock, or take the image out of later ones with --drop-image.

An upstream chart is released as it is packed, with --chart and --chart-version, or with --chart-version alone if the current lock is of that chart: its
release is chart-VERSION-<12 hex>, and the lock holds the SHA-256 of the archive. A lower version never replaces a higher one in current.yaml.`,
		Example: `  lockage lock write --commit "$(git -C ../shop rev-parse HEAD)" --image ghcr.io/acme/shop:v1.2.3 \
      --kind helm --source-repo https://github.com/acme/shop.git --source-path deploy/chart
  lockage lock write --commit "$GITHUB_SHA" --push
  lockage lock write --commit "$GITHUB_SHA" --image worker=ghcr.io/acme/worker:v1.2.3
  lockage lock write --commit "$GITHUB_SHA" --drop-image worker
  lockage lock write --chart oci://ghcr.io/prometheus-community/charts/kube-prometheus-stack --chart-version 87.1.0
  lockage lock write --commit "$HOTFIX" --history-only --push`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&l.lock.GitCommit, "commit", "", "source `COMMIT`, 40 hex digits")
	f.StringArrayVar(&l.images, "image", nil, "image `[NAME=]REF`, repository and tag (default: the current lock's repository, tag git-COMMIT); with NAME, of a further image; repeatable")
	f.StringVar((*string)(&l.lock.Image.Digest), "digest", "", "`DIGEST` of the image (default: that of its tag in the registry)")
	f.StringVar(&l.chart.version, "chart-version", "", "`VERSION` of the chart")
	f.StringVar(&l.chart.former, "version", "", "the former name of --chart-version, `VERSION`")
	_ = f.MarkHidden("version")
	f.StringVar(&l.branch, "branch", "", "with --push: `BRANCH` of the policy ref's remote (default: the policy ref)")
	f.BoolVar(&l.history, "history-only", false, "record the release, such as a hotfix, without making it the current one")
	l.addFlags(cmd)
	return cmd
}

type lockWriter struct {
	app     *app
	lock    lock.Lock
	dir     string
	push    bool
	branch  string   // to push to; "" means the policy ref's
	history bool     // whether current.yaml stays
	images  []string // the values of --image
	drop    []string // names of images that the current lock has, and this one not
	chart   chartFlags
	dryRun  bool

	workspace *workspace.Workspace
	remote    remotelock.Branch  // to push to
	files     fs.FS              // of the repository, before the release
	pipeline  *pipeline.Pipeline // zero if --dir names the lock directory
	current   lock.Lock          // zero before the first release
}

// addFlags adds the flags of all verbs that record releases.
func (l *lockWriter) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar((*string)(&l.lock.Packaging.Kind), "kind", "", "`KIND` of packaging: helm or kustomize")
	f.StringVar(&l.lock.Packaging.SourceRepo, "source-repo", "", "`URL` of the source repository")
	f.StringVar(&l.lock.Packaging.SourcePath, "source-path", "", "`PATH` of the chart or kustomization in the source repository")
	f.StringVar(&l.chart.place, "chart", "", "`URL` of a packaged chart, the repository's with the chart's name: oci://HOST/PATH/NAME or https://HOST/PATH/NAME (default: the current lock's)")
	f.StringVar(&l.lock.CreatedAt, "created-at", "", "`TIME` to record, RFC 3339 (default: now)")
	f.StringVar(&l.dir, "dir", "", "lock directory `DIR` (default: the pipeline's)")
	f.StringArrayVar(&l.drop, "drop-image", nil, "`NAME` of an image of the current lock that this one has not, image for the one without a name; repeatable")
	f.BoolVar(&l.push, "push", false, "one commit on the policy ref's branch at the remote, instead of files in the work tree")
	l.app.policyFlag(cmd)
	dryRunFlag(cmd, &l.dryRun)
}

// missing is the error about a value that neither a flag nor the current lock has.
func (l *lockWriter) missing(flag string) error {
	return usagef("%s is missing, and %s has no current lock to take it from", flag, l.dir)
}

func (l *lockWriter) run(ctx context.Context) error {
	if err := l.parse(); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	l.pipeline = new(pipeline.Pipeline)
	if l.dir == "" {
		pipelines, err := l.workspace.Pipelines(l.files, l.app.files)
		if err != nil {
			return err
		}
		if len(pipelines) != 1 {
			return usagef("%d pipelines match; name one with -f, or a lock directory with --dir", len(pipelines))
		}
		l.pipeline, l.dir = pipelines[0], pipelines[0].Lock
	}
	if err := l.readCurrent(); err != nil {
		return err
	}
	result, err := l.record(ctx)
	if err == nil {
		result.Lock.Others = nonNil(result.Lock.Others)
		l.app.emit(list[lockWriteResult]{result})
		if !l.push && !l.dryRun {
			l.app.next("git add "+l.dir+" && git commit -m 'Release' && git push", "lockage hydrate"+l.app.fileFlags())
		}
	}
	return err
}

// parse validates the flags that say what is released.
func (l *lockWriter) parse() error {
	if l.chart.given() {
		return l.parseChart()
	}
	if _, err := git.ParseHash(l.lock.GitCommit); err != nil {
		return usagef("--commit: %w", err)
	}
	return l.parseImages()
}

// checkFlags returns an error if a flag has a value that no lock may have.
func (l *lockWriter) checkFlags() error {
	p, image := l.lock.Packaging, l.lock.Image.Digest
	if !slices.Contains([]lock.Kind{"", lock.Helm, lock.Kustomize}, p.Kind) {
		return usagef("--kind %q: write helm or kustomize", p.Kind)
	}
	if p.SourceRepo != "" {
		if err := lock.CheckRepository(p.SourceRepo); err != nil {
			return usagef("--source-repo %w", err)
		}
	}
	if p.SourcePath != "" {
		if fault := lock.PathFault(p.SourcePath, "the source repository's root"); fault != "" {
			return usagef("--source-path %q %s", p.SourcePath, fault)
		}
	}
	if image != "" && image.Validate() != nil {
		return usagef("--digest %q: want sha256: and 64 lower-case hex digits", image)
	}
	return nil
}

// open validates the flags, before anything is read, and opens the repository's files.
func (l *lockWriter) open(ctx context.Context) (err error) {
	if at := l.lock.CreatedAt; at != "" {
		if _, err := time.Parse(time.RFC3339, at); err != nil {
			return usagef("--created-at %q: want an RFC 3339 time, such as 2026-03-22T12:34:56Z", at)
		}
	}
	switch {
	case l.dir != "" && !fs.ValidPath(path.Clean(l.dir)):
		return usagef("--dir %q: want a folder of the GitOps repository, relative to its root", l.dir)
	case !l.push && l.app.policy+l.branch != "":
		return usagef("--policy and --branch need --push")
	}
	if l.workspace, err = l.app.workspace(ctx); err != nil {
		return err
	}
	if l.push {
		if l.remote, err = l.pushTarget(ctx); err != nil {
			return err
		}
		l.files, err = l.remote.Files(ctx)
	} else {
		l.files, err = l.workspace.WorkTree()
	}
	return err
}

// readCurrent reads the current lock, if there is one.
func (l *lockWriter) readCurrent() error {
	l.dir = path.Clean(l.dir)
	current, err := lock.Current(l.files, l.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.current = current.Lock
	return nil
}

func (l *lockWriter) pushTarget(ctx context.Context) (remotelock.Branch, error) {
	policyRef, err := l.workspace.Policy(ctx, l.app.policy, func(string) {})
	if err != nil {
		return remotelock.Branch{}, err
	}
	name := cmp.Or(l.branch, policyRef.Branch())
	switch {
	case policyRef.Remote() == nil:
		err = usagef("--push: repository %s has no remote to push to", l.workspace.Repository)
	case name == "" || strings.HasPrefix(name, "refs/"):
		err = usagef("--push: policy ref %s is not a branch; name one with --policy REMOTE@BRANCH", policyRef.Name())
	}
	// The random numbers keep concurrent runs apart.
	return remotelock.Branch{Remote: policyRef.Remote(), Name: name, Wait: ledger.Backoff(lockPause, rand.Int64N)}, err
}

// sourceRepo returns the URL of the source repository; "" if neither flag, lock nor pipeline file has it.
func (l *lockWriter) sourceRepo() string {
	return cmp.Or(l.lock.Packaging.SourceRepo, l.current.Packaging.SourceRepo, l.pipeline.SourceRepo)
}

func (l *lockWriter) record(ctx context.Context) (lockWriteResult, error) {
	result := lockWriteResult{Pipeline: l.pipeline.Name, Branch: l.remote.Name, DryRun: l.dryRun}
	now := time.Now()
	if err := l.complete(ctx, now); err != nil {
		return result, err
	}
	var ancestry lock.Ancestry = history{l.workspace.Repository, l.sourceRepo()}
	if l.history {
		ancestry = lock.HistoryOnly
	}
	var written lock.Written
	var err error
	switch {
	case l.dryRun:
		var plan lock.Plan
		plan, err = lock.Prepare(ctx, l.files, l.dir, l.lock, ancestry)
		written = plan.Written
	case l.push:
		var recorded remotelock.Recorded
		recorded, err = l.remote.Record(ctx, remotelock.Entry{Lock: l.lock, Dir: l.dir, Pipeline: l.pipeline.Name, Time: now, Ancestry: ancestry})
		written, result.Commit = recorded.Written, string(recorded.Commit)
	default:
		written, err = l.write(ctx, ancestry)
	}
	if err == nil {
		result.Written = &written
	}
	return result, err
}

// prepare decides which files a first lock is.
func (l *lockWriter) prepare(ctx context.Context) (lock.Plan, error) {
	if err := l.complete(ctx, time.Now()); err != nil {
		return lock.Plan{}, err
	}
	return lock.Prepare(ctx, l.files, l.dir, l.lock, history{l.workspace.Repository, l.sourceRepo()})
}

// write records the lock in the files of the checkout.
func (l *lockWriter) write(ctx context.Context, ancestry lock.Ancestry) (lock.Written, error) {
	root, err := os.OpenRoot(l.workspace.Root())
	if err != nil {
		return lock.Written{}, err
	}
	defer root.Close()
	return lock.Write(ctx, root, l.dir, l.lock, ancestry)
}

// complete fills in the values that have no flag.
func (l *lockWriter) complete(ctx context.Context, now time.Time) error {
	fill := func(field *string, from, flag string) error {
		if *field = cmp.Or(*field, from); *field == "" {
			return l.missing(flag)
		}
		return nil
	}
	if l.lock.SchemaVersion, l.lock.CreatedAt = lock.SchemaVersion, cmp.Or(l.lock.CreatedAt, now.UTC().Format(time.RFC3339)); l.lock.GitCommit == "" {
		return l.completeChart(ctx)
	}
	if image := l.ownRepository(); l.lock.Image.Ref == "" && image != "" {
		l.lock.Image.Ref = image + ":git-" + l.lock.GitCommit
	}
	if l.lock.Image.Ref == "" && l.lock.Image.Digest != "" {
		return usagef("--digest is that of an image: name the image with --image")
	}
	p, kind := &l.lock.Packaging, l.current.Packaging.Kind
	if kind == lock.Packaged {
		kind = ""
	}
	if err := errors.Join(
		fill((*string)(&p.Kind), string(kind), "--kind"),
		fill(&p.SourcePath, l.current.Packaging.SourcePath, "--source-path"),
		fill(&p.SourceRepo, l.sourceRepo(), "--source-repo"),
	); err != nil {
		return err
	}
	l.keepImages()
	l.warnDropped()
	l.lock.ReleaseID = "git-" + l.lock.GitCommit
	return l.resolve(ctx)
}

// dropped reports whether --drop-image names an image, the one without a name as a gate does.
func (l *lockWriter) dropped(name string) bool {
	return slices.Contains(l.drop, cmp.Or(name, policy.ApplicationImage))
}

// ownRepository returns the repository of the image without a name that the current lock hands on; "" for none.
func (l *lockWriter) ownRepository() string {
	if l.dropped("") {
		return ""
	}
	return l.current.Image.Repository()
}

// warnDropped warns of names that drop nothing.
func (l *lockWriter) warnDropped() {
	for _, name := range l.drop {
		if !slices.ContainsFunc(l.current.Images(), func(i lock.NamedImage) bool { return cmp.Or(i.Name, policy.ApplicationImage) == name }) {
			l.app.warning(fmt.Sprintf("--drop-image %s: the current lock in %s has no such image", name, l.dir))
		}
	}
}

// parseImages reads the values of --image.
func (l *lockWriter) parseImages() error {
	if err := l.checkFlags(); err != nil {
		return err
	}
	for _, value := range l.images {
		name, ref, named := strings.Cut(value, "=")
		if !named {
			name, ref = "", value
		}
		known := slices.ContainsFunc(l.lock.Others, func(i lock.NamedImage) bool { return i.Name == name })
		switch {
		case ref == "" || named && name == "":
			return usagef("--image %q: want REF, or NAME=REF", value)
		case strings.HasPrefix(ref, "sha256:"):
			return usagef("--image %q is a digest without a repository: want REPOSITORY@%s", value, ref)
		case l.dropped(name):
			return usagef("--image %s and --drop-image exclude each other", value)
		case !named && l.lock.Image.Ref != "":
			return usagef("--image %s: %s is the image already; give a further one a name, as --image NAME=%[1]s", value, l.lock.Image.Ref)
		case known:
			return usagef("--image: %s is given twice", name)
		case named:
			l.lock.Others = append(l.lock.Others, lock.NamedImage{Name: name, Image: lock.Image{Ref: ref}})
		default:
			l.lock.Image.Ref = ref
		}
	}
	return nil
}

// keepImages adds the further images of the current lock that no flag names. A tag that held the current commit holds the new one.
func (l *lockWriter) keepImages() {
	given := l.lock.Others
	l.lock.Others = nil
	for _, image := range l.current.Others {
		if i := slices.IndexFunc(given, func(g lock.NamedImage) bool { return g.Name == image.Name }); i >= 0 {
			image, given = given[i], slices.Delete(given, i, i+1)
		} else if l.dropped(image.Name) {
			continue
		} else if tag := image.Tag(); tag != "" {
			image.Image = lock.Image{Ref: image.Repository() + ":" + strings.ReplaceAll(tag, l.current.GitCommit, l.lock.GitCommit)}
		}
		l.lock.Others = append(l.lock.Others, image)
	}
	l.lock.Others = append(l.lock.Others, given...)
}

// resolve asks the registries for the digests of the images that have none.
func (l *lockWriter) resolve(ctx context.Context) error {
	images := oci.NewImages(l.app.registries(""))
	var err error
	if l.lock.Image.Ref != "" && l.lock.Image.Digest == "" {
		if l.lock.Image.Digest, err = images.Resolve(ctx, l.lock.Image.Ref); err != nil {
			return err
		}
	}
	for i := range l.lock.Others {
		image := &l.lock.Others[i]
		if image.Digest != "" {
			continue
		}
		if image.Digest, err = images.Resolve(ctx, image.Ref); err != nil {
			return fmt.Errorf("image %s: %w; name another with --image %[1]s=REF", image.Name, err)
		}
	}
	return nil
}

// history reads the history of the source repository.
type history struct {
	repository *git.Repository
	sourceRepo string
}

func (h history) IsAncestor(ctx context.Context, ancestor, descendant string) (bool, error) {
	remote, err := h.repository.Sources().Remote(ctx, h.sourceRepo)
	if err != nil {
		return false, err
	}
	return remote.IsAncestor(ctx, git.Hash(ancestor), git.Hash(descendant))
}

func (h history) HasCommit(ctx context.Context, sourceRepo, commit string) (bool, error) {
	remote, err := h.repository.Sources().Remote(ctx, sourceRepo)
	if err != nil {
		return false, err
	}
	_, err = remote.Commit(ctx, git.Hash(commit))
	if errors.Is(err, git.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
