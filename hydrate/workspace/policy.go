package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/memo"
)

// ErrOffPolicy is returned for a commit that is not on the policy ref: nothing may be published from it.
var ErrOffPolicy = errors.New("not on the policy ref")

// defaultRemote is git's name for the remote of a clone.
const defaultRemote = "origin"

// Policy is the policy ref: the trusted branch of the GitOps repository, as the remote has it now.
type Policy struct {
	name   string
	tip    git.Hash
	source source
	remote *git.Remote // nil for a repository without a remote
	branch string      // its name at the remote
	gates  []pipeline.GateKind

	mu    sync.Mutex
	known map[[2]git.Hash]bool // the answers of isAncestor

	log       *log
	snapshots memo.Map[git.Hash, *git.Snapshot]
	pipelines memo.Map[[2]string, *pipeline.Pipeline] // by commit and file
	releases  memo.Map[git.Hash, string]              // by current.yaml; "" for what cannot be read
	timelines memo.Map[string, *timeline]             // by lock directory
	had       memo.Map[string, bool]                  // by a lock file, and the commit that may have it
}

// source has the policy ref's commits: the remote, or the repository on disk.
type source interface {
	Commit(ctx context.Context, h git.Hash) (git.Commit, error)
	Snapshot(ctx context.Context, h git.Hash) (*git.Snapshot, error)
	IsAncestor(ctx context.Context, ancestor, descendant git.Hash) (bool, error)
	Log(ctx context.Context, from git.Hash, visit func(git.Commit) (bool, error)) error
	PathsIDs(ctx context.Context, names []string, commits ...git.Commit) ([][]git.Hash, error)
	FetchFiles(ctx context.Context, ids ...git.Hash) error
	File(ctx context.Context, id git.Hash) ([]byte, error)
}

// Policy finds the policy ref: spec is REMOTE@BRANCH, REMOTE, or "" for the default branch of the checkout's remote. In a
// repository without any remote it is the branch that is checked out, with a warning.
func (w *Workspace) Policy(ctx context.Context, spec string, warn func(string)) (*Policy, error) {
	remoteName, branch := splitSpec(spec)
	remotes, err := w.Repository.Remotes(ctx)
	if err != nil {
		return nil, err
	}
	if remoteName == "" {
		switch {
		case len(remotes) == 0 && branch == "":
			return w.localPolicy(warn)
		case slices.Contains(remotes, defaultRemote):
			remoteName = defaultRemote
		case len(remotes) == 1:
			remoteName = remotes[0]
		default:
			if len(remotes) == 0 {
				return nil, selectionf("--policy %s: repository %s has no remote", spec, w.Repository)
			}
			return nil, selectionf("repository %s has the remotes %s; say which one is trusted with --policy REMOTE@BRANCH", w.Repository, strings.Join(remotes, ", "))
		}
	}
	if !slices.Contains(remotes, remoteName) && !strings.ContainsAny(remoteName, "/:") {
		return nil, selectionf("policy ref: repository %s has no remote %q; it has %s", w.Repository, remoteName, cmp.Or(strings.Join(remotes, ", "), "none"))
	}
	remote, err := w.Repository.Remote(ctx, remoteName)
	if err != nil {
		return nil, fmt.Errorf("policy ref: %w", err)
	}
	tip, name, err := remote.Tip(ctx, branch)
	if errors.Is(err, git.ErrNotFound) && branch != "" {
		return nil, selectionf("policy ref: %w; name a branch that exists with --policy REMOTE@BRANCH", err)
	}
	if errors.Is(err, git.ErrNotFound) {
		return nil, fmt.Errorf("policy ref: %w; push the first commit there (git push -u %s HEAD), or name a branch with --policy REMOTE@BRANCH", err, remoteName)
	}
	if err != nil {
		return nil, fmt.Errorf("policy ref: %w", err)
	}
	named := slices.Contains(remotes, remoteName)
	if !named {
		remoteName = remote.URL() // a URL may hold a password
	}
	p := &Policy{name: remoteName + "@" + name, tip: tip, source: remote, remote: remote, branch: name, gates: w.Gates}
	if named && (remoteName == defaultRemote || len(remotes) == 1) {
		// The checkout has most of that remote's history, and fetches the rest from it.
		p.source = w.Repository
	}
	return w.reads(p.withLog(warn)), nil
}

// splitSpec splits REMOTE@BRANCH. REMOTE may be a URL, whose user ends in an @ too.
func splitSpec(spec string) (remote, branch string) {
	start := 0
	if scheme := strings.Index(spec, "://"); scheme >= 0 {
		start = scheme + len("://")
		if slash := strings.IndexByte(spec[start:], '/'); slash >= 0 {
			start += slash
		} else {
			start = len(spec)
		}
	} else if colon := strings.IndexByte(spec, ':'); colon >= 0 {
		start = colon // git@host:path
	}
	remote, branch, _ = strings.Cut(spec[start:], "@")
	return spec[:start] + remote, branch
}

func (w *Workspace) localPolicy(warn func(string)) (*Policy, error) {
	if err := w.unborn(); err != nil {
		return nil, err
	}
	if w.Head.Branch == "" {
		return nil, selectionf("repository %s has no remote and no branch checked out: nothing says which commits are trusted; check a branch out", w.Repository)
	}
	warn(fmt.Sprintf("%s has no remote: the checked-out branch %s is trusted", w.Repository, w.Head.Branch))
	return w.reads(w.Checkout(w.Head.Branch, warn)), nil
}

// Checkout is the commit that is checked out as if it were the policy ref, for questions about it alone.
func (w *Workspace) Checkout(name string, warn func(string)) *Policy {
	return (&Policy{name: name, tip: w.Head.Hash, source: w.Repository, gates: w.Gates}).withLog(warn)
}

func (p *Policy) withLog(warn func(string)) *Policy {
	p.log = &log{source: p.source, name: p.name, tip: p.tip, warn: warn, ended: p.tip == ""}
	return p
}

// Name returns REMOTE@BRANCH, or the branch in a repository without a remote.
func (p *Policy) Name() string { return p.name }

// Tip returns the newest commit of the policy ref.
func (p *Policy) Tip() string { return string(p.tip) }

// Remote returns the policy ref's remote; nil in a repository without one.
func (p *Policy) Remote() *git.Remote { return p.remote }

// Branch returns the name of the branch at the remote; "" in a repository without one.
func (p *Policy) Branch() string { return p.branch }

// URL returns the remote's URL as the user wrote it, without credentials; "" in a repository without a remote.
func (p *Policy) URL() string {
	if p.remote == nil {
		return ""
	}
	return p.remote.Written()
}

// Files returns the files at the policy ref's tip: what is trusted now, whatever is checked out.
func (p *Policy) Files(ctx context.Context) (fs.FS, error) {
	files, err := p.FilesAt(ctx, string(p.tip))
	if err != nil {
		return nil, fmt.Errorf("policy ref %s: %w", p.name, err)
	}
	return files, nil
}

// FilesAt returns the files of another commit, which need not be on the policy ref.
func (p *Policy) FilesAt(ctx context.Context, commit string) (fs.FS, error) {
	hash, err := git.ParseHash(commit)
	if err != nil {
		return nil, err
	}
	snapshot, err := p.snapshots.Get(hash, func() (*git.Snapshot, error) { return p.source.Snapshot(ctx, hash) })
	if err != nil {
		return nil, fmt.Errorf("GitOps commit %.12s: %w", commit, err)
	}
	return snapshot.FS(ctx).Whole(), nil
}

// Commit reads another commit, which need not be on the policy ref.
func (p *Policy) Commit(ctx context.Context, commit string) (git.Commit, error) {
	hash, err := git.ParseHash(commit)
	if err != nil {
		return git.Commit{}, err
	}
	return p.source.Commit(ctx, hash)
}

// PipelineAt returns the pipeline that a file declares at another commit, which need not be on the policy ref.
func (p *Policy) PipelineAt(ctx context.Context, commit, file string) (*pipeline.Pipeline, error) {
	return p.pipelines.Get([2]string{commit, file}, func() (*pipeline.Pipeline, error) {
		files, err := p.FilesAt(ctx, commit)
		if err != nil {
			return nil, err
		}
		loaded, err := pipeline.Load(files, p.gates, file)
		if err != nil {
			return nil, err
		}
		return loaded[0], nil
	})
}

// Older reports whether the policy ref's tip comes before a commit: it was set back, or its remote lags.
func (p *Policy) Older(ctx context.Context, commit string) (bool, error) {
	c, err := git.ParseHash(commit)
	if err != nil {
		return false, nil //nolint:nilerr // such a commit does not exist
	}
	older, err := p.source.IsAncestor(ctx, p.tip, c)
	if errors.Is(err, git.ErrNotFound) {
		return false, nil
	}
	return older && c != p.tip, err
}

// Contains reports whether a commit is the policy ref's tip or an ancestor of it.
func (p *Policy) Contains(ctx context.Context, commit string) (bool, error) {
	return p.IsAncestor(ctx, commit, string(p.tip))
}

// IsAncestor reports whether ancestor is descendant or comes before it. An id that is not a full commit id is an ancestor
// of nothing, and a commit that the policy ref does not contain has no ancestors.
func (p *Policy) IsAncestor(ctx context.Context, ancestor, descendant string) (bool, error) {
	a, errA := git.ParseHash(ancestor)
	d, errD := git.ParseHash(descendant)
	if errA != nil || errD != nil {
		return false, nil // it is an answer: such a commit does not exist
	}
	if a == d {
		return true, nil
	}
	// One walk at a time: the first one fetches what is missing for all.
	p.mu.Lock()
	defer p.mu.Unlock()
	if on, err := p.isAncestor(ctx, d, p.tip); err != nil || !on || a == p.tip { // which comes before nothing that it contains
		return false, err
	}
	return p.isAncestor(ctx, a, d)
}

// isAncestor asks the source once for each pair of commits.
func (p *Policy) isAncestor(ctx context.Context, a, d git.Hash) (bool, error) {
	if a == d {
		return true, nil
	}
	is, known := p.known[[2]git.Hash{a, d}]
	if !known {
		var err error
		if is, err = p.source.IsAncestor(ctx, a, d); err != nil {
			return false, err
		}
		if p.known == nil {
			p.known = map[[2]git.Hash]bool{}
		}
		p.known[[2]git.Hash{a, d}] = is
	}
	return is, nil
}

// Publication returns the commit that is published: the policy ref's tip, or the commit that a revision names, if the tip's
// first-parent line holds it. A commit inside a merged branch never was the tip: nobody agreed to its files. Without a
// revision, the checkout must belong to the policy ref: a pull request's head is refused.
func (w *Workspace) Publication(ctx context.Context, p *Policy, rev string) (string, error) {
	if rev == "" {
		if err := w.unborn(); err != nil {
			return "", err
		}
		on, err := p.Contains(ctx, string(w.Head.Hash))
		if err == nil && !on {
			err = fmt.Errorf("commit %.12s of %s is %w %s: nothing is published from it; merge it there, and look at it meanwhile with `lockage render`",
				w.Head.Hash, w.Repository, ErrOffPolicy, p.name)
		}
		return string(p.tip), err
	}
	commit, err := w.Repository.Resolve(ctx, rev)
	if err != nil {
		return "", selectionf("commit %s: %w", rev, err)
	}
	_, on, err := p.firstParents(ctx, commit)
	if err == nil && !on {
		err = fmt.Errorf("commit %.12s is %w %s, but for inside a merged branch or not at all: nothing is published from it; name a commit of `git log --first-parent`",
			commit, ErrOffPolicy, p.name)
	}
	return string(commit), err
}

// Behind describes how far the checkout is behind the policy ref; "" if it is not.
func (w *Workspace) Behind(ctx context.Context, p *Policy) (string, error) {
	if w.Head.Hash == p.tip || w.Head.Hash == "" {
		return "", nil
	}
	count, on, err := p.firstParents(ctx, w.Head.Hash)
	distance := ""
	if on {
		distance = fmt.Sprintf("%d commits ", count)
	}
	if count == 1 {
		distance = "1 commit "
	}
	return "HEAD is " + distance + "behind " + strings.TrimSuffix(p.name, "@"+p.branch) + "/" + p.branch, err
}

// firstParents counts the steps along first parents from the tip to a commit, and reports whether they lead there.
func (p *Policy) firstParents(ctx context.Context, commit git.Hash) (steps int, on bool, err error) {
	err = p.source.Log(ctx, p.tip, func(c git.Commit) (bool, error) {
		if on = c.Hash == commit; !on {
			steps++
		}
		return !on && steps < maxHistory, nil
	})
	return steps, on, err
}
