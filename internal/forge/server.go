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
}

// environment is what the variables say about forges.
type environment struct {
	getenv func(string) string
	kind   Kind     // LOCKAGE_FORGE
	forge  *url.URL // LOCKAGE_FORGE_URL
	job    *url.URL // the server that this CI job belongs to
	jobIs  Kind
}

func readEnvironment(getenv func(string) string) (environment, error) {
	env := environment{getenv: getenv}
	switch kind := Kind(strings.ToLower(getenv("LOCKAGE_FORGE"))); kind {
	case "", GitHub, GitLab, Gitea:
		env.kind = kind
	case "forgejo":
		env.kind = Gitea
	default:
		return env, fmt.Errorf("LOCKAGE_FORGE=%q: %w: use github, gitlab or gitea", kind, ErrUnknownForge)
	}
	if address := getenv("LOCKAGE_FORGE_URL"); address != "" {
		if env.forge = parseRoot(address); env.forge == nil {
			return env, fmt.Errorf("LOCKAGE_FORGE_URL is no address like https://host or https://host/path: %w", ErrUnknownForge)
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

// locate finds the forge behind a remote, as far as no request is needed.
func (e environment) locate(r remote, kind Kind) (server, error) {
	s := server{kind: kind, path: r.path, root: &url.URL{Scheme: r.scheme, Host: r.host}}
	for _, known := range []*url.URL{e.job, e.forge} { // what the user says comes last
		if known == nil || known.Hostname() != s.root.Hostname() || r.web && (known.Host != r.host || known.Scheme != r.scheme) {
			continue
		}
		s.root, s.path = known, r.path
		if prefix := strings.Split(strings.Trim(known.Path, "/"), "/"); len(r.path) > len(prefix) && slices.Equal(prefix, r.path[:len(prefix)]) {
			s.path = r.path[len(prefix):]
		}
	}
	if s.root.Scheme == "http" && !loopback.Is(s.root.Hostname()) {
		return s, fmt.Errorf("repository on http://%s: a token would be readable on the way: use its https or ssh address", s.root.Host)
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
	switch host {
	case "github.com":
		return GitHub
	case "gitlab.com":
		return GitLab
	case "gitea.com", "codeberg.org":
		return Gitea
	}
	if strings.HasSuffix(host, ".ghe.com") {
		return GitHub
	}
	return ""
}

// tokens are the variables, by whose forge they are for.
var tokens = map[Kind][]string{
	GitHub: {"GITHUB_TOKEN", "GH_TOKEN"},
	GitLab: {"GITLAB_TOKEN"},
	Gitea:  {"GITEA_TOKEN", "FORGEJO_TOKEN", "GITHUB_TOKEN"},
}

// token chooses the environment's token for a forge; the package's documentation has the rule.
func (e environment) token(at server) (string, error) {
	if token := e.getenv("LOCKAGE_FORGE_TOKEN"); token != "" {
		return token, nil
	}
	host := at.root.Host
	ofJob := e.job != nil && e.job.Host == host
	theirs := at.named || e.job != nil && e.jobIs == at.kind && ofJob || (e.job == nil || e.jobIs != at.kind) && wellKnown(host) == at.kind
	var withheld []string
	variables := tokens[at.kind]
	if at.kind == "" {
		variables = slices.Concat(tokens[GitHub], tokens[GitLab], tokens[Gitea][:2])
	}
	for _, variable := range variables {
		meant := theirs && at.kind != ""
		if variable == "GITHUB_TOKEN" && e.jobIs != "" && e.jobIs != GitLab {
			meant = ofJob // a job's own token, which no other server should see
		} else if variable == "GITHUB_TOKEN" && at.kind == Gitea {
			continue
		}
		switch token := e.getenv(variable); {
		case token != "" && meant:
			return token, nil
		case token != "":
			withheld = append(withheld, variable)
		}
	}
	advice := "set LOCKAGE_FORGE_TOKEN"
	if at.kind != "" {
		advice += " or " + tokens[at.kind][0]
	}
	if withheld != nil {
		advice += fmt.Sprintf(" (%s is not known to be meant for this host)", strings.Join(withheld, ", "))
	}
	return "", fmt.Errorf("%w for %s: %s", ErrNoToken, host, advice)
}

// repository returns owner/name.
func (s *server) repository() (string, error) {
	if s.kind == Gitea && len(s.path) > 2 { // its owners have no slashes: what stands before is where it is installed
		prefix := s.path[:len(s.path)-2]
		root := *s.root
		root.Path += "/" + strings.Join(prefix, "/")
		s.root, s.path = &root, s.path[len(prefix):]
	}
	if len(s.path) < 2 || s.kind == GitHub && len(s.path) != 2 {
		return "", fmt.Errorf("repository %s on %s is not of the form owner/name: %w", strings.Join(s.path, "/"), s.root.Host, ErrNoForge)
	}
	return strings.Join(s.path, "/"), nil
}

// api returns where the API lies, with a trailing slash.
func (s server) api() *url.URL {
	api := *s.root
	switch s.kind {
	case GitHub:
		if wellKnown(s.root.Host) == GitHub {
			api.Host, api.Path = "api."+s.root.Host, ""
		} else {
			api.Path += "/api/v3"
		}
	case GitLab:
		api.Path += "/api/v4"
	}
	api.Path += "/"
	return &api
}

// maxProbe bounds what is read of the answer that tells a forge's kind, in bytes.
const maxProbe = 64 << 10

// probe asks an unknown host what it is, without a token. A stranger's answer decides how we speak with it, and nothing
// about tokens.
func probe(ctx context.Context, s server, o Options) (Kind, error) {
	client := &http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	type answer struct {
		status  int
		header  http.Header
		version any
		object  bool
	}
	ask := func(path string) (answer, error) {
		u := *s.root
		u.Path += path
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return answer{}, err
		}
		request.Header.Set("User-Agent", o.UserAgent)
		response, err := client.Do(request)
		if err != nil {
			return answer{}, fmt.Errorf("ask %s which kind of forge it is: %w", s.root.Host, err)
		}
		defer response.Body.Close()
		data, err := io.ReadAll(io.LimitReader(response.Body, maxProbe))
		if err != nil {
			return answer{}, fmt.Errorf("ask %s which kind of forge it is: %w", s.root.Host, err)
		}
		var object map[string]any
		_ = json.Unmarshal(data, &object) // no object: not that API
		return answer{response.StatusCode, response.Header, object["version"], object != nil}, nil
	}
	ok := func(a answer) bool { return a.status == http.StatusOK && a.version != nil }

	var prefix string
	if len(s.path) > 2 { // Gitea's owners have no slashes: it would be installed below a path
		prefix = "/" + strings.Join(s.path[:len(s.path)-2], "/")
	}
	got, err := ask(prefix + "/api/v1/version")
	if err != nil {
		return "", err
	}
	if ok(got) {
		return Gitea, nil
	}
	if got, err = ask("/api/v4/version"); err != nil {
		return "", err
	}
	if ok(got) || got.status == http.StatusUnauthorized && got.object {
		return GitLab, nil
	}
	if got, err = ask("/api/v3/meta"); err != nil {
		return "", err
	}
	if got.header.Get("X-GitHub-Enterprise-Version") != "" {
		return GitHub, nil
	}
	return "", fmt.Errorf("%s does not tell what it is: %w: set LOCKAGE_FORGE to github, gitlab or gitea", s.root.Host, ErrUnknownForge)
}
