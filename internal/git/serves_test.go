package git

import "testing"

// TestServes checks for which servers a repository's configuration vouches, and that others are sent no token.
func TestServes(t *testing.T) {
	t.Parallel()
	configured := func(values ...string) *config {
		c := &config{}
		for i := 0; i < len(values); i += 2 {
			c.add(values[i], values[i+1])
		}
		return c
	}
	origin := func(url string) *config { return configured("remote.origin.url", url) }
	for name, test := range map[string]struct {
		config *config
		url    string
		want   bool
	}{
		"the remote's":                    {origin("https://git.example/acme/gitops.git"), "https://GIT.example:443/acme/app.git", true},
		"another host":                    {origin("https://git.example/acme/gitops.git"), "https://git.example.evil/app.git", false},
		"another port":                    {origin("https://git.example/acme/gitops.git"), "https://git.example:8443/app.git", false},
		"in the clear":                    {origin("https://git.example/acme/gitops.git"), "http://git.example/app.git", false},
		"this machine":                    {origin("https://git.example/acme/gitops.git"), "http://127.0.0.1:8080/app.git", false},
		"this machine, no remote":         {configured(), "http://127.0.0.1:8080/app.git", true},
		"this machine, a remote on disk":  {origin("/srv/gitops.git"), "http://127.0.0.1:8080/app.git", true},
		"another host, a remote on disk":  {origin("/srv/gitops.git"), "https://git.example/app.git", false},
		"a remote by ssh":                 {origin("git@git.example:acme/gitops.git"), "https://git.example/app.git", true},
		"a remote by ssh, another port":   {origin("ssh://git@git.example:7999/acme/gitops.git"), "https://git.example:8443/app.git", false},
		"a remote by ssh, another host":   {origin("git@git.example:acme/gitops.git"), "https://evil.example/app.git", false},
		"by ssh":                          {origin("https://git.example/acme/gitops.git"), "git@git.example:acme/app.git", true},
		"by ssh, another host":            {origin("https://git.example/acme/gitops.git"), "git@evil.example:acme/app.git", false},
		"where it pushes":                 {configured("remote.o.url", "/srv/gitops.git", "remote.o.pushurl", "https://git.example/g.git"), "https://git.example/app.git", true},
		"insteadOf leads there":           {configured("url.https://mirror.example/.insteadof", "https://git.example/"), "https://git.example/app.git", true},
		"insteadOf leads the remote away": {configured("remote.o.url", "https://git.example/g.git", "url.https://m.example/.insteadof", "https://git.example/g"), "https://git.example/app.git", false},
	} {
		if got := test.config.serves(test.url); got != test.want {
			t.Errorf("%s: serves(%s) is %v", name, test.url, got)
		}
	}
}
