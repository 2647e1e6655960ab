package git

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	gitconfig "github.com/go-git/go-git/v5/plumbing/format/config"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/cachefile"
	"github.com/lockage/lockage/internal/lfs"
	"github.com/lockage/lockage/internal/redact"
	"github.com/lockage/lockage/internal/shell"
)

// Whole returns the file system with the files of Git LFS instead of the pointers to them: from the repository's own folder or the cache,
// else from the remote's server. A file that is not to be had stays a pointer, and Options.Warn says why.
func (f *FS) Whole() *FS {
	whole := *f
	whole.whole = true
	return &whole
}

// largePointer is a pointer, where it was found.
type largePointer struct {
	lfs.Pointer
	beside     func(known func(id string) bool) []lfs.Pointer // others in its folder that are not known, and likely to be read too
	configured func() (*url.URL, error)                       // where the commit says that the server is
}

// maxBeside bounds the files that a server is asked about at a time, as git lfs does.
const maxBeside = 100

// beside returns the other pointers in the folder of a file that are on disk, and of files that are neither known nor lost.
func (f *FS) beside(name string, own lfs.Pointer, known func(id string) bool) []lfs.Pointer {
	folder, err := f.snap.resolve(f.ctx, path.Dir(name))
	if err != nil {
		return nil
	}
	t, err := f.snap.tree(f.ctx, folder.id)
	if err != nil {
		return nil
	}
	var found []lfs.Pointer
	for _, e := range t.entries {
		if e.mode != filemode.Regular && e.mode != filemode.Executable || len(found) == maxBeside-1 {
			continue
		}
		blob, err := f.snap.from.read(f.ctx, e.id)
		if err != nil {
			continue
		}
		if p, ok := lfs.Parse(blob.data); ok && p.ID != own.ID && f.snap.lost.unknown(p.ID) && !known(p.ID) && !slices.Contains(found, p) {
			found = append(found, p)
		}
	}
	return found
}

// large returns the file that a pointer names; the pointer itself if it is not to be had.
func (f *FS) large(name string, data []byte) ([]byte, error) {
	p, ok := lfs.Parse(data)
	if !ok || !f.snap.lost.unknown(p.ID) {
		return data, nil
	}
	whole, err := f.snap.from.large(f.ctx, largePointer{
		Pointer:    p,
		beside:     func(known func(string) bool) []lfs.Pointer { return f.beside(name, p, known) },
		configured: func() (*url.URL, error) { return f.snap.lfsURL(f.ctx) },
	})
	if err == nil || !errors.Is(err, ErrNotFound) {
		return whole, err // another try, or another machine, may find it
	}
	if f.snap.lost.first(p.ID) && f.snap.warn != nil {
		f.snap.warn(fmt.Sprintf("%s: %s in Git LFS: %v", f.snap.from, name, err))
	}
	return data, nil
}

// lfsURL returns where .lfsconfig says that the server is; nil if it says nothing.
func (s *Snapshot) lfsURL(ctx context.Context) (*url.URL, error) {
	data, err := s.FS(ctx).ReadFile(".lfsconfig")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	raw := gitconfig.New()
	if err == nil {
		err = gitconfig.NewDecoder(bytes.NewReader(data)).Decode(raw)
	}
	if err != nil {
		return nil, fmt.Errorf(".lfsconfig: %w", err)
	}
	value := raw.Section("lfs").Option("url")
	if value == "" {
		return nil, nil
	}
	u, err := url.Parse(value)
	if err != nil {
		return nil, fmt.Errorf(".lfsconfig: lfs.url: invalid URL %s", redact.URL(value))
	}
	return u, nil
}

// checkLarge returns data if it is what a pointer names.
func checkLarge(p lfs.Pointer, data []byte) ([]byte, error) {
	if sum := sha256.Sum256(data); int64(len(data)) != p.Size || hex.EncodeToString(sum[:]) != p.ID {
		return nil, fmt.Errorf("these are not the %d bytes of sha256:%s", p.Size, p.ID)
	}
	return data, nil
}

// readLarge reads and checks a file that is on disk.
func readLarge(file string, p lfs.Pointer) ([]byte, error) {
	data, err := bounded.File(file, MaxObjectBytes)
	if err != nil {
		return nil, err
	}
	return checkLarge(p, data)
}

func (r *Repository) large(ctx context.Context, p largePointer) ([]byte, error) {
	data, err := r.ownLarge(p.Pointer)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	remote, err := r.upstream(ctx)
	if errors.Is(err, errMissing) {
		return nil, fmt.Errorf("it is not below .git/lfs, and there is no remote to fetch it from: %w", ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return remote.large(ctx, p)
}

// ownLarge reads from where git lfs keeps what it fetched.
func (r *Repository) ownLarge(p lfs.Pointer) ([]byte, error) {
	return readLarge(filepath.Join(r.common, "lfs", "objects", p.ID[:2], p.ID[2:4], p.ID), p)
}

func (r *Remote) large(ctx context.Context, p largePointer) ([]byte, error) {
	switch {
	case p.Size > MaxObjectBytes:
		return nil, fmt.Errorf("it has %d bytes, above the limit of %d: %w", p.Size, int64(MaxObjectBytes), ErrNotFound)
	case r.local != nil:
		data, err := r.local.ownLarge(p.Pointer)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("repository %s has not fetched it (git lfs fetch): %w", r, ErrNotFound)
		}
		return data, err
	case r.cache == nil:
		return nil, errors.New("no cache folder is configured to fetch it into")
	}
	if data, err := readLarge(r.cache.large(p.ID), p.Pointer); err == nil {
		return data, nil
	}
	data, err := r.fetchLarge(ctx, p)
	if err != nil {
		return nil, err
	}
	return data, cacheError(r.cache.dir, cachefile.Write(r.cache.large(p.ID), data))
}

// large returns where a file of Git LFS is kept.
func (c *objectCache) large(id string) string { return filepath.Join(c.dir, "lfs", id) }

// locatedFile is where a server said that a file is.
type locatedFile struct {
	server *lfsServer
	action lfsAction
}

// fetchLarge fetches a file from where the server said that it is when it was asked about another one, or asks.
func (r *Remote) fetchLarge(ctx context.Context, p largePointer) ([]byte, error) {
	if known, ok := r.located.LoadAndDelete(p.ID); ok {
		at, _ := known.(locatedFile)
		if data, err := at.server.get(ctx, at.action, p.Pointer); err == nil || ctx.Err() != nil {
			return data, err // else that may hold no more
		}
	}
	server, err := r.link.large(ctx)
	if err != nil {
		return nil, err
	}
	if err := server.move(p.configured); err != nil {
		return nil, err
	}
	wanted := append([]lfs.Pointer{p.Pointer}, p.beside(func(id string) bool {
		_, located := r.located.Load(id)
		_, err := os.Stat(r.cache.large(id))
		return located || err == nil
	})...)
	actions, err := server.ask(ctx, wanted)
	for _, other := range wanted[1:] {
		if action, ok := actions[other.ID]; ok {
			r.located.Store(other.ID, locatedFile{server, action})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", redact.URL(server.base.String()), err)
	}
	return server.get(ctx, actions[p.ID], p.Pointer)
}

// lfsServer speaks the batch API of Git LFS (docs/api/batch.md there), with the transfer «basic».
type lfsServer struct {
	link   *httpLink
	base   *url.URL
	header http.Header // of requests to it
}

// move goes to the URL that is configured in the commit. A commit could name any server: only the remote's own is asked.
func (s *lfsServer) move(configured func() (*url.URL, error)) error {
	u, err := configured()
	if err != nil || u == nil {
		return err
	}
	if u.User != nil || u.RawQuery != "" || !sameOrigin(u, s.base) {
		return fmt.Errorf(".lfsconfig names another server, %s: only that of the remote, %s, is asked: %w", redact.URL(u.String()), redact.URL(s.base.String()), ErrNotFound)
	}
	s.base = u
	return nil
}

func (l *httpLink) large(context.Context) (*lfsServer, error) {
	l.mu.Lock()
	base := *l.base
	l.mu.Unlock()
	base.Path = strings.TrimSuffix(strings.TrimRight(base.Path, "/"), ".git") + ".git/info/lfs"
	return &lfsServer{link: l, base: &base}, nil
}

// large asks git-lfs-authenticate, by ssh, for the server and what to send to it.
func (l *sshLink) large(ctx context.Context) (*lfsServer, error) {
	cmd, err := l.command(ctx, "git-lfs-authenticate "+shell.Quote(l.addr.path)+" download")
	if err != nil {
		return nil, fmt.Errorf("ssh: %w", err)
	}
	out, words := &prefix{max: maxPrinted}, &prefix{max: maxPrinted}
	cmd.Stdout, cmd.Stderr = out, words
	l.count.trips.Add(1)
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState.ExitCode() != sshFailed && ctx.Err() == nil {
			err = fmt.Errorf("the server has no Git LFS: %w: %w", ErrNotFound, err)
		}
		return nil, fmt.Errorf("ssh: git-lfs-authenticate: %w: %s", err, harmless(words.String()))
	}
	var answer struct {
		Href   string            `json:"href"`
		Header map[string]string `json:"header"`
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		return nil, fmt.Errorf("ssh: git-lfs-authenticate: %w", err)
	}
	addr, err := parseAddress(answer.Href, l.opts.Dir)
	if err != nil || addr.url == nil || addr.url.Scheme == "ssh" {
		return nil, fmt.Errorf("ssh: git-lfs-authenticate names no https URL: %s", redact.URL(answer.Href))
	}
	link, err := newHTTPLink(addr, l.conf, "", l.opts, l.count)
	if err != nil {
		return nil, err
	}
	return &lfsServer{link, addr.url, headerOf(answer.Header)}, nil
}

func headerOf(values map[string]string) http.Header {
	header := http.Header{}
	for key, value := range values {
		header.Set(key, value)
	}
	return header
}

const (
	lfsService = "git-lfs" // its answers say nothing of the credentials for git's own services
	lfsType    = "application/vnd.git-lfs+json"
	maxLFSInfo = 1 << 20 // bytes of an answer of the batch API
)

// lfsAction says where a file is.
type lfsAction struct {
	Href   string            `json:"href"`
	Header map[string]string `json:"header"`
}

// get fetches a file.
func (s *lfsServer) get(ctx context.Context, action lfsAction, p lfs.Pointer) ([]byte, error) {
	for attempt := 1; ; attempt++ {
		data, err := s.download(ctx, action, p)
		if err == nil || attempt == maxAttempts || !transient(err) || ctx.Err() != nil {
			return data, err
		}
	}
}

// ask asks the server where files are. It returns, by their ids, those that it has. It is an error if the first one is not among them.
func (s *lfsServer) ask(ctx context.Context, wanted []lfs.Pointer) (map[string]lfsAction, error) {
	objects := make([]string, 0, len(wanted))
	for _, p := range wanted {
		objects = append(objects, fmt.Sprintf(`{"oid":"%s","size":%d}`, p.ID, p.Size))
	}
	content := fmt.Appendf(nil, `{"operation":"download","transfers":["basic"],"objects":[%s],"hash_algo":"sha256"}`, strings.Join(objects, ","))
	header := s.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Accept", lfsType)
	header.Set("Content-Type", lfsType)
	body, moved, err := s.link.do(ctx, s.base, call{lfsService, http.MethodPost, "/objects/batch", header, content, "application/"})
	var refused *statusFault
	switch {
	case errors.As(err, &refused) && slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented}, refused.status):
		return nil, fmt.Errorf("the server has no Git LFS (HTTP %d): %w", refused.status, ErrNotFound)
	case err != nil:
		return nil, err
	case moved != nil:
		return nil, fmt.Errorf("redirected to %s", redact.URL(moved.String()))
	}
	defer func() { _ = body.Close() }()
	data, err := bounded.Read(body, maxLFSInfo)
	if err != nil {
		return nil, err
	}
	return readActions(data, wanted[0].ID)
}

// readActions reads an answer of the batch API. It is an error if it does not say where the file with an id is.
func readActions(data []byte, id string) (map[string]lfsAction, error) {
	var answer struct {
		Objects []struct {
			OID     string `json:"oid"`
			Actions struct {
				Download *lfsAction `json:"download"`
			} `json:"actions"`
			Error *struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
			} `json:"error"`
		} `json:"objects"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("the answer is not that of Git LFS: %w", err)
	}
	actions := map[string]lfsAction{}
	err := fmt.Errorf("the server has no sha256:%s: %w", id, ErrNotFound)
	for _, o := range answer.Objects {
		switch {
		case o.Error != nil && o.OID == id:
			err = fmt.Errorf("the server does not give sha256:%s: %s (%d): %w", id, harmless(o.Error.Message), o.Error.Code, ErrNotFound)
		case o.Error == nil && o.Actions.Download != nil:
			actions[o.OID] = *o.Actions.Download
		}
	}
	if _, ok := actions[id]; ok {
		return actions, nil
	}
	return actions, err
}

// download fetches a file from where the server says that it is, and checks it.
func (s *lfsServer) download(ctx context.Context, action lfsAction, p lfs.Pointer) ([]byte, error) {
	from, err := s.base.Parse(action.Href)
	if err != nil {
		return nil, errors.New("the server names an invalid URL")
	}
	header := headerOf(action.Header)
	for range maxRedirects + 1 {
		if from.Scheme != "https" && (from.Scheme != "http" || s.base.Scheme != "http") || from.User != nil {
			return nil, fmt.Errorf("the server names %s, which is not to be trusted with it", redact.URL(from.String()))
		}
		body, moved, err := s.link.do(ctx, from, call{service: lfsService, method: http.MethodGet, header: header})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", redact.URL(from.String()), err)
		}
		if moved == nil {
			data, err := bounded.ReadSized(body, p.Size, MaxObjectBytes)
			if err = errors.Join(err, body.Close()); err != nil {
				return nil, err
			}
			return checkLarge(p, data)
		}
		if !sameOrigin(moved, from) {
			header = http.Header{} // it may hold credentials
		}
		from = moved
	}
	return nil, fmt.Errorf("redirected more than %d times", maxRedirects)
}
