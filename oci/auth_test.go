package oci

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// login knows one user and password for everything.
func login(user, password string) CredentialFunc {
	return func(context.Context, string) (Credential, error) {
		return Credential{Username: user, Password: password}, nil
	}
}

func TestChallenges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		headers []string
		want    string
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{`Basic realm="r"`}, "basic realm=r"},
		{[]string{`BASIC Realm = "a, \"b\" c"`}, `basic realm=a, "b" c`},
		{[]string{"Negotiate", "Basic"}, "negotiate|basic"},
		{[]string{`Negotiate, Basic realm="r"`}, "negotiate|basic realm=r"},
		{[]string{`Negotiate YII=, Basic realm=r`}, "negotiate yii=|basic realm=r"},
		{[]string{`Bearer realm="https://a.example/token?x=y",service="s, t",scope="repository:a:pull,push", Basic realm="z"`},
			"bearer realm=https://a.example/token?x=y scope=repository:a:pull,push service=s, t|basic realm=z"},
		{[]string{`Digest realm="a", qop="auth", nonce=n , Basic`}, "digest nonce=n qop=auth realm=a|basic"},
		{[]string{`,, Basic realm="open`}, `basic realm="open`},
	} {
		var got []string
		for _, one := range challenges(http.Header{"Www-Authenticate": c.headers}) {
			words := []string{}
			for name, value := range one.params {
				words = append(words, name+"="+value)
			}
			slices.Sort(words)
			got = append(got, strings.Join(append([]string{one.scheme}, words...), " "))
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%q: got %q, want %q", c.headers, got, c.want)
		}
	}
}

// TestTrust asks about token services that a registry names, by where both are.
func TestTrust(t *testing.T) {
	t.Parallel()
	hosts := map[string]string{
		"registry.example": "93.184.216.34", "auth.example": "93.184.216.35", "registry.corp": "10.1.1.1", "auth.corp": "192.168.1.2",
		"metadata.corp": "169.254.169.254", "self.corp": "127.0.0.1", "known.corp": "10.1.1.9", "mixed.example": "93.184.216.34 10.0.0.1",
	}
	a := &authenticator{
		lookup: func(_ context.Context, host string) ([]net.IPAddr, error) {
			var addrs []net.IPAddr
			for _, ip := range strings.Fields(hosts[host]) {
				addrs = append(addrs, net.IPAddr{IP: net.ParseIP(ip)})
			}
			if addrs == nil {
				return nil, errors.New("no such host")
			}
			return addrs, nil
		},
		credentials: func(_ context.Context, name string) (Credential, error) {
			if name == "known.corp" || name == "169.254.169.254" {
				return Credential{Username: "ada"}, nil
			}
			return Credential{}, nil
		},
	}
	for _, c := range []struct {
		registry, service string
		trusted           bool
	}{
		{"https://registry.example", "https://auth.example/token", true},
		{"https://registry.example", "http://auth.example/token", false},
		{"https://registry.example", "http://registry.example/token", false},
		{"https://registry.example", "https://auth.corp/token", false},
		{"https://registry.example", "https://known.corp/token", true},
		{"https://registry.example", "https://127.0.0.1/token", false},
		{"https://registry.example", "https://[::1]/token", false},
		{"https://registry.example", "https://100.64.1.1/token", false},
		{"https://registry.example", "https://unknown.example/token", true},
		{"https://unknown.example", "https://auth.corp/token", false},
		{"https://mixed.example", "https://auth.corp/token", false},
		{"https://registry.corp", "https://auth.corp/token", true},
		{"https://registry.corp", "https://AUTH.example/token", true},
		{"https://registry.corp", "https://self.corp/token", false},
		{"https://registry.corp", "https://metadata.corp/token", false},
		{"https://registry.corp", "https://169.254.169.254/token", false},
		{"https://registry.corp", "https://REGISTRY.corp:8443/token", true},
		{"https://registry.corp", "file:///etc/passwd", false},
		{"http://127.0.0.1:5000", "http://127.0.0.2:5001/token", true},
		{"http://127.0.0.1:5000", "http://10.0.0.1/token", false},
		{"http://127.0.0.1:5000", "https://10.0.0.1/token", true},
		{"http://127.0.0.1:5000", "https://0.0.0.0/token", false},
	} {
		registry, _ := url.Parse(c.registry)
		service, _ := url.Parse(c.service)
		if err := a.trust(t.Context(), registry, service); (err == nil) != c.trusted {
			t.Errorf("%s names %s: %v", c.registry, c.service, err)
		}
	}
}

// TestCredentialsByPath reads keys of hosts and of paths, as `podman login HOST/PATH` leaves them.
func TestCredentialsByPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	auths := func(keys ...string) string {
		var entries []string
		for _, key := range keys {
			entries = append(entries, fmt.Sprintf(`%q:{"auth":%q}`, key, base64.StdEncoding.EncodeToString([]byte("user:"+key))))
		}
		return `{"auths":{` + strings.Join(append(entries, `"empty.example/acme":{}`), ",") + `}}`
	}
	writeFile(t, filepath.Join(dir, "config.json"), auths("a.example", "b.example/other", "c.example/acme", "f.example/acme/web", "https://d.example/v1/", "https://index.docker.io/v1/", "Case.Example:443", "127.0.0.1:80", "exact.example:443", "exact.example"))
	writeFile(t, filepath.Join(dir, "auth.json"), auths("a.example/acme/", "a.example/acme/web", "a.example/acme/we", "f.example/acme", "c.example", "https://u.example/team", "empty.example"))
	find, err := DockerCredentials(func(name string) string {
		return map[string]string{"DOCKER_CONFIG": dir, "REGISTRY_AUTH_FILE": filepath.Join(dir, "auth.json")}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a.example/acme/web":         "a.example/acme/web",
		"a.example/acme/web/deep":    "a.example/acme/web",
		"a.example/acme/web2":        "a.example/acme/",
		"a.example/acmes":            "a.example",
		"a.example":                  "a.example",
		"b.example/acme":             "",
		"b.example":                  "",
		"b.example/other/x":          "b.example/other",
		"b.example/others":           "",
		"c.example/acme":             "c.example/acme",
		"c.example/x":                "c.example",
		"f.example/acme/web/x":       "f.example/acme/web",
		"f.example/acme/x":           "f.example/acme",
		"d.example/x":                "https://d.example/v1/",
		"docker.io/library/nginx":    "https://index.docker.io/v1/",
		"case.example/x":             "Case.Example:443",
		"CASE.example/x":             "Case.Example:443",
		"case.example:80/x":          "",
		"127.0.0.1/x":                "127.0.0.1:80",
		"exact.example/x":            "exact.example",
		"exact.example:443/x":        "exact.example:443",
		"u.example/team/x":           "https://u.example/team",
		"u.example/other":            "",
		"empty.example/acme":         "empty.example",
		"sub.a.example/acme/web":     "",
		"a.example:5000/acme/web":    "",
		"a.example/other/acme/web":   "a.example",
		"a.example.evil/acme/web":    "",
		"a.example/acme/../other":    "a.example/acme/",
		"registry-1.docker.io/a/b":   "https://index.docker.io/v1/",
		"index.docker.io/library/ab": "https://index.docker.io/v1/",
	} {
		got, err := find(t.Context(), name)
		if err != nil || got.Password != want {
			t.Errorf("%s: %q, want %q; %v", name, got.Password, want, err)
		}
	}

	writeFile(t, filepath.Join(dir, "config.json"), `{"auths":{"a.example":{"auth":"aHVudGVyMg=="}}}`)
	find, err = DockerCredentials(func(name string) string { return map[string]string{"DOCKER_CONFIG": dir}[name] })
	if err == nil {
		_, err = find(t.Context(), "a.example/x")
	}
	if err == nil || !strings.Contains(err.Error(), "config.json") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("an auth that cannot be read: %v", err)
	}
}
