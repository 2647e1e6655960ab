// Package idtoken finds the token of OpenID Connect that names a CI job, a machine or a service account: of GitHub Actions, Buildkite and Google
// Cloud, which are asked for one, and whatever others put in SIGSTORE_ID_TOKEN or in a file, as GitLab CI does. A token is never part of an
// error.
package idtoken

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/lockage/lockage/internal/bounded"
)

const (
	// Variable is the environment variable that a token is looked for in first, as cosign does.
	Variable = "SIGSTORE_ID_TOKEN"

	// mounted is where a token is mounted into containers, for cosign too.
	mounted = "/var/run/sigstore/cosign/oidc-token"

	maxToken  = 64 << 10 // those of GitHub Actions have 2 KB
	maxAnswer = 256 << 10
)

// ErrNone is returned if no token is to be found.
var ErrNone = errors.New("no token says who signs")

// Source looks for tokens in an environment.
type Source struct {
	Getenv   func(string) string
	Client   *http.Client
	Audience string // that tokens are for
}

// Token returns the token of a reference: a file, env://NAME, or "" for whatever the environment provides; [ErrNone] if it provides none.
func (s Source) Token(ctx context.Context, ref string) (string, error) {
	name, variable := strings.CutPrefix(ref, "env://")
	switch {
	case variable && s.Getenv(name) == "":
		return "", fmt.Errorf("token: the environment variable %s is not set", name)
	case variable:
		return parse(s.Getenv(name), name)
	case ref != "":
		return s.file(ref)
	}
	if token := s.Getenv(Variable); token != "" {
		return parse(token, Variable)
	}
	switch {
	case s.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN") != "":
		return s.github(ctx)
	case s.Getenv("BUILDKITE_AGENT_ACCESS_TOKEN") != "":
		return s.buildkite(ctx)
	}
	token, err := s.file(mounted)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	if host := s.Getenv("GCE_METADATA_HOST"); host != "" || onGoogle() {
		return s.google(ctx, host)
	}
	return "", fmt.Errorf("%w: %s", ErrNone, s.advice())
}

// Ambient reports whether the environment has a token to give, as far as it shows without being asked.
func (s Source) Ambient() bool {
	for _, name := range []string{Variable, "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "BUILDKITE_AGENT_ACCESS_TOKEN", "GCE_METADATA_HOST"} {
		if s.Getenv(name) != "" {
			return true
		}
	}
	_, err := os.Stat(mounted)
	return err == nil || onGoogle()
}

// advice returns what gives a job its token.
func (s Source) advice() string {
	switch {
	case s.Getenv("GITHUB_ACTIONS") != "":
		return "give the job the permission, `permissions: {id-token: write}`; jobs of pull requests from forks cannot have it"
	case s.Getenv("GITLAB_CI") != "":
		return fmt.Sprintf("give the job one, `id_tokens: {%s: {aud: %s}}`", Variable, s.Audience)
	}
	return fmt.Sprintf("put one for the audience %s in %s, or name its file as keyless.token; GitHub Actions needs `permissions: {id-token: write}`, GitLab CI `id_tokens: {%s: {aud: %s}}`",
		s.Audience, Variable, Variable, s.Audience)
}

func (s Source) file(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	defer f.Close()
	text, err := bounded.Read(f, maxToken)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return parse(string(text), name)
}

// parse checks the form of a token. Its signature is for the instance to check.
func parse(text, from string) (string, error) {
	token := strings.TrimSpace(text)
	parts := strings.Split(token, ".")
	ok := len(token) <= maxToken && len(parts) == 3
	for _, part := range parts {
		_, err := base64.RawURLEncoding.DecodeString(part)
		ok = ok && err == nil
	}
	if !ok {
		return "", fmt.Errorf("token: the content of %s is not a token of OpenID Connect", from)
	}
	return token, nil
}

// github asks GitHub Actions: https://docs.github.com/actions/security-for-github-actions/security-hardening-your-deployments/about-security-hardening-with-openid-connect
func (s Source) github(ctx context.Context) (string, error) {
	at, err := url.Parse(s.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL"))
	if err != nil || at.Host == "" {
		return "", errors.New("token of GitHub Actions: ACTIONS_ID_TOKEN_REQUEST_URL is not a URL")
	}
	query := at.Query()
	query.Set("audience", s.Audience)
	at.RawQuery = query.Encode()
	var answer struct{ Value string }
	err = s.ask(ctx, "GitHub Actions", http.MethodGet, at.String(), nil, http.Header{"Authorization": {"Bearer " + s.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")}}, &answer)
	if err != nil {
		return "", err
	}
	return parse(answer.Value, "the answer of GitHub Actions")
}

// buildkite asks Buildkite as `buildkite-agent oidc request-token` does.
func (s Source) buildkite(ctx context.Context) (string, error) {
	endpoint := s.Getenv("BUILDKITE_AGENT_ENDPOINT")
	if endpoint == "" {
		endpoint = "https://agent.buildkite.com/v3"
	}
	at, err := url.JoinPath(endpoint, "jobs", s.Getenv("BUILDKITE_JOB_ID"), "oidc", "tokens")
	if err != nil {
		return "", errors.New("token of Buildkite: BUILDKITE_AGENT_ENDPOINT is not a URL")
	}
	body, err := json.Marshal(map[string]string{"audience": s.Audience})
	if err != nil {
		return "", err
	}
	header := http.Header{"Authorization": {"Token " + s.Getenv("BUILDKITE_AGENT_ACCESS_TOKEN")}, "Content-Type": {"application/json"}}
	var answer struct{ Token string }
	if err := s.ask(ctx, "Buildkite", http.MethodPost, at, body, header, &answer); err != nil {
		return "", err
	}
	return parse(answer.Token, "the answer of Buildkite")
}

// google asks the metadata server for a token of the machine's service account, with its e-mail address.
func (s Source) google(ctx context.Context, host string) (string, error) {
	if direct, ok := http.DefaultTransport.(*http.Transport); ok { // a proxy would see the token, and has a metadata server of its own at best
		direct = direct.Clone()
		direct.Proxy = nil
		s.Client = &http.Client{Transport: direct}
	}
	if host == "" {
		host = "metadata.google.internal"
	}
	at := "http://" + host + "/computeMetadata/v1/instance/service-accounts/default/identity?format=full&audience=" + url.QueryEscape(s.Audience)
	var token string
	if err := s.ask(ctx, "Google Cloud", http.MethodGet, at, nil, http.Header{"Metadata-Flavor": {"Google"}}, &token); err != nil {
		return "", err
	}
	return parse(token, "the answer of Google Cloud")
}

// onGoogle reports whether this machine is one of Google Cloud's, as its firmware says.
func onGoogle() bool {
	f, err := os.Open("/sys/class/dmi/id/product_name")
	if err != nil {
		return false
	}
	defer f.Close()
	name, err := bounded.Read(f, 1<<10)
	return err == nil && strings.HasPrefix(strings.TrimSpace(string(name)), "Google")
}

// ask sends one request, and decodes the answer, which is JSON unless a string takes it as it is.
func (s Source) ask(ctx context.Context, whom, method, at string, body []byte, header http.Header, into any) error {
	fail := func(err error) error {
		var u *url.Error // names the URL with its query
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("token of %s: %w", whom, err)
	}
	request, err := http.NewRequestWithContext(ctx, method, at, bytes.NewReader(body))
	if err != nil {
		return fail(err)
	}
	request.Header = header
	response, err := s.Client.Do(request)
	if err != nil {
		return fail(err)
	}
	defer response.Body.Close()
	text, err := bounded.Read(response.Body, maxAnswer)
	switch {
	case err != nil:
		return fail(err)
	case response.StatusCode/100 != 2:
		return fail(fmt.Errorf("it answers %s", response.Status))
	}
	if plain, ok := into.(*string); ok {
		*plain = string(text)
		return nil
	}
	if json.Unmarshal(text, into) != nil {
		return fail(errors.New("its answer is not JSON"))
	}
	return nil
}
