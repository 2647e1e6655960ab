package forge

import (
	"errors"
	"strings"
	"testing"
)

func environ(pairs ...string) func(string) string {
	env := map[string]string{}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	return func(name string) string { return env[name] }
}

// place says where a remote leads: kind, API and path.
func place(t *testing.T, address string, o Options) (server, string, error) {
	t.Helper()
	at, err := locate(address, o.withDefaults())
	if err != nil {
		return at, "", err
	}
	path, err := at.repository()
	return at, path, err
}

func TestLocate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		remote, env, kind, api, path string
	}{
		{"https://github.com/acme/env.git", "", "github", "https://api.github.com/", "acme/env"},
		{"https://bot:secret@GitHub.com:443/acme/env", "", "github", "https://api.github.com/", "acme/env"},
		{"git@github.com:acme/env.git", "", "github", "https://api.github.com/", "acme/env"},
		{"ssh://git@ssh.github.com:443/acme/env.git/", "", "github", "https://api.github.com/", "acme/env"},
		{"https://acme.ghe.com/acme/env", "", "github", "https://api.acme.ghe.com/", "acme/env"},
		{"git@ghe.example.com:acme/env", "LOCKAGE_FORGE=github", "github", "https://ghe.example.com/api/v3/", "acme/env"},
		{"https://gitlab.com/acme/team/env.git", "", "gitlab", "https://gitlab.com/api/v4/", "acme/team/env"},
		{"ssh://git@altssh.gitlab.com:443/acme/env.git", "", "gitlab", "https://gitlab.com/api/v4/", "acme/env"},
		{"https://codeberg.org/acme/env.git", "LOCKAGE_FORGE=github", "gitea", "https://codeberg.org/", "acme/env"},
		{"https://git.example.com/forge/acme/env.git", "LOCKAGE_FORGE=forgejo", "gitea", "https://git.example.com/forge/", "acme/env"},
		{"ssh://git@git.example.com:2222/acme/env.git", "LOCKAGE_FORGE=gitea LOCKAGE_FORGE_URL=https://git.example.com:3000/", "gitea", "https://git.example.com:3000/", "acme/env"},
		{"https://git.example.com/labs/acme/team/env", "LOCKAGE_FORGE=gitlab LOCKAGE_FORGE_URL=https://git.example.com/labs", "gitlab", "https://git.example.com/labs/api/v4/", "acme/team/env"},
		{"https://github.com/acme/env", "LOCKAGE_FORGE=gitea LOCKAGE_FORGE_URL=https://git.example.com", "github", "https://api.github.com/", "acme/env"},
		{"https://git.example.com/acme/env", "GITLAB_CI=true CI_SERVER_URL=https://git.example.com", "gitlab", "https://git.example.com/api/v4/", "acme/env"},
		{"https://git.example.com/acme/env", "GITHUB_SERVER_URL=https://git.example.com", "github", "https://git.example.com/api/v3/", "acme/env"},
		{"https://git.example.com/acme/env", "GITEA_ACTIONS=true GITHUB_SERVER_URL=https://git.example.com", "gitea", "https://git.example.com/", "acme/env"},
		{"https://git.example.com/acme/env", "", "", "https://git.example.com/", "acme/env"},
		{"http://127.0.0.1:3000/acme/env", "LOCKAGE_FORGE=github", "github", "http://127.0.0.1:3000/api/v3/", "acme/env"},
		{"git@[::1]:acme/env", "LOCKAGE_FORGE=gitea", "gitea", "https://[::1]/", "acme/env"},
	} {
		at, path, err := place(t, test.remote, Options{Getenv: environ(strings.Fields(test.env)...)})
		if err != nil || string(at.kind) != test.kind || at.api().String() != test.api || path != test.path {
			t.Errorf("%s with %q: %v %s %s %s, want %+v", test.remote, test.env, err, at.kind, at.api(), path, test)
		}
	}
}

func TestNoForge(t *testing.T) {
	t.Parallel()
	for _, remote := range []string{
		"", "/srv/env.git", "../env", "file:///srv/env.git", `C:\env`, "C:/env", "https://github.com/env", "https:///acme/env",
		"https://github.com/acme/../env", "https://github.com/a/b/c", "ssh://github.com", "https://sec%zzret@host/a/b", "ext::sh -c x",
		"https://github.com/acme/en\x00v", "git@host name:a/b", "https://" + strings.Repeat("a", maxRemote) + "/a/b",
	} {
		if at, path, err := place(t, remote, Options{}); !errors.Is(err, ErrNoForge) || strings.Contains(err.Error(), "sec%") {
			t.Errorf("%.80s: %v %v %v", remote, at.root, path, err)
		}
	}
	if _, _, err := place(t, "http://git.example.com/acme/env", Options{}); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("plain http: %v", err)
	}
	for _, variable := range []string{"LOCKAGE_FORGE=bitbucket", "LOCKAGE_FORGE_URL=git.example.com"} {
		if _, _, err := place(t, "https://github.com/a/b", Options{Getenv: environ(variable)}); !errors.Is(err, ErrUnknownForge) {
			t.Errorf("%s: %v", variable, err)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	const all = " GITHUB_TOKEN=hub GH_TOKEN=gh GITLAB_TOKEN=lab GITEA_TOKEN=tea FORGEJO_TOKEN=jo"
	for _, test := range []struct{ remote, env, want string }{
		{"https://github.com/a/b", all, "hub"},
		{"https://x.ghe.com/a/b", all, "hub"},
		{"https://gitlab.com/a/b", all, "lab"},
		{"https://codeberg.org/a/b", all, "tea"},
		{"https://codeberg.org/a/b", "GITHUB_TOKEN=hub FORGEJO_TOKEN=jo", "jo"},
		{"https://codeberg.org/a/b", "GITHUB_TOKEN=hub", ""},
		{"https://github.com/a/b", "LOCKAGE_FORGE_TOKEN=ours" + all, "ours"},
		{"https://other.example.com/a/b", "LOCKAGE_FORGE_TOKEN=ours" + all, "ours"},
		// Nothing for strangers.
		{"https://other.example.com/a/b", all, ""},
		{"https://github.com.example.com/a/b", all, ""},
		{"https://notghe.com/a/b", all, ""},
		{"https://other.example.com/a/b", "CI_JOB_TOKEN=job GITLAB_CI=true CI_SERVER_URL=https://other.example.com", ""},
		// Hosts that the user names.
		{"https://ghe.example.com/a/b", "LOCKAGE_FORGE=github" + all, "hub"},
		{"https://other.example.com/a/b", "LOCKAGE_FORGE=gitea" + all, "tea"},
		{"https://other.example.com/a/b", "LOCKAGE_FORGE=gitea LOCKAGE_FORGE_URL=https://git.example.com" + all, ""},
		{"https://gitlab.com/a/b", "LOCKAGE_FORGE=github" + all, "lab"},
		// A job's token is its server's alone.
		{"https://github.com/a/b", "GITHUB_SERVER_URL=https://github.com" + all, "hub"},
		{"https://ghe.example.com/a/b", "GITHUB_SERVER_URL=https://ghe.example.com" + all, "hub"},
		{"https://github.com/a/b", "GITHUB_SERVER_URL=https://ghe.example.com" + all, ""},
		{"https://ghe.example.com/a/b", "LOCKAGE_FORGE=github GITHUB_SERVER_URL=https://github.com" + all, "gh"},
		{"https://git.example.com/a/b", "GITEA_ACTIONS=true GITHUB_SERVER_URL=https://git.example.com GITHUB_TOKEN=job", "job"},
		{"https://github.com/a/b", "GITEA_ACTIONS=true GITHUB_SERVER_URL=https://git.example.com" + all, "gh"},
		{"https://gitlab.com/a/b", "GITLAB_CI=true CI_SERVER_URL=https://git.example.com" + all, ""},
		{"https://git.example.com/a/b", "GITLAB_CI=true CI_SERVER_URL=https://git.example.com" + all, "lab"},
	} {
		getenv := environ(strings.Fields(test.env)...)
		at, _, err := place(t, test.remote, Options{Getenv: getenv})
		if err != nil {
			t.Fatal(err)
		}
		got, err := at.token()
		if got != test.want || (err != nil) != (test.want == "") || err != nil && !errors.Is(err, ErrNoToken) {
			t.Errorf("%s with %s: %q, %v, want %q", test.remote, test.env, got, err, test.want)
		}
	}
}

func TestNoTokenBeforeAnyRequest(t *testing.T) {
	t.Parallel()
	o := Options{Transport: refuseAll{t}, Getenv: environ("GITHUB_TOKEN=hub-secret")}
	_, err := Open(t.Context(), "https://git.example.com/a/b", o)
	if !errors.Is(err, ErrNoToken) || !strings.Contains(err.Error(), "GITHUB_TOKEN is not known") || strings.Contains(err.Error(), "hub-secret") {
		t.Error(err)
	}
}

func TestCompareURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ remote, env, want string }{
		{"git@github.com:acme/env.git", "", "https://github.com/acme/env/compare/stage/dev...review/a%20b%23c?expand=1"},
		{"https://codeberg.org/acme/env", "", "https://codeberg.org/acme/env/compare/stage/dev...review/a%20b%23c"},
		{"https://gitlab.com/acme/t/env", "", "https://gitlab.com/acme/t/env/-/merge_requests/new?merge_request%5Bsource_branch%5D=review%2Fa+b%23c&merge_request%5Btarget_branch%5D=stage%2Fdev"},
		{"https://git.example.com/acme/env", "LOCKAGE_FORGE=gitea", "https://git.example.com/acme/env/compare/stage/dev...review/a%20b%23c"},
		{"https://git.example.com/acme/env", "", ""},
		{"/srv/env.git", "", ""},
	} {
		o := Options{Transport: refuseAll{t}, Getenv: environ(strings.Fields(test.env)...)}
		if got := CompareURL(test.remote, "stage/dev", "review/a b#c", o); got != test.want {
			t.Errorf("%s: %s, want %s", test.remote, got, test.want)
		}
	}
}

func FuzzParseRemote(f *testing.F) {
	for _, seed := range []string{"https://u:p@host:8443/a/b.git", "git@host:a/b", "ssh://[::1]:22/a/b", "a@[::1]:x/y", "C:/x", "://", "h:a//b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		r, err := parseRemote(address)
		if err != nil {
			if !errors.Is(err, ErrNoForge) {
				t.Errorf("%v", err)
			}
			return
		}
		if len(r.path) < 2 || strings.ContainsAny(r.host, "@/ ") {
			t.Errorf("%q: %+v", address, r)
		}
		again, err := parseRemote(r.scheme + "://" + r.host + "/" + strings.Join(r.path, "/") + ".git")
		if err != nil || again.host != r.host || strings.Join(again.path, "/") != strings.Join(r.path, "/") {
			t.Errorf("%q: %+v, and then %+v %v", address, r, again, err)
		}
	})
}
