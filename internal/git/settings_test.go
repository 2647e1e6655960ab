package git_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// TestSettingsAreDocumented compares docs/git.md with the list that the code goes by.
func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/git.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, s := range git.Settings {
		env := ""
		if s.Env != "" {
			env = "`" + strings.ReplaceAll(s.Env, ", ", "`, `") + "`"
		}
		want = append(want, "| `"+s.Key+"` | "+env+" | "+string(s.Use)+" | "+s.Note+" |")
	}
	_, table, _ := strings.Cut(string(data), "|---|---|---|---|\n")
	if got := strings.TrimSpace(table); got != strings.Join(want, "\n") {
		t.Errorf("the table of docs/git.md is\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// lookups matches where the code asks for a setting by its name.
var lookups = regexp.MustCompile(`(?:forURL|lastForURL)\("(http)", "(\w+)"|file\("\w+", "(\w+)"\)|conf\.last\("(\w+\.\w+)"\)`)

// TestSettingsAreListed checks that the list has each setting that the code asks for.
func TestSettingsAreListed(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, s := range git.Settings {
		if s.Use == git.Honoured {
			listed[strings.ToLower(s.Key)] = true
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range lookups.FindAllStringSubmatch(string(data), -1) {
			key := m[4]
			if key == "" {
				key = "http." + m[2] + m[3]
			}
			if strings.HasPrefix(key, "extensions.") {
				key = "extensions.*"
			}
			if found++; !listed[key] {
				t.Errorf("%s asks for %s, which the list does not have", name, key)
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d lookups", found)
	}
}

func TestSettingsThatAreNotHonoured(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	testworld.Git(t, dir, "remote", "add", "origin", "https://git.example.com/acme/app.git")
	testworld.Git(t, dir, "remote", "add", "other", "https://git.example.com/acme/other.git")
	for _, c := range []struct {
		key, value, environ string
		want                string // in the warning; "" for none
	}{
		{"http.sslVerify", "false", "", "http.sslVerify is not honoured: certificates are always verified"},
		{"http.https://git.example.com/.sslVerify", "false", "", "http.sslVerify"},
		{"http.https://git.example.org/.sslVerify", "false", "", ""},
		{"http.sslVerify", "true", "", ""},
		{"", "", "GIT_SSL_NO_VERIFY=1", "GIT_SSL_NO_VERIFY"},
		{"http.sslCipherList", "DEFAULT", "", "http.sslCipherList"},
		{"http.proxyAuthMethod", "negotiate", "", "http.proxyAuthMethod"},
		{"http.proxyAuthMethod", "basic", "", ""},
		{"http.emptyAuth", "true", "", "http.emptyAuth"},
		{"http.cookieFile", "/tmp/cookies", "", "http.cookieFile"},
		{"remote.origin.uploadpack", "/opt/git-upload-pack", "", "remote.origin.uploadpack"},
		{"remote.elsewhere.uploadpack", "/opt/git-upload-pack", "", ""},
		{"lfs.url", "https://lfs.example.com", "", "lfs.url"},
		{"push.gpgSign", "true", "", "push.gpgSign is not honoured: pushes are not signed"},
		{"push.gpgSign", "if-asked", "", ""},
		{"push.pushOption", "ci.skip", "", "push.pushOption"},
	} {
		testworld.Git(t, dir, "config", "section.key", "value") // the file exists with each
		if c.key != "" {
			testworld.Git(t, dir, "config", c.key, c.value)
		}
		var w warnings
		opts := testworld.GitOptions(t)
		if c.environ != "" {
			opts = testworld.GitOptions(t, c.environ)
		}
		opts.Warn = w.warn
		repository := openRepository(t, dir, opts)
		for _, name := range []string{"origin", "other"} {
			if _, err := repository.Remote(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		got := w.String()
		if c.want == "" && got != "" || !strings.Contains(got, c.want) || strings.Count(got, "not honoured") > 1 {
			t.Errorf("%s=%s %s: warned of %q, want one with %q", c.key, c.value, c.environ, got, c.want)
		}
		if c.key != "" {
			testworld.Git(t, dir, "config", "--unset", c.key)
		}
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	testworld.Git(t, dir, "remote", "add", "origin", "https://git.example.com/acme/app.git")
	for setting, part := range map[string]string{
		"http.pinnedPubkey=sha256//x":  "http.pinnedPubkey is not supported",
		"remote.origin.vcs=hg":         "remote.origin.vcs is not supported",
		"protocol.https.allow=never":   "protocol.https.allow",
		"protocol.allow=never":         "protocol.allow",
		"http.proxy=socks4://h:1":      "http.proxy: scheme socks4",
		"remote.origin.proxy=ftp://h:": "remote.origin.proxy: scheme ftp",
		"http.sslCert=/nonexistent":    "http.sslCert",
		"http.sslCAPath=/nonexistent":  "http.sslCAPath",
		"http.sslCAInfo=/nonexistent":  "http.sslCAInfo",
	} {
		key, value, _ := strings.Cut(setting, "=")
		testworld.Git(t, dir, "config", key, value)
		_, err := openRepository(t, dir, testworld.GitOptions(t)).Remote(t.Context(), "origin")
		wantError(t, err, part, "git.example.com")
		testworld.Git(t, dir, "config", "--unset", key)
	}
	_, err := git.OpenRemote(t.Context(), "https://git.example.com/acme/app.git", testworld.GitOptions(t, "GIT_ALLOW_PROTOCOL=ssh"))
	wantError(t, err, "GIT_ALLOW_PROTOCOL")
}
