package git

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
)

// Remote is a remote repository. Fetched objects stay in the object cache. It is safe for concurrent use.
type Remote struct {
	commits
	addr      address
	written   string // before insteadOf
	noPush    error  // why nothing can be pushed, if the configuration says so
	opts      Options
	local     *Repository // a repository on this machine is read where it lies
	link      link        // else
	cache     *objectCache
	count     counters
	pushes    joint[Update]
	questions joint[*question]
	fetches   joint[want]
	located   sync.Map // id → locatedFile: of files in Git LFS that are likely to be read

	mu     sync.Mutex      // held while fetching
	warned map[string]bool // reported already
	whole  bool            // the whole repository was fetched
}

// link is a connection to a server.
type link interface {
	receiver
	// advertisement returns the server's capabilities.
	advertisement(ctx context.Context) (*advertisement, error)
	// references lists at least those that begin with a prefix.
	references(ctx context.Context, prefixes []string) ([]reference, error)
	// pack passes the pack of a response to keep.
	pack(ctx context.Context, q request, keep func(io.Reader) error) error
	// large returns the server of Git LFS.
	large(ctx context.Context) (*lfsServer, error)
}

// OpenRemote opens a remote by URL or path, with the git configuration that applies in opts.Dir. It makes no request.
func OpenRemote(ctx context.Context, rawURL string, opts Options) (*Remote, error) {
	conf, err := readConfig(ctx, "", "", opts)
	if err != nil {
		return nil, err
	}
	return newRemote(ctx, "", rawURL, conf, opts)
}

// newRemote opens the remote of a name, or a URL if that is "".
func newRemote(ctx context.Context, name, raw string, conf *config, opts Options) (*Remote, error) {
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	pushed, noPush := conf.pushURL(name, raw)
	r := &Remote{written: withoutCredentials(raw), noPush: noPush, opts: opts, warned: map[string]bool{},
		pushes: newJoint(pushesFit), questions: newJoint(func([]*question, *question) bool { return true }), fetches: newJoint(fetchesFit)}
	r.commits = newCommits(r, opts)
	if pushed != "" {
		if r.addr, err = parseAddress(pushed, dir); err == nil {
			err = r.connect(ctx, name, conf)
		}
		if err == nil {
			return r, nil
		}
		r.noPush = fmt.Errorf("the URL to push to, by remote.%s.pushurl or pushInsteadOf: %w", name, err) // «no_push», say, to forbid pushes
	}
	if r.addr, err = parseAddress(conf.fetchURL(raw), dir); err != nil {
		return nil, fmt.Errorf("remote: %w", err)
	}
	return r, r.connect(ctx, name, conf)
}

// connect makes what r reads and writes through. It makes no request.
func (r *Remote) connect(ctx context.Context, name string, conf *config) error {
	err := conf.check(name, r.addr.url, r.opts)
	switch {
	case err != nil:
	case r.addr.url == nil:
		r.local, err = openLocal(ctx, r.addr.path, r.opts)
	case r.addr.url.Scheme == "ssh":
		r.link, err = newSSHLink(r.addr, conf, r.opts, &r.count)
	default:
		r.link, err = newHTTPLink(r.addr, conf, name, r.opts, &r.count)
	}
	if err != nil {
		return fmt.Errorf("remote %s: %w", r.addr, err)
	}
	if r.addr.url != nil && r.opts.CacheDir != "" {
		dir := fmt.Sprintf("%x", sha256.Sum256([]byte(r.addr.String())))[:32]
		r.cache, err = openCache(filepath.Join(r.opts.CacheDir, "git", dir))
	}
	return err
}

// openLocal opens a path as git does: a work tree, a .git folder, a bare repository, with or without its suffix.
func openLocal(ctx context.Context, path string, opts Options) (*Repository, error) {
	for _, suffix := range []string{"/.git", "", ".git"} {
		if dir := filepath.Clean(path + filepath.FromSlash(suffix)); isGitDir(dir) {
			return Open(ctx, dir, opts)
		}
	}
	if _, err := readLine(filepath.Join(path, ".git")); err == nil {
		return Open(ctx, path, opts)
	}
	return nil, fmt.Errorf("no git repository: %w; check the path, or write a URL such as https://github.com/acme/shop.git", ErrNotFound)
}

// Written returns the remote's URL as its user wrote it, before insteadOf and without credentials: the same on every machine.
func (r *Remote) Written() string { return r.written }

// URL returns the remote's address, after insteadOf and without credentials: that to push to, if there are two.
func (r *Remote) URL() string { return r.addr.String() }

func (r *Remote) String() string { return r.addr.String() }

// Stats returns the requests of this Remote so far.
func (r *Remote) Stats() Stats {
	return Stats{BytesReceived: r.count.bytes.Load(), RoundTrips: r.count.trips.Load()}
}

// Tip asks the server for the tip of a branch, named main or refs/heads/main; "" is the default branch, to which HEAD points.
// It returns the commit and the branch's name. A tag is never a branch: the right to push tags is given to more people.
func (r *Remote) Tip(ctx context.Context, branch string) (Hash, string, error) {
	name := "HEAD"
	if branch != "" {
		if name = branchPrefix + strings.TrimPrefix(branch, branchPrefix); strings.HasPrefix(name, branchPrefix+"refs/") {
			return "", "", fmt.Errorf("remote %s: %q is not the name of a branch: %w", r, branch, ErrNotFound)
		}
	}
	tip, full, err := r.reference(ctx, name)
	if branch == "" {
		name = full // what HEAD points to
	}
	short, isBranch := strings.CutPrefix(name, branchPrefix)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return "", "", fmt.Errorf("remote %s: %w", r, err)
	case branch == "" && (err != nil || !isBranch):
		return "", "", fmt.Errorf("remote %s has no default branch with a commit on it: %w", r, ErrNotFound)
	case err != nil:
		return "", "", fmt.Errorf("remote %s has no branch %q: %w", r, short, ErrNotFound)
	}
	return tip, short, nil
}

// reference asks for the commit that a full name names, and for the name that it points to.
func (r *Remote) reference(ctx context.Context, name string) (Hash, string, error) {
	if r.local != nil {
		return r.local.tip(ctx, name)
	}
	refs, err := r.link.references(ctx, []string{name})
	if err != nil {
		return "", "", err
	}
	i := slices.IndexFunc(refs, func(ref reference) bool { return ref.name == name })
	if i < 0 {
		return "", "", ErrNotFound
	}
	return hashOf(cmp.Or(refs[i].peeled, refs[i].id)), cmp.Or(refs[i].target, name), nil
}

func (r *Remote) read(_ context.Context, id plumbing.Hash) (encoded, error) {
	switch {
	case r.local != nil:
		return r.local.readOwn(id) // not in its own remotes, which may form a circle
	case r.cache == nil:
		return encoded{}, errMissing
	}
	return r.cache.read(id)
}

func (r *Remote) has(_ context.Context, id plumbing.Hash) bool {
	if r.local != nil {
		return r.local.hasOwn(id)
	}
	return r.cache != nil && r.cache.has(id)
}

func (r *Remote) warn(text string) {
	if r.opts.Warn != nil && !r.warned[text] {
		r.warned[text] = true
		r.opts.Warn(fmt.Sprintf("%s: %s", r, text))
	}
}

// fetch fetches w into the cache, in the cheapest way that the server offers.
func (r *Remote) fetch(ctx context.Context, w want) error {
	switch {
	case r.local != nil:
		return fmt.Errorf("%s is not in repository %s: was it pushed, or its branch rewritten? %w", w, r, ErrNotFound)
	case r.cache == nil:
		return fmt.Errorf("%s of %s is not on disk, and no cache folder is configured to fetch it into", w, r)
	}
	if err := r.fetches.do(ctx, w, r.fetchTogether, r.fetchAlone); err != nil {
		return fmt.Errorf("fetching %s from %s: %w", w, r, err)
	}
	return nil
}

// fetchesFit reports whether another fetch can go with these: one of objects that are named, by a server that gives such.
func fetchesFit(batch []want, other want) bool {
	named := func(w want) bool { return w.shape == shapeExact || w.shape == shapeTrees }
	first := batch[0]
	return named(first) && first.shape == other.shape && first.generations == other.generations
}

// fetchTogether fetches what several callers want, and reports who got it.
func (r *Remote) fetchTogether(ctx context.Context, wants []want) []bool {
	all := wants[0]
	all.ids = nil
	for _, w := range wants {
		for _, id := range w.ids {
			if !slices.Contains(all.ids, id) {
				all.ids = append(all.ids, id)
			}
		}
	}
	done := make([]bool, len(wants))
	if r.fetchAlone(ctx, all) == nil {
		for i, w := range wants {
			done[i] = !slices.ContainsFunc(w.ids, func(id plumbing.Hash) bool { return !r.cache.has(id) })
		}
	}
	return done
}

// fetchAlone fetches what is still absent: another goroutine may have fetched it meanwhile.
func (r *Remote) fetchAlone(ctx context.Context, w want) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.shape == shapeExact || w.shape == shapeCommit {
		w.ids = slices.DeleteFunc(slices.Clone(w.ids), r.cache.has)
		if len(w.ids) == 0 {
			return nil
		}
	}
	return r.fetchBest(ctx, w)
}

func (r *Remote) fetchBest(ctx context.Context, w want) error {
	adv, err := r.link.advertisement(ctx)
	if err != nil {
		return err
	}
	q := r.request(w)
	commits := w.shape != shapeExact && w.shape != shapeDeep
	allowed := adv.givesObjects() || commits && (adv.givesCommits() || r.listed(adv, w.ids))
	if allowed && (q.filter == "" || adv.offers("filter")) && (q.depth == 0 || adv.offers("shallow")) {
		err := r.receive(ctx, q)
		if err == nil && len(q.haves) > 0 && !r.cache.has(w.ids[0]) {
			// A history in the cache is not complete.
			if err = r.cache.drop(allTips); err == nil {
				q.haves = nil
				err = r.receive(ctx, q)
			}
		}
		if err == nil && w.shape == shapeHistory {
			err = r.cache.addTips(w.ids)
		}
		var refused refusal
		if !errors.As(err, &refused) {
			return err
		}
		if commits && adv.givesCommits() && notOurs(string(refused)) {
			return fmt.Errorf("the server lacks it: was it pushed, or its branch rewritten and the commit removed? %w", ErrNotFound)
		}
	}
	return r.fetchMore(ctx, adv, w)
}

// request returns the cheapest request for w.
func (r *Remote) request(w want) request {
	q := request{wants: w.ids}
	switch w.shape {
	case shapeExact:
		q.filter = "tree:0" // the named objects come nevertheless
	case shapeCommit:
		q.filter, q.depth = "tree:1", 1
	case shapeTrees:
		q.filter, q.depth = "blob:none", max(1, w.generations)
	case shapeDeep:
	case shapeRecent:
		q.filter, q.depth, q.haves = "tree:0", firstHistory, r.haves(w.ids)
	case shapeHistory:
		q.filter, q.haves = "tree:0", r.haves(w.ids)
	}
	return q
}

// haves returns the tips of complete histories in the cache; none if one of the ids is such a tip, which disproves that.
func (r *Remote) haves(ids []plumbing.Hash) []plumbing.Hash {
	tips := r.cache.tips()
	if slices.ContainsFunc(ids, func(id plumbing.Hash) bool { return slices.Contains(tips, id) }) {
		return nil
	}
	return tips[:min(len(tips), maxHaves)]
}

var errUnreachable = fmt.Errorf("no branch or tag of the server reaches it: was it pushed, or its branch rewritten? %w", ErrNotFound)

// fetchMore fetches, without partial fetches, the commit with all its files, or else all that branches and tags reach.
func (r *Remote) fetchMore(ctx context.Context, adv *advertisement, w want) error {
	history := w.shape == shapeRecent || w.shape == shapeHistory
	if !w.commit.IsZero() && !history && adv.offers("shallow") && (adv.givesCommits() || r.listed(adv, []plumbing.Hash{w.commit})) {
		r.warn("the server has no partial fetches: fetching all files of the commit")
		var refused refusal
		if err := r.receive(ctx, request{wants: []plumbing.Hash{w.commit}, depth: 1}); !errors.As(err, &refused) {
			return err
		}
	}
	if r.whole {
		return errUnreachable
	}
	if history && adv.offers("filter") {
		r.warn("the server has no commits by id: fetching the history of all branches and tags")
	} else {
		r.warn("the server has neither partial fetches nor commits by id: fetching the whole repository, which may take long")
	}
	refs, err := r.link.references(ctx, []string{"refs/heads/", "refs/tags/"})
	if err != nil {
		return err
	}
	q := request{haves: r.haves(w.ids)}
	if history && adv.offers("filter") {
		q.filter = "tree:0"
	}
	for _, ref := range refs {
		if strings.HasPrefix(ref.name, "refs/heads/") || strings.HasPrefix(ref.name, "refs/tags/") {
			q.wants = append(q.wants, ref.id)
		}
	}
	if len(q.wants) == 0 {
		return fmt.Errorf("the server has no branches or tags: %w", ErrNotFound)
	}
	if err := r.receive(ctx, q); err != nil {
		return err
	}
	r.whole = q.filter == ""
	if !slices.ContainsFunc(w.ids, r.cache.has) {
		return errUnreachable
	}
	return nil
}

// listed reports whether a version 0 server lists each id.
func (r *Remote) listed(adv *advertisement, ids []plumbing.Hash) bool {
	return !slices.ContainsFunc(ids, func(id plumbing.Hash) bool {
		return !slices.ContainsFunc(adv.refs, func(ref reference) bool { return ref.id == id })
	})
}

// receive sends a request and stores the pack, again if the connection broke in the middle.
func (r *Remote) receive(ctx context.Context, q request) error {
	for attempt := 1; ; attempt++ {
		err := r.link.pack(ctx, q, r.cache.addPack)
		if err == nil || attempt == maxAttempts || !transient(err) || ctx.Err() != nil {
			return err
		}
	}
}

// notOurs reports whether a refusal means that the server lacks an object.
func notOurs(text string) bool {
	return slices.ContainsFunc([]string{"not our ref", "not valid", "not found", "unknown object", "missing"},
		func(phrase string) bool { return strings.Contains(text, phrase) })
}
