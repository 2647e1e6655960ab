package workspace_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/testworld"
)

func TestPolicyRef(t *testing.T) {
	t.Parallel()
	home := repository(t, map[string]string{"lockage.yaml": testworld.Pipeline("app", "registry.example.com", "hydrator")})
	first := testworld.Git(t, home, "rev-parse", "HEAD")
	testworld.Git(t, home, "switch", "-q", "-c", "stable")
	second := commit(t, home)
	remote := testworld.Bare(t, home) // its default branch is stable

	origin := func(t *testing.T) string { return testworld.Clone(t, "file://"+remote) }
	upstream := func(t *testing.T) string { return testworld.Clone(t, "file://"+remote, "--origin", "upstream") }
	both := func(t *testing.T) string {
		dir := origin(t)
		testworld.Git(t, dir, "remote", "add", "fork", "file://"+testworld.Bare(t, repository(t, nil)))
		return dir
	}
	neither := func(t *testing.T) string {
		dir := both(t)
		testworld.Git(t, dir, "remote", "rename", "origin", "upstream")
		return dir
	}
	alone := func(t *testing.T) string { return repository(t, nil) }
	detached := func(t *testing.T) string {
		dir := alone(t)
		testworld.Git(t, dir, "switch", "-q", "--detach")
		return dir
	}
	for name, c := range map[string]struct {
		checkout  func(*testing.T) string
		spec      string
		want, tip string // name of the policy ref and, where it is of the remote, its tip
		selection string // or what the error says of the selection
	}{
		"default branch":             {checkout: origin, want: "origin@stable", tip: second},
		"default branch of a remote": {checkout: origin, spec: "origin", want: "origin@stable", tip: second},
		"branch of a remote":         {checkout: origin, spec: "origin@main", want: "origin@main", tip: first},
		"branch of the only remote":  {checkout: upstream, spec: "@main", want: "upstream@main", tip: first},
		"only remote":                {checkout: upstream, want: "upstream@stable", tip: second},
		"origin of several":          {checkout: both, want: "origin@stable", tip: second},
		"one of several":             {checkout: neither, spec: "upstream@stable", want: "upstream@stable", tip: second},
		"several":                    {checkout: neither, selection: "fork, upstream; say which one is trusted"},
		"unknown remote":             {checkout: origin, spec: "absent@main", selection: `no remote "absent"; it has origin`},
		"remote of none":             {checkout: alone, spec: "origin@main", selection: "it has none"},
		"URL":                        {checkout: alone, spec: "file://" + remote + "@main", want: remote + "@main", tip: first},
		"branch without any remote":  {checkout: alone, spec: "@main", selection: "has no remote"},
		"no remote":                  {checkout: alone, want: "main"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t, c.checkout(t))
			var warnings []string
			p, err := w.Policy(t.Context(), c.spec, func(s string) { warnings = append(warnings, s) })
			if c.selection != "" {
				requireSelection(t, err, c.selection)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tip := c.tip
			if tip == "" {
				tip = string(w.Head.Hash)
			}
			if p.Name() != c.want || p.Tip() != tip {
				t.Errorf("policy ref is %s at %s, want %s at %s", p.Name(), p.Tip(), c.want, tip)
			}
			// Without a remote the trusted branch is the user's own: a warning says so, and nothing else.
			if local := c.tip == ""; local != (p.URL() == "") || local != (len(warnings) == 1) {
				t.Errorf("URL is %q and the warnings are %q", p.URL(), warnings)
			}
		})
	}

	t.Run("branch that the remote has not", func(t *testing.T) {
		t.Parallel()
		_, err := open(t, origin(t)).Policy(t.Context(), "origin@nowhere", func(string) {})
		if err == nil || !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("error is %v, want one that names the branch", err)
		}
	})
	t.Run("detached without a remote", func(t *testing.T) {
		t.Parallel()
		_, err := open(t, detached(t)).Policy(t.Context(), "", func(s string) { t.Error("warned: " + s) })
		if err == nil || !strings.Contains(err.Error(), "check a branch out") {
			t.Errorf("error is %v, want one that asks for a branch", err)
		}
	})
}

// history is a remote with the commits first and second on main, and a checkout that knows the first, and a branch
// feature on top of first that was never pushed.
type history struct {
	checkout, remote       string
	first, second, feature string
}

func newHistory(t *testing.T) history {
	t.Helper()
	home := repository(t, map[string]string{"file": "1"})
	h := history{first: commit(t, home)}
	h.remote = testworld.Bare(t, home)
	h.checkout = testworld.Clone(t, "file://"+h.remote, "--depth", "1")
	testworld.Write(t, home, map[string]string{"file": "2"})
	h.second = commit(t, home)
	testworld.Git(t, home, "push", "-q", h.remote, "main")
	testworld.Git(t, h.checkout, "switch", "-q", "-c", "feature")
	h.feature = commit(t, h.checkout)
	return h
}

func policy(t *testing.T, w *workspace.Workspace) *workspace.Policy {
	t.Helper()
	p, err := w.Policy(t.Context(), "", func(s string) { t.Error("warned: " + s) })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPolicyRefContains(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	w := open(t, h.checkout)
	p := policy(t, w)
	root := testworld.Git(t, h.remote, "rev-parse", h.first+"^")
	const unknown = "dddddddddddddddddddddddddddddddddddddddd"
	for name, c := range map[string]struct {
		commit string
		want   bool
	}{
		"tip":                      {h.second, true},
		"ancestor":                 {h.first, true},
		"beyond the shallow clone": {root, true},
		"feature":                  {h.feature, false},
		"unknown":                  {unknown, false},
		"none":                     {"", false},
		"abbreviated":              {h.first[:12], false},
		"branch":                   {"main", false},
		"upper case":               {strings.Repeat("A", 40), false},
		"option":                   {"--all", false},
	} {
		for range 2 { // the second answer is a remembered one
			if got, err := p.Contains(t.Context(), c.commit); err != nil || got != c.want {
				t.Errorf("%s: Contains is %v (%v), want %v", name, got, err, c.want)
			}
		}
	}
	p = policy(t, w) // remembers nothing
	for name, c := range map[string]struct {
		ancestor, descendant string
		want                 bool
	}{
		"older":            {root, h.first, true},
		"same":             {h.first, h.first, true},
		"newer":            {h.second, h.first, false},
		"before a feature": {h.first, h.feature, false}, // it is, but the feature counts for nothing
		"before unknown":   {h.first, unknown, false},
		"before garbage":   {h.first, "main", false},
		"same garbage":     {"main", "main", false},
	} {
		for range 2 {
			if got, err := p.IsAncestor(t.Context(), c.ancestor, c.descendant); err != nil || got != c.want {
				t.Errorf("%s: IsAncestor is %v (%v), want %v", name, got, err, c.want)
			}
		}
	}
}

func TestPolicyFilesAreThoseOfTheRemotesTip(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	testworld.Write(t, h.checkout, map[string]string{"file": "feature"})
	commit(t, h.checkout)
	files, err := policy(t, open(t, h.checkout)).Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if data, err := fs.ReadFile(files, "file"); err != nil || string(data) != "2" {
		t.Errorf("file is %q (%v), want 2", data, err)
	}
}

// A policy ref that was set back is older than what it was, and not older than what it never knew.
func TestPolicyRefThatWasSetBack(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	testworld.Git(t, h.checkout, "fetch", "-q", "--unshallow")
	unknown := strings.Repeat("d", 40)
	for tip, want := range map[string]map[string]bool{
		h.second: {h.first: false, h.second: false, unknown: false, "": false, "main": false},
		h.first:  {h.first: false, h.second: true, unknown: false},
	} {
		testworld.Git(t, h.remote, "update-ref", "refs/heads/main", tip)
		p := policy(t, open(t, h.checkout))
		for commit, want := range want {
			if older, err := p.Older(t.Context(), commit); err != nil || older != want {
				t.Errorf("%s is older than %q: %v (%v), want %v", tip, commit, older, err, want)
			}
		}
	}
}

func TestPublication(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	// A branch is merged as `git pull` does: its inner commit comes before the tip, but not along first parents.
	testworld.Git(t, h.checkout, "fetch", "-q", "--unshallow")
	testworld.Git(t, h.checkout, "switch", "-q", "--detach", h.second)
	merged := commit(t, h.checkout)
	testworld.Git(t, h.checkout, "switch", "-q", "--detach", h.second)
	testworld.Git(t, h.checkout, "merge", "-q", "--no-ff", "-m", "merge", merged)
	tip := testworld.Git(t, h.checkout, "rev-parse", "HEAD")
	testworld.Git(t, h.checkout, "push", "-q", "origin", "HEAD:main")
	for name, c := range map[string]struct {
		head, at string
		want     string // what is published; "" if it is off the policy ref
		behind   string
	}{
		"tip":                          {head: tip, want: tip},
		"behind":                       {head: h.second, want: tip, behind: "HEAD is 1 commit behind origin/main"},
		"far behind":                   {head: h.first, want: tip, behind: "HEAD is 2 commits behind origin/main"},
		"inside a merged branch":       {head: merged, want: tip, behind: "HEAD is behind origin/main"},
		"feature":                      {head: h.feature},
		"older":                        {head: tip, at: h.second, want: h.second},
		"older by name":                {head: tip, at: "HEAD~1", want: h.second},
		"older on a feature":           {head: h.feature, at: h.first, want: h.first},
		"older inside a merged branch": {head: merged, at: merged},
		"feature by name":              {head: tip, at: "feature"},
		"commit that nobody knows":     {head: tip, at: strings.Repeat("d", 40)},
	} {
		testworld.Git(t, h.checkout, "switch", "-q", "--detach", c.head)
		w := open(t, h.checkout)
		p := policy(t, w)
		got, err := w.Publication(t.Context(), p, c.at)
		if c.want == "" {
			if !errors.Is(err, workspace.ErrOffPolicy) || !strings.Contains(err.Error(), "origin@main") {
				t.Errorf("%s: error is %v, want %v of origin@main", name, err, workspace.ErrOffPolicy)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %s (%v) is published, want %s", name, got, err, c.want)
		}
		if behind, err := w.Behind(t.Context(), p); c.at == "" && (err != nil || behind != c.behind) {
			t.Errorf("%s: Behind is %q (%v), want %q", name, behind, err, c.behind)
		}
	}
	w := open(t, h.checkout)
	_, err := w.Publication(t.Context(), policy(t, w), "absent")
	requireSelection(t, err, "commit absent")
}

// The right to push tags is not the right to push the branch.
func TestPolicyRefIsABranch(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	testworld.Git(t, h.checkout, "push", "-q", "origin", h.feature+":refs/tags/main", h.feature+":refs/tags/v1", h.feature+":refs/remotes/only")
	w := open(t, h.checkout)
	for _, spec := range []string{"", "origin@main", "origin@refs/heads/main"} {
		p, err := w.Policy(t.Context(), spec, func(string) {})
		if err != nil || p.Tip() != h.second || p.Name() != "origin@main" {
			t.Errorf("--policy %q is %s (%v), want origin@main at %s", spec, p.Name(), err, h.second)
		}
	}
	for _, spec := range []string{"v1", "refs/tags/v1", "refs/tags/main", "tags/v1", "refs/remotes/only", "only", "HEAD", h.second} {
		_, err := w.Policy(t.Context(), "origin@"+spec, func(string) {})
		requireSelection(t, err, "policy ref")
	}
}

// A URL may hold a password, and errors do not repeat it.
func TestPolicyRefKeepsPasswords(t *testing.T) {
	t.Parallel()
	w := open(t, repository(t, nil))
	for _, spec := range []string{"https://user:hunter2@127.0.0.1:1/x.git", "https://user:hunter2@127.0.0.1:1/x.git@main"} {
		_, err := w.Policy(t.Context(), spec, func(string) {})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error is %v", spec, err)
		}
	}
}

// TestTipComesBeforeNothing answers without the history of the policy ref what its tip, which a run has most times, does not come before.
func TestTipComesBeforeNothing(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{"README.md": "1"})
	for range 2 {
		commit(t, dir)
	}
	server := testworld.GitServer(t, testworld.Bare(t, dir))
	p := policyOf(t, open(t, testworld.Clone(t, server.URL, "--depth", "1")))
	server.Forget()
	before := testworld.Git(t, dir, "rev-parse", "HEAD~1")
	if is, err := p.IsAncestor(t.Context(), p.Tip(), before); err != nil || is || len(server.Requests("")) > 0 {
		t.Errorf("the tip comes before its parent: %v, %v, asked %q", is, err, server.Requests(""))
	}
}
