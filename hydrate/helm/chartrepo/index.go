package chartrepo

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"sigs.k8s.io/yaml"

	"github.com/lockage/lockage/oci"
)

const (
	// maxOddIndexBytes bounds an index without Helm's layout, which is decoded as a whole.
	maxOddIndexBytes = 8 << 20
	// maxKeptIndexes bounds the indexes that are kept for the next chart of their repository, in bytes.
	maxKeptIndexes = 128 << 20

	maxNamedVersions = 5 // in an error
)

// entry is one version of a chart in an index.
type entry struct {
	Version string   `json:"version"`
	URLs    []string `json:"urls"`
	Digest  string   `json:"digest"`
}

// indexes keeps the indexes of this run.
type indexes struct {
	kept sync.Map     // URL → *index
	size atomic.Int64 // of all kept ones
}

// index is one index.yaml, fetched by one goroutine at a time.
type index struct {
	mu   sync.Mutex
	data []byte
}

// download fetches an archive from a chart repository.
func (f *Fetcher) download(ctx context.Context, repository *url.URL, p pin) (data []byte, named bool, err error) {
	entries, err := f.entries(ctx, repository, p.name)
	if err != nil {
		return nil, false, err
	}
	e, err := choose(entries, p.version)
	if err != nil {
		return nil, false, err
	}
	want := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(e.Digest)), "sha256:")
	if sum, err := hex.DecodeString(want); want != "" && (err != nil || len(sum) != 32) {
		return nil, false, fmt.Errorf("the index has a digest that is not a SHA-256: %.100q", e.Digest)
	}
	if data, err = f.follow(ctx, repository, e.URLs[0]); err != nil {
		return nil, false, err
	}
	if got := digest(data); want != "" && got != want {
		return nil, false, fmt.Errorf("the archive has the digest sha256:%s; the repository's index says sha256:%s", got, want)
	}
	return data, want != "", nil
}

// follow fetches the archive at a URL of the index.
func (f *Fetcher) follow(ctx context.Context, repository *url.URL, location string) ([]byte, error) {
	if reference, ok := strings.CutPrefix(location, ociScheme+"://"); ok {
		name, tag, err := oci.SplitReference(reference)
		if err == nil && tag == "" {
			err = errors.New("the index names an artifact without a tag")
		}
		if err != nil {
			return nil, err
		}
		return f.pull(ctx, name, tag)
	}
	target, err := resolve(repository, location)
	if err != nil {
		return nil, err
	}
	return f.web.get(ctx, repository, target, MaxArchiveBytes, false)
}

// resolve makes a URL of an index absolute: relative ones begin at the repository, with its query.
func resolve(repository *url.URL, location string) (*url.URL, error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, errors.New("the index has an invalid URL")
	}
	if !u.IsAbs() {
		base := *repository
		base.Path, base.RawPath = strings.TrimSuffix(base.Path, "/")+"/", ""
		u = base.ResolveReference(u)
		u.RawQuery = repository.RawQuery
	}
	u.User = nil
	return u, safe(repository, u)
}

// index returns a repository's index, fetched once a run.
func (f *Fetcher) index(ctx context.Context, repository *url.URL) ([]byte, error) {
	kept, _ := f.indexes.kept.LoadOrStore(repository.String(), new(index))
	i, _ := kept.(*index)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.data != nil {
		return i.data, nil
	}
	data, err := f.web.get(ctx, repository, repository.JoinPath("index.yaml"), MaxIndexBytes, true)
	if err != nil {
		return nil, err
	}
	if size := int64(len(data)); f.indexes.size.Add(size) <= maxKeptIndexes {
		i.data = data
	} else {
		f.indexes.size.Add(-size)
	}
	return data, nil
}

// choose returns the entry of a version; the error names some existing versions.
func choose(entries []entry, version string) (entry, error) {
	var others []string
	var same *entry
	for _, e := range entries {
		switch {
		case len(e.URLs) == 0:
		case e.Version == version:
			return e, nil
		case same == nil && sameVersion(e.Version, version):
			same = &e
		case len(others) < maxNamedVersions:
			others = append(others, fmt.Sprintf("%.50q", e.Version))
		}
	}
	if same != nil {
		return *same, nil
	}
	if len(others) == 0 {
		return entry{}, errNoChart
	}
	return entry{}, missing(fmt.Sprintf("the repository has no such version, but %s and maybe more", strings.Join(others, ", ")))
}

// missing is an [fs.ErrNotExist] in other words.
type missing string

func (m missing) Error() string        { return string(m) }
func (m missing) Is(target error) bool { return target == fs.ErrNotExist }

var errNoChart error = missing("the repository has no such chart; check its URL")

// indexed lists the versions of a chart in the index of its repository.
func (f *Fetcher) indexed(ctx context.Context, repository *url.URL, name string) (versions []string, err error) {
	entries, err := f.entries(ctx, repository, name)
	for _, e := range entries {
		if len(e.URLs) > 0 {
			versions = append(versions, e.Version)
		}
	}
	if err == nil && len(versions) == 0 {
		err = errNoChart
	}
	return versions, err
}

// entries reads the versions of a chart from the index of its repository.
func (f *Fetcher) entries(ctx context.Context, repository *url.URL, name string) (entries []entry, err error) {
	raw, err := f.index(ctx, repository)
	if err == nil {
		entries, err = find(raw, name)
	}
	if err != nil {
		return nil, fmt.Errorf("read its index: %w", err)
	}
	return entries, nil
}

// find returns the entries of one chart. With Helm's layout, only these few of the index's many kilobytes are decoded.
func find(index []byte, name string) ([]entry, error) {
	var decoded struct {
		Entries map[string][]entry `json:"entries"`
	}
	if trimmed := bytes.TrimSpace(index); len(trimmed) > 0 && trimmed[0] == '{' {
		var sections struct {
			Entries map[string]json.RawMessage `json:"entries"`
		}
		if err := json.Unmarshal(trimmed, &sections); err == nil {
			var entries []entry
			if raw := sections.Entries[name]; raw != nil {
				err = json.Unmarshal(raw, &entries)
			}
			return entries, err
		}
	}
	if part := section(index, name); part != nil {
		if err := yaml.Unmarshal(append([]byte("entries:\n"), part...), &decoded); err == nil && len(decoded.Entries[name]) > 0 {
			return decoded.Entries[name], nil
		}
	}
	if len(index) > maxOddIndexBytes {
		return nil, nil
	}
	decoded.Entries = nil
	if err := yaml.Unmarshal(index, &decoded); err != nil {
		return nil, errors.New("not the YAML of a chart repository; check its URL")
	}
	return decoded.Entries[name], nil
}

// section returns the lines of `entries` about one chart, from its name on; nil if they have another layout.
func section(index []byte, name string) []byte {
	inside, depth, start := false, -1, -1
	for offset := 0; offset < len(index); {
		end := len(index)
		if i := bytes.IndexByte(index[offset:], '\n'); i >= 0 {
			end = offset + i + 1
		}
		line := bytes.TrimRight(index[offset:end], " \r\n")
		text := bytes.TrimLeft(line, " ")
		indent := len(line) - len(text)
		switch {
		case len(text) == 0 || text[0] == '#':
		case !inside:
			inside = string(line) == "entries:"
		case depth < 0 && indent > 0:
			depth = indent
			fallthrough
		case indent <= depth && !bytes.HasPrefix(text, []byte("- ")) && string(text) != "-":
			if start >= 0 {
				return index[start:offset]
			}
			if indent < depth || indent == 0 {
				return nil
			}
			if key, ok := bytes.CutSuffix(text, []byte(":")); ok && string(bytes.Trim(key, `"'`)) == name {
				start = offset
			}
		}
		offset = end
	}
	if start < 0 {
		return nil
	}
	return index[start:]
}
