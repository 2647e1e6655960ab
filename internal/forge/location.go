package forge

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/lockage/lockage/internal/loopback"
)

// server is a forge, and the path of one repository on it.
type server struct {
	kind  Kind     // empty: not known yet
	root  *url.URL // of the web pages, without a trailing slash
	path  []string // below root
	named bool     // LOCKAGE_FORGE names its kind
	env   environment
}

// environment holds the variables about forges.
type environment struct {
	getenv func(string) string
	kind   Kind     // LOCKAGE_FORGE
	forge  *url.URL // LOCKAGE_FORGE_URL
	job    *url.URL // the server of this CI job
	jobIs  Kind
}

func readEnvironment(getenv func(string) string) (environment, error) {
	env := environment{getenv: getenv}
	env.kind = Kind(strings.ToLower(getenv("LOCKAGE_FORGE")))
	if env.kind == "forgejo" {
		env.kind = Gitea
	}
	if env.kind != "" && familyOf(env.kind) == nil {
		return env, fmt.Errorf("LOCKAGE_FORGE: %w", env.kind.unknown())
	}
	if address := getenv("LOCKAGE_FORGE_URL"); address != "" {
		if env.forge = parseRoot(address); env.forge == nil {
			return env, fmt.Errorf("LOCKAGE_FORGE_URL: want an address like https://host or https://host/path: %w", ErrUnknownForge)
		}
	}
	switch {
	case getenv("GITHUB_SERVER_URL") != "":
		env.job, env.jobIs = parseRoot(getenv("GITHUB_SERVER_URL")), GitHub
		if getenv("GITEA_ACTIONS") != "" || getenv("FORGEJO_ACTIONS") != "" {
			env.jobIs = Gitea // their runners set GitHub's variables, too
		}
	case getenv("CI_SERVER_URL") != "" && getenv("GITLAB_CI") != "":
		env.job, env.jobIs = parseRoot(getenv("CI_SERVER_URL")), GitLab
	}
	return env, nil
}

// parseRoot returns a server's address without credentials and trailing slash, or nil.
func parseRoot(address string) *url.URL {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || !validHost(strings.ToLower(u.Host)) {
		return nil
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: strings.TrimRight(u.Path, "/")}
}

// locate finds the forge of a remote, as far as possible without a request.
func locate(repositoryURL string, o Options) (server, error) {
	r, err := parseRemote(repositoryURL)
	if err != nil {
		return server{}, err
	}
	e, err := readEnvironment(o.Getenv)
	if err != nil {
		return server{}, err
	}
	s := server{kind: o.Kind, env: e, path: r.path, root: &url.URL{Scheme: r.scheme, Host: r.host}}
	for _, known := range []*url.URL{e.job, e.forge} { // the user's has precedence
		if known == nil || known.Hostname() != s.root.Hostname() || r.web && (known.Host != r.host || known.Scheme != r.scheme) {
			continue
		}
		s.root, s.path = known, r.path
		if prefix := strings.Split(strings.Trim(known.Path, "/"), "/"); len(r.path) > len(prefix) && slices.Equal(prefix, r.path[:len(prefix)]) {
			s.path = r.path[len(prefix):]
		}
	}
	if s.root.Scheme == "http" && !loopback.Is(s.root.Hostname()) {
		return s, fmt.Errorf("repository on http://%s: a token would be readable by others: use its https or ssh address", s.root.Host)
	}
	if s.kind == "" {
		s.kind = wellKnown(s.root.Host)
	}
	if s.kind == "" && e.kind != "" && (e.forge == nil || e.forge.Host == s.root.Host) {
		s.kind, s.named = e.kind, true
	}
	if s.kind == "" && e.job != nil && e.job.Host == s.root.Host {
		s.kind = e.jobIs
	}
	return s, nil
}

func wellKnown(host string) Kind {
	for _, f := range families {
		for _, known := range f.hosts {
			if host == known || known[0] == '.' && strings.HasSuffix(host, known) {
				return f.kind
			}
		}
	}
	return ""
}

// token returns the environment's token for the forge, by the rule in the package's documentation.
func (s server) token() (string, error) {
	e, host := s.env, s.root.Host
	if token := e.getenv("LOCKAGE_FORGE_TOKEN"); token != "" {
		return token, nil
	}
	ofJob := e.job != nil && e.job.Host == host
	theirs := s.named || e.job != nil && e.jobIs == s.kind && ofJob || (e.job == nil || e.jobIs != s.kind) && wellKnown(host) == s.kind
	advice := "set LOCKAGE_FORGE_TOKEN"
	var variables, withheld []string
	for _, f := range families {
		if f.kind == s.kind {
			advice += " or " + f.tokens[0]
		}
		if f.kind == s.kind || s.kind == "" {
			variables = append(variables, f.tokens...)
		}
	}
	hasJobToken := e.jobIs == GitHub || e.jobIs == Gitea // in GITHUB_TOKEN
	if hasJobToken && s.kind == Gitea {
		variables = append(variables, "GITHUB_TOKEN")
	}
	for _, variable := range variables {
		meant := theirs && s.kind != ""
		if variable == "GITHUB_TOKEN" && hasJobToken {
			meant = ofJob // no other server should see it
		}
		switch token := e.getenv(variable); {
		case token != "" && meant:
			return token, nil
		case token != "":
			withheld = append(withheld, variable)
		}
	}
	if withheld != nil {
		advice += fmt.Sprintf(" (%s is not known to be meant for this host)", strings.Join(withheld, ", "))
	}
	return "", fmt.Errorf("%w for %s: %s", ErrNoToken, host, advice)
}

// repository returns owner/name.
func (s *server) repository() (string, error) {
	f := familyOf(s.kind)
	if f == nil {
		f = &family{nested: true}
	}
	if f.below && len(s.path) > 2 {
		prefix := s.path[:len(s.path)-2]
		root := *s.root
		root.Path += "/" + strings.Join(prefix, "/")
		s.root, s.path = &root, s.path[len(prefix):]
	}
	if len(s.path) < 2 || !f.nested && len(s.path) != 2 {
		return "", fmt.Errorf("repository %s on %s is not of the form owner/name: %w", strings.Join(s.path, "/"), s.root.Host, ErrNoForge)
	}
	return strings.Join(s.path, "/"), nil
}

// api returns the URL of the API, with a trailing slash.
func (s server) api() *url.URL {
	api := *s.root
	if f := familyOf(s.kind); f != nil {
		f.api(&api, wellKnown(api.Host) == f.kind)
	}
	api.Path += "/"
	return &api
}

// maxProbe bounds the response that identifies a forge, in bytes.
const maxProbe = 64 << 10

// answer is the response of an unknown host.
type answer struct {
	status  int
	header  http.Header
	object  bool // the body is a JSON object
	version any  // in it
}

// probe asks an unknown host for its kind, without a token, the most recognisable kinds first. The response decides about
// the API, and nothing about tokens.
func probe(ctx context.Context, s server, o Options) (Kind, error) {
	for _, f := range slices.Backward(families) {
		page := *s.root
		if f.below && len(s.path) > 2 {
			page.Path += "/" + strings.Join(s.path[:len(s.path)-2], "/")
		}
		page.Path += f.version
		got, err := ask(ctx, page.String(), o)
		if err != nil {
			return "", fmt.Errorf("determine the kind of forge of %s: %w", s.root.Host, err)
		}
		if f.recognise(got) {
			return f.kind, nil
		}
	}
	return "", fmt.Errorf("%s: %w: set LOCKAGE_FORGE to github, gitlab or gitea", s.root.Host, ErrUnknownForge)
}

func ask(ctx context.Context, page string, o Options) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("User-Agent", o.UserAgent)
	client := &http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxProbe))
	if err != nil {
		return answer{}, err
	}
	var object map[string]any
	_ = json.Unmarshal(data, &object) // without an object: another API
	return answer{response.StatusCode, response.Header, object != nil, object["version"]}, nil
}

func (a answer) hasVersion() bool { return a.status == http.StatusOK && a.version != nil }

// maxRemote bounds the length of a remote's address in bytes.
const maxRemote = 4096

// remote is a Git remote's address without its credentials.
type remote struct {
	web    bool     // its address is the web server's: https or http
	scheme string   // https or http; https for all other schemes
	host   string   // in lower case, with a port only if web
	path   []string // at least two segments, the last without «.git»
}

// aliases are hosts that serve Git for the forge of another host.
var aliases = map[string]string{
	"www.github.com": "github.com", "ssh.github.com": "github.com", // ssh over the HTTPS port
	"altssh.gitlab.com": "gitlab.com", "www.gitlab.com": "gitlab.com",
}

// parseRemote reads an address as git does (an scp-like one has a colon before its first slash). Errors do not quote the
// address, which may hold a password.
func parseRemote(address string) (remote, error) {
	if len(address) > maxRemote {
		return remote{}, fmt.Errorf("repository address of %d bytes: %w", len(address), ErrNoForge)
	}
	r := remote{scheme: "https"}
	var path string
	if scheme, _, ok := strings.Cut(address, "://"); ok {
		u, err := url.Parse(address)
		if err != nil {
			return remote{}, fmt.Errorf("repository address: invalid URL: %w", ErrNoForge)
		}
		switch strings.ToLower(scheme) {
		case "https", "http":
			r.web = true
			r.scheme = strings.ToLower(scheme)
			r.host = strings.ToLower(u.Host)
			if port := u.Port(); port == "" || r.scheme == "https" && port == "443" || r.scheme == "http" && port == "80" {
				r.host = strings.TrimSuffix(r.host, ":"+port)
			}
		case "ssh", "git+ssh", "ssh+git", "git":
			r.host = strings.ToLower(strings.TrimSuffix(u.Host, ":"+u.Port())) // the web server's port is another one
		default:
			return remote{}, fmt.Errorf("repository at %s://: %w", scheme, ErrNoForge)
		}
		path = u.Path
	} else {
		host, rest, ok := cutHost(address)
		if !ok {
			return remote{}, fmt.Errorf("repository in a folder: %w", ErrNoForge)
		}
		r.host, path = strings.ToLower(host), rest
	}
	if host, ok := aliases[r.host]; ok {
		r.host = host
	}
	if !validHost(r.host) {
		return remote{}, fmt.Errorf("repository address without a host: %w", ErrNoForge)
	}
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	r.path = strings.Split(path, "/")
	if len(r.path) < 2 {
		return remote{}, fmt.Errorf("repository on %s has no owner in its path: %w", r.host, ErrNoForge)
	}
	for _, segment := range r.path {
		if slices.Contains([]string{"", ".", ".."}, segment) || strings.ContainsFunc(segment, invalidInSegment) {
			return remote{}, fmt.Errorf("repository on %s: its path is not one of a forge: %w", r.host, ErrNoForge)
		}
	}
	return r, nil
}

// cutHost splits [user@]host:path.
func cutHost(address string) (host, path string, ok bool) {
	before, _, _ := strings.Cut(address, "/")
	from := strings.LastIndex(before, "@") + 1
	if strings.HasPrefix(address[from:], "[") { // [::1]:path
		end := strings.Index(address[from:], "]:")
		if end < 0 {
			return "", "", false
		}
		return address[from : from+end+1], address[from+end+2:], true
	}
	host, path, ok = strings.Cut(address[from:], ":")
	// One letter before the colon is a drive of Windows.
	return host, path, ok && len(host) > 1 && !strings.ContainsAny(host, `/\`)
}

// validHost reports whether host is unchanged by parsing it in a URL.
func validHost(host string) bool {
	u, err := url.Parse("https://" + host + "/")
	return err == nil && u.Host == host && u.Hostname() != "" && u.User == nil && !strings.ContainsAny(host, "%\\ ")
}

func invalidInSegment(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`\?#%`, r) }
