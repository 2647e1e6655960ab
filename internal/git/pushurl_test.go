package git_test

import (
	"path/filepath"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// TestPushURLs pushes to a remote that is read in one place and written in another one, which has more.
func TestPushURLs(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	root := t.TempDir()
	behind, primary := filepath.Join(root, "behind.git"), filepath.Join(root, "primary.git")
	testworld.Git(t, root, "clone", "-q", "--bare", dir, behind)
	testworld.Write(t, dir, map[string]string{"new": "new\n"})
	newest := testworld.Commit(t, dir, "second")
	testworld.Git(t, root, "clone", "-q", "--bare", dir, primary)
	for name, config := range map[string][][2]string{
		"pushurl":       {{"remote.origin.pushurl", primary}},
		"insteadOf":     {{"remote.origin.pushurl", "primary:x"}, {"url." + primary + ".insteadOf", "primary:x"}},
		"pushInsteadOf": {{"url." + primary + ".pushInsteadOf", behind}},
		"both":          {{"remote.origin.pushurl", primary}, {"url./nonexistent.pushInsteadOf", behind}, {"url./nonexistent/other.pushInsteadOf", primary}},
	} {
		checkout, _ := testworld.Checkout(t, nil)
		testworld.Git(t, checkout, "remote", "add", "origin", behind)
		for _, c := range config {
			testworld.Git(t, checkout, "config", c[0], c[1])
		}
		remote, err := openRepository(t, checkout, testworld.GitOptions(t)).Remote(t.Context(), "origin")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if remote.URL() != primary || remote.Written() != behind {
			t.Errorf("%s: URL %s, written %s", name, remote.URL(), remote.Written())
		}
		if tip, _, err := remote.Tip(t.Context(), "main"); err != nil || tip != newest {
			t.Errorf("%s: tip %s %v", name, tip, err)
		}
		d := draft(t, remote, name)
		replace(t, d, "a", map[string][]byte{"x": []byte("x\n")})
		if err := remote.Push(t.Context(), git.Update{Branch: name, Draft: d}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		testworld.Git(t, primary, "rev-parse", "--verify", "refs/heads/"+name)
	}
	if got := testworld.Git(t, behind, "for-each-ref", "--format=%(refname)"); got != "refs/heads/main" {
		t.Errorf("pushed to the place to read: %s", got)
	}
}

func TestPushURLsThatAreNone(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	bare := testworld.Bare(t, dir)
	for name, c := range map[string]struct {
		config [][2]string
		remote string
		fails  string
	}{
		"forbidden": {[][2]string{{"remote.origin.pushurl", "no_push"}}, "origin", "remote.origin.pushurl"},
		"several":   {[][2]string{{"remote.origin.pushurl", bare}, {"remote.origin.pushurl", dir}}, "origin", "several URLs"},
		"urls":      {[][2]string{{"remote.origin.url", dir}}, "origin", "several URLs"},
		"unnamed":   {[][2]string{{"url." + dir + ".pushInsteadOf", bare}}, bare, "pushInsteadOf"},
	} {
		checkout, _ := testworld.Checkout(t, nil)
		testworld.Git(t, checkout, "remote", "add", "origin", bare)
		for _, s := range c.config {
			testworld.Git(t, checkout, "config", "--add", s[0], s[1])
		}
		remote, err := openRepository(t, checkout, testworld.GitOptions(t)).Remote(t.Context(), c.remote)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if tip, _, err := remote.Tip(t.Context(), "main"); err != nil || tip != head {
			t.Errorf("%s: tip %s %v", name, tip, err)
		}
		d := draft(t, remote, "stage")
		replace(t, d, "a", map[string][]byte{"x": []byte("x\n")})
		wantError(t, remote.Push(t.Context(), git.Update{Branch: "stage", Draft: d}), c.fails)
	}
	if got := testworld.Git(t, bare, "for-each-ref", "--format=%(refname)"); got != "refs/heads/main" {
		t.Errorf("pushed: %s", got)
	}
}
