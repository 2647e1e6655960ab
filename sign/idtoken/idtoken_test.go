package idtoken_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockage/lockage/sign/idtoken"
)

const token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln"

func source(env map[string]string) idtoken.Source {
	return idtoken.Source{Getenv: func(name string) string { return env[name] }, Client: http.DefaultClient, Audience: "sigstore"}
}

// services answers as GitHub Actions, Buildkite and Google Cloud do.
func services(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.URL.Path == "/github" && r.URL.Query().Get("audience") == "sigstore" && r.URL.Query().Get("api-version") == "2" && r.Header.Get("Authorization") == "Bearer hunter2":
			_, _ = w.Write([]byte(`{"count":1,"value":"` + token + `"}`))
		case r.URL.Path == "/v3/jobs/j1/oidc/tokens" && r.Method == http.MethodPost && string(body) == `{"audience":"sigstore"}` && r.Header.Get("Authorization") == "Token hunter2":
			_, _ = w.Write([]byte(`{"token":"` + token + `"}`))
		case strings.HasSuffix(r.URL.Path, "/default/identity") && r.URL.Query().Get("audience") == "sigstore" && r.Header.Get("Metadata-Flavor") == "Google":
			_, _ = w.Write([]byte(token + "\n"))
		case r.URL.Path == "/long":
			_, _ = w.Write([]byte(strings.Repeat("a", 1<<20)))
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestToken(t *testing.T) {
	t.Parallel()
	server := services(t)
	file := filepath.Join(t.TempDir(), "token")
	for name, text := range map[string]string{file: token + "\n", file + ".bad": "hunter2", file + ".long": strings.Repeat("a", 1<<20)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	github := map[string]string{"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "hunter2", "ACTIONS_ID_TOKEN_REQUEST_URL": server.URL + "/github?api-version=2"}
	for name, test := range map[string]struct {
		env  map[string]string
		ref  string
		want string // in the error; "" for a token
	}{
		"variable":        {map[string]string{"SIGSTORE_ID_TOKEN": token}, "", ""},
		"another":         {map[string]string{"T": token, "SIGSTORE_ID_TOKEN": "x"}, "env://T", ""},
		"not set":         {nil, "env://T", "T is not set"},
		"no token":        {map[string]string{"T": "hunter2"}, "env://T", "not a token of OpenID Connect"},
		"file":            {github, file, ""},
		"bad file":        {nil, file + ".bad", "not a token of OpenID Connect"},
		"long file":       {nil, file + ".long", "token"},
		"no file":         {nil, file + ".none", "no such file"},
		"github":          {github, "", ""},
		"github refuses":  {map[string]string{"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "other", "ACTIONS_ID_TOKEN_REQUEST_URL": server.URL + "/github?api-version=2"}, "", "403"},
		"github is long":  {map[string]string{"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "hunter2", "ACTIONS_ID_TOKEN_REQUEST_URL": server.URL + "/long"}, "", "GitHub Actions"},
		"github without":  {map[string]string{"GITHUB_ACTIONS": "true"}, "", "permissions: {id-token: write}"},
		"gitlab without":  {map[string]string{"GITLAB_CI": "true"}, "", "id_tokens: {SIGSTORE_ID_TOKEN: {aud: sigstore}}"},
		"buildkite":       {map[string]string{"BUILDKITE_AGENT_ACCESS_TOKEN": "hunter2", "BUILDKITE_AGENT_ENDPOINT": server.URL + "/v3", "BUILDKITE_JOB_ID": "j1"}, "", ""},
		"buildkite other": {map[string]string{"BUILDKITE_AGENT_ACCESS_TOKEN": "hunter2", "BUILDKITE_AGENT_ENDPOINT": server.URL + "/v3", "BUILDKITE_JOB_ID": "j2"}, "", "403"},
		"google":          {map[string]string{"GCE_METADATA_HOST": strings.TrimPrefix(server.URL, "http://")}, "", ""},
		"unreachable":     {map[string]string{"GCE_METADATA_HOST": "127.0.0.1:1"}, "", "Google Cloud"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := source(test.env).Token(t.Context(), test.ref)
			if test.want == "" {
				if err != nil || got != token {
					t.Errorf("%q, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q, %v", got, err)
			}
			if without := strings.HasSuffix(name, "without"); errors.Is(err, idtoken.ErrNone) != without || without && source(test.env).Ambient() {
				t.Errorf("%v says that there is a token", err)
			}
		})
	}
}
