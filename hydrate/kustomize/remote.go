package kustomize

import (
	"cmp"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// remote is a base that kustomize would clone: a repository, a folder in it and a ref.
type remote struct {
	repository string // as repositoryName spells it
	path       string // "." for the root
	ref        string // "" where none is given
}

// String is the remote without user, password and query.
func (r remote) String() string { return r.repository + "//" + r.path }

// userName matches what kustomize takes for a user before a host.
var userName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*@`)

// isRemote reports whether kustomize may take an entry for a Git repository or a URL, and so run git or use the network. It errs
// on this side only: an entry without one of four schemes, a user before the host, and GitHub as its host, is a path.
func isRemote(entry string) bool {
	scheme, rest := cutScheme(entry)
	github := hasPrefixFold(rest, "github.com/") || hasPrefixFold(rest, "github.com:")
	return scheme != "" || userName.MatchString(rest) || github || isRemoteFile(entry)
}

// isRemoteFile reports whether kustomize would fetch an entry that names a file over HTTP.
func isRemoteFile(entry string) bool {
	u, err := url.Parse(entry)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// cutScheme removes the scheme, and before it the `git::` of other tools, which kustomize ignores.
func cutScheme(entry string) (scheme, rest string) {
	const forced = "git::"
	if hasPrefixFold(entry, forced) {
		entry = entry[len(forced):]
	}
	for _, scheme := range []string{"ssh://", "https://", "http://", "file://"} {
		if hasPrefixFold(entry, scheme) {
			return scheme, entry[len(scheme):]
		}
	}
	return "", entry
}

// parseRemote splits a remote entry into repository and folder by kustomize's rules: after the segment that follows
// `_git/`, else before `//`, else after `.git`, else after two segments.
func parseRemote(entry string) (remote, bool) {
	entry, query, _ := strings.Cut(entry, "?")
	scheme, rest := cutScheme(entry)
	user := userName.FindString(rest)
	rest = rest[len(user):]
	host := ""
	if scheme != "file://" {
		end := strings.IndexByte(rest, '/')
		if colon := strings.IndexByte(rest, ':'); scheme == "" && colon > 0 && (end < 0 || colon < end) {
			end = colon
		}
		if end <= 0 {
			return remote{}, false
		}
		host, rest = rest[:end+1], rest[end+1:]
	}
	repository, folder, ok := splitRepository(rest, scheme == "file://")
	if !ok || repository == "" {
		return remote{}, false
	}
	folder = path.Clean(strings.Trim(folder, "/"))
	if folder == ".." || strings.HasPrefix(folder, "../") {
		return remote{}, false
	}
	r := remote{repository: repositoryName(scheme + user + host + repository), path: folder}
	if values, err := url.ParseQuery(query); err == nil {
		r.ref = cmp.Or(values.Get("ref"), values.Get("version"))
	}
	return r, true
}

func splitRepository(rest string, whole bool) (repository, folder string, ok bool) {
	const azure, suffix = "_git/", ".git"
	if i := strings.Index(rest, azure); i >= 0 {
		name, folder, _ := strings.Cut(rest[i+len(azure):], "/")
		return rest[:i+len(azure)] + name, folder, true
	}
	if repository, folder, ok := strings.Cut(rest, "//"); ok {
		return repository, folder, true
	}
	if i := strings.Index(rest, suffix); i >= 0 {
		return rest[:i+len(suffix)], rest[i+len(suffix):], true
	}
	if whole {
		return rest, "", true
	}
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 2 {
		return "", "", false
	}
	return parts[0] + "/" + parts[1], strings.Join(parts[2:], ""), true
}

// repositoryName normalizes a URL: no scheme, user, password, default port and `.git`; the host in lower case, if there is one.
func repositoryName(raw string) string {
	raw, _, _ = strings.Cut(raw, "?")
	scheme, rest := cutScheme(raw)
	if scheme == "file://" || scheme == "" && (strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, ".")) {
		return strings.TrimSuffix(path.Clean(rest), ".git")
	}
	authority, name, ok := strings.Cut(rest, "/")
	if scheme == "" { // host:path
		from := strings.LastIndexByte(authority, '@') + 1
		if colon := strings.IndexByte(authority[from:], ':'); colon >= 0 {
			authority, name, ok = rest[:from+colon], rest[from+colon+1:], true
		}
	}
	if !ok {
		return rest
	}
	host := strings.ToLower(authority[strings.LastIndexByte(authority, '@')+1:])
	port := map[string]string{"https://": ":443", "http://": ":80", "ssh://": ":22"}[scheme]
	host = strings.TrimSuffix(host, port)
	return host + "/" + strings.TrimSuffix(strings.Trim(name, "/"), ".git")
}
