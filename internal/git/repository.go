package git

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"

	"github.com/lockage/lockage/internal/bounded"
)

// Repository is a repository on disk. It is safe for concurrent use.
type Repository struct {
	commits
	root   string // of the work tree; empty when bare
	gitDir string // this work tree's own part
	common string // the part that linked work trees share
	opts   Options
	stores []*store // its own, then its alternates

	mu      sync.Mutex
	conf    *config
	remotes map[string]*Remote // by the requested name or URL
}

// Open finds the repository that dir belongs to: a work tree's root or any folder inside it, or a bare repository itself.
func Open(ctx context.Context, dir string, opts Options) (*Repository, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoRepository, err)
	}
	r := &Repository{remotes: map[string]*Remote{}, opts: opts}
	r.commits = newCommits(r, opts)
	if r.root, r.gitDir, err = discover(abs); err != nil {
		return nil, err
	}
	if r.common, err = commonDir(r.gitDir); err != nil {
		return nil, err
	}
	r.opts.Dir = cmp.Or(r.root, r.gitDir)
	if err := r.checkFormat(); err != nil {
		return nil, err
	}
	others, err := alternates(r.common)
	if err != nil {
		return nil, err
	}
	for _, dir := range append([]string{r.common}, others...) {
		r.stores = append(r.stores, newStore(dir))
	}
	return r, ctx.Err()
}

// discover walks up from dir as git does, and returns the root, "" if bare, and the git folder. Only dir itself may be a
// bare repository: else a committed folder could pose as one.
func discover(dir string) (root, gitDir string, err error) {
	if isGitDir(dir) {
		if filepath.Base(dir) == ".git" {
			root = filepath.Dir(dir)
		}
		return root, dir, nil
	}
	for at := dir; ; at = filepath.Dir(at) {
		dot := filepath.Join(at, ".git")
		info, err := os.Stat(dot)
		switch {
		case err == nil && info.IsDir() && isGitDir(dot):
			return at, dot, nil
		case err == nil && info.Mode().IsRegular():
			line, err := readLine(dot)
			if err != nil {
				return "", "", err
			}
			target, ok := strings.CutPrefix(line, "gitdir: ")
			if !ok {
				return "", "", fmt.Errorf("%s does not name a git folder", dot)
			}
			if target = below(at, target); !isGitDir(target) {
				return "", "", fmt.Errorf("%s points to %s, which is not a git folder: was the repository moved? (git worktree repair)", dot, target)
			}
			return at, target, nil
		}
		if filepath.Dir(at) == at {
			return "", "", fmt.Errorf("%w at %s or above it", ErrNoRepository, dir)
		}
	}
}

// commonDir returns the folder that the linked work trees of a git folder share.
func commonDir(gitDir string) (string, error) {
	line, err := readLine(filepath.Join(gitDir, "commondir"))
	if errors.Is(err, fs.ErrNotExist) {
		return gitDir, nil
	}
	return below(gitDir, line), err
}

// below returns name, from dir on if it is relative.
func below(dir, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}

// isGitDir follows is_git_directory of git's setup.c.
func isGitDir(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, "HEAD")); err != nil {
		return false
	}
	if _, err := os.Stat(filepath.Join(dir, "commondir")); err == nil {
		return true
	}
	for _, sub := range []string{"objects", "refs"} {
		if info, err := os.Stat(filepath.Join(dir, sub)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

func readLine(file string) (string, error) {
	data, err := bounded.File(file, maxLinkBytes)
	return strings.TrimRight(string(data), "\r\n"), err
}

// checkFormat refuses unsupported formats, not extensions of the work tree or the configuration alone.
func (r *Repository) checkFormat() error {
	conf, err := readConfigFile(filepath.Join(r.common, "config"))
	if err != nil {
		return fmt.Errorf("repository %s: %w", r.opts.Dir, err)
	}
	if format, ok := conf.last("extensions.objectformat"); ok && !strings.EqualFold(format, "sha1") {
		return fmt.Errorf("repository %s has object format %s: only sha1 is supported", r.opts.Dir, format)
	}
	if format, ok := conf.last("extensions.refstorage"); ok && !strings.EqualFold(format, "files") {
		return fmt.Errorf("repository %s keeps its references as %s: only the files format is supported (git refs migrate --ref-format=files)", r.opts.Dir, format)
	}
	return nil
}

// Root returns the work tree's root folder; empty for a bare repository.
func (r *Repository) Root() string { return r.root }

// Head returns the commit that is checked out; with ErrNoCommit, the branch that the first one will be on.
func (r *Repository) Head(ctx context.Context) (Head, error) {
	name, id, err := r.resolveRef(plumbing.HEAD)
	head := Head{}
	if name.IsBranch() {
		head.Branch = name.Short()
	}
	if errors.Is(err, ErrNotFound) {
		return head, fmt.Errorf("repository %s has %w (%s)", r.opts.Dir, ErrNoCommit, name)
	}
	if err != nil {
		return Head{}, err
	}
	head.Commit, err = r.Commit(ctx, hashOf(id))
	return head, err
}

// resolveRef follows symbolic references to the one that names an object. It returns the last name with ErrNotFound too.
func (r *Repository) resolveRef(name plumbing.ReferenceName) (plumbing.ReferenceName, plumbing.Hash, error) {
	files := osfs.New(r.gitDir)
	if r.common != r.gitDir {
		files = dotgit.NewRepositoryFilesystem(files, osfs.New(r.common))
	}
	refs := dotgit.New(files)
	for range maxRefDepth {
		ref, err := refs.Ref(name)
		switch {
		case errors.Is(err, plumbing.ErrReferenceNotFound), errors.Is(err, fs.ErrNotExist):
			return name, plumbing.ZeroHash, fmt.Errorf("reference %s in %s: %w", name, r.opts.Dir, ErrNotFound)
		case err != nil:
			return name, plumbing.ZeroHash, fmt.Errorf("reference %s in %s: %w", name, r.opts.Dir, err)
		case ref.Type() == plumbing.HashReference:
			return name, ref.Hash(), nil
		}
		name = ref.Target()
	}
	return name, plumbing.ZeroHash, fmt.Errorf("reference %s in %s: symbolic references nested too deep", name, r.opts.Dir)
}

// Resolve finds the commit that rev names: a full id, HEAD, a full reference, a branch, a remote's branch or a tag, and of any
// of these an ancestor, as in HEAD~2 and HEAD^1. Unlike in gitrevisions(7), a tag does not hide a branch of its name: a clone
// fetches the tags of everybody who may push one.
func (r *Repository) Resolve(ctx context.Context, rev string) (Hash, error) {
	name, path, err := splitRevision(rev)
	if err != nil {
		return "", err
	}
	id, err := ParseHash(name)
	if err != nil {
		if id, _, err = r.tip(ctx, name); err != nil {
			return "", err
		}
	}
	for _, parent := range path {
		c, err := r.Commit(ctx, id)
		if err != nil {
			return "", err
		}
		if parent > len(c.Parents) {
			return "", fmt.Errorf("%s: commit %s has %d parents: %w", rev, id, len(c.Parents), ErrNotFound)
		}
		if parent > 0 {
			id = c.Parents[parent-1]
		}
	}
	return id, nil
}

// maxSteps bounds how far back a revision may go.
const maxSteps = 1000

// splitRevision splits a revision into a name and, for its ~N and ^N, the parent to follow at each step.
func splitRevision(rev string) (name string, parents []int, err error) {
	end := strings.IndexAny(rev, "~^")
	if end < 0 {
		return rev, nil, nil
	}
	name = rev[:end]
	for rest := rev[end:]; rest != ""; {
		digits := 1
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			digits++
		}
		n := 1
		if digits > 1 {
			n, err = strconv.Atoi(rest[1:digits])
		}
		if err != nil || n > maxSteps || len(parents)+n > maxSteps || rest[0] != '~' && rest[0] != '^' {
			return "", nil, fmt.Errorf("invalid revision %q: want a name or full id, with ~N or ^N behind it", rev)
		}
		if rest[0] == '^' {
			parents = append(parents, n)
		} else {
			parents = append(parents, slices.Repeat([]int{1}, n)...)
		}
		rest = rest[digits:]
	}
	return name, parents, nil
}

// tip resolves a short or full name; "" is HEAD. Tags are peeled.
func (r *Repository) tip(ctx context.Context, name string) (Hash, string, error) {
	var err error
	for _, candidate := range refCandidates(name) {
		var full plumbing.ReferenceName
		var id plumbing.Hash
		if full, id, err = r.resolveRef(plumbing.ReferenceName(candidate)); err == nil {
			id, err = r.peel(ctx, id)
			return hashOf(id), full.String(), err
		}
		if !errors.Is(err, ErrNotFound) {
			return "", "", err
		}
	}
	if name != "" && name != "HEAD" {
		err = fmt.Errorf("%q names no branch, tag or full commit id in %s: %w", name, r.opts.Dir, ErrNotFound)
	}
	return "", "", err
}

func refCandidates(name string) []string {
	if name == "" || name == "HEAD" {
		return []string{"HEAD"}
	}
	if strings.HasPrefix(name, "refs/") {
		return []string{name}
	}
	return []string{branchPrefix + name, "refs/remotes/" + name, "refs/remotes/" + name + "/HEAD", "refs/tags/" + name}
}

// peel follows annotated tags to their commit.
func (r *Repository) peel(ctx context.Context, id plumbing.Hash) (plumbing.Hash, error) {
	for range maxTagDepth {
		obj, err := loadAs(ctx, r, want{ids: []plumbing.Hash{id}})
		if err != nil {
			return id, err
		}
		if obj.kind != plumbing.TagObject {
			return id, nil
		}
		first, _, _ := strings.Cut(string(obj.data), "\n")
		target, ok := strings.CutPrefix(first, "object ")
		if !ok || !plumbing.IsHash(target) {
			return id, fmt.Errorf("tag %s names no object", id)
		}
		id = plumbing.NewHash(target)
	}
	return id, fmt.Errorf("tag %s: tags nested too deep", id)
}

// Remotes returns the names of the configured remotes, sorted.
func (r *Repository) Remotes(ctx context.Context) ([]string, error) {
	conf, err := r.config(ctx)
	if err != nil {
		return nil, err
	}
	return conf.subsections("remote", "url"), nil
}

// Sources opens what others name by URL, as locks do.
type Sources struct{ *Repository }

// Sources opens repositories that others name.
func (r *Repository) Sources() Sources { return Sources{r} }

// Remote is [Repository.Remote] that sends LOCKAGE_GIT_TOKEN to no server but those of the configuration.
func (s Sources) Remote(ctx context.Context, nameOrURL string) (*Remote, error) {
	conf, err := s.config(ctx)
	if err != nil {
		return nil, err
	}
	if conf.serves(nameOrURL) {
		return s.Repository.Remote(ctx, nameOrURL)
	}
	return s.open(ctx, nameOrURL, s.opts.withoutToken())
}

// Remote opens a remote by name, or any URL with this repository's configuration. The same one returns the same value.
func (r *Repository) Remote(ctx context.Context, nameOrURL string) (*Remote, error) {
	return r.open(ctx, nameOrURL, r.opts)
}

func (r *Repository) open(ctx context.Context, nameOrURL string, opts Options) (*Remote, error) {
	conf, err := r.config(ctx)
	if err != nil {
		return nil, err
	}
	raw, name := nameOrURL, ""
	if urls := conf.all("remote." + nameOrURL + ".url"); len(urls) > 0 {
		raw, name = urls[0], nameOrURL
	} else if !strings.ContainsAny(nameOrURL, "/:\\.") {
		return nil, fmt.Errorf("repository %s has no remote %q (`git remote add` makes one): %w", r.opts.Dir, nameOrURL, ErrNotFound)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := raw
	if opts.getenv(gitVariable) != r.opts.getenv(gitVariable) {
		key = "without\n" + raw
	}
	pushed, noPush := conf.pushURL(name, raw)
	if _, proxied := conf.last("remote." + name + ".proxy"); pushed != "" || noPush != nil || proxied {
		key = name + "\n" + raw
	}
	if remote, ok := r.remotes[key]; ok {
		return remote, nil
	}
	remote, err := newRemote(ctx, name, raw, conf, opts)
	if err != nil {
		return nil, err
	}
	r.remotes[key] = remote
	return remote, nil
}

func (r *Repository) config(ctx context.Context) (*config, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conf == nil {
		conf, err := readConfig(ctx, r.gitDir, r.common, r.opts)
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", r.opts.Dir, err)
		}
		r.conf = conf
	}
	return r.conf, nil
}

// upstream returns the remote of absent objects: the promisor remote of a partial clone, else origin, else the only remote.
// The error is errMissing without any.
func (r *Repository) upstream(ctx context.Context) (*Remote, error) {
	conf, err := r.config(ctx)
	if err != nil {
		return nil, err
	}
	names := conf.subsections("remote", "url")
	name := ""
	if len(names) == 1 {
		name = names[0]
	}
	if slices.Contains(names, "origin") {
		name = "origin"
	}
	if promisor, ok := conf.last("extensions.partialclone"); ok {
		name = promisor
	}
	for _, n := range names {
		value, _ := conf.last("remote." + n + ".promisor")
		if slices.Contains([]string{"true", "yes", "on", "1"}, strings.ToLower(value)) {
			name = n
		}
	}
	if name == "" {
		return nil, errMissing
	}
	return r.Remote(ctx, name)
}

func (r *Repository) String() string { return r.opts.Dir }

// readOwn reads from the repository's own object folders.
func (r *Repository) readOwn(id plumbing.Hash) (encoded, error) {
	for _, s := range r.stores {
		obj, err := s.read(id)
		if !errors.Is(err, errMissing) {
			return obj, err
		}
	}
	return encoded{}, errMissing
}

func (r *Repository) hasOwn(id plumbing.Hash) bool {
	return slices.ContainsFunc(r.stores, func(s *store) bool { return s.has(id) })
}

func (r *Repository) read(ctx context.Context, id plumbing.Hash) (encoded, error) {
	obj, err := r.readOwn(id)
	if !errors.Is(err, errMissing) {
		return obj, err
	}
	remote, err := r.upstream(ctx)
	if err != nil {
		return encoded{}, err
	}
	return remote.read(ctx, id)
}

func (r *Repository) has(ctx context.Context, id plumbing.Hash) bool {
	if r.hasOwn(id) {
		return true
	}
	remote, err := r.upstream(ctx)
	return err == nil && remote.has(ctx, id)
}

func (r *Repository) fetch(ctx context.Context, w want) error {
	remote, err := r.upstream(ctx)
	if errors.Is(err, errMissing) {
		return fmt.Errorf("%s is not in repository %s, which has no remote to fetch it from: %w", w, r.opts.Dir, ErrNotFound)
	}
	if err != nil {
		return err
	}
	return remote.fetch(ctx, w)
}
