package forge

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestRefresh(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	pull, err := h.Ensure(t.Context(), Request{Head: proposal.Head, Base: proposal.Base, Title: "one"})
	if err != nil {
		t.Fatal(err)
	}
	h.forget()
	for _, step := range []struct {
		title    string
		want     Change
		requests int
	}{{"one", Unchanged, 0}, {"two", Updated, 1}} {
		got, err := h.Refresh(t.Context(), pull.PullRequest, Request{Title: step.title, Body: pull.Body})
		if n := h.forget(); err != nil || got.Change != step.want || got.Title != step.title || n != step.requests {
			t.Errorf("%s: %+v, %v with %d requests", step.title, got, err, n)
		}
	}
	if _, err := h.Refresh(t.Context(), pull.PullRequest, Request{Title: "x", Body: strings.Repeat("x", h.MaxBody()+1)}); err == nil || h.forget() != 0 {
		t.Errorf("too long: %v", err)
	}
}

func TestLanded(t *testing.T) {
	t.Parallel()
	answer := func(state string, merged bool) map[string]any {
		a := map[string]any{"number": 1, "state": state, "merged": merged, "head": map[string]any{"ref": "x", "sha": "c1"}, "base": map[string]any{"ref": "y"}}
		if merged {
			a["merged_at"] = "2026-04-01T12:00:00Z"
		}
		return a
	}
	t.Run("GitHub is waited for", func(t *testing.T) {
		t.Parallel()
		f := newFake(t)
		f.on("GET "+hubAPI+"/pulls/1", func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, answer(map[bool]string{true: "open", false: "closed"}[len(f.asked) < 2], len(f.asked) >= 2))
		})
		got, err := f.open(t, GitHub).Landed(t.Context(), PullRequest{Number: 1, State: StateOpen}, "c2")
		if err != nil || got.State != StateMerged || f.forget() != 2 {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("but not for long", func(t *testing.T) {
		t.Parallel()
		f := newFake(t)
		f.on("GET "+hubAPI+"/pulls/1", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, answer("open", false)) })
		got, err := f.open(t, GitHub).Landed(t.Context(), PullRequest{Number: 1, State: StateOpen}, "c2")
		if err != nil || got.State != StateOpen || f.forget() != landedTries {
			t.Errorf("%+v, %v", got, err)
		}
	})
	for name, status := range map[string]int{"Gitea refuses": 405, "Gitea fails": 500} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.on("POST /api/v1/repos/acme/env/pulls/1/merge", func(w http.ResponseWriter, r *http.Request) {
				if body := read(t, r); body["Do"] != "manually-merged" || body["MergeCommitID"] != "c2" {
					t.Errorf("asked %v", body)
				}
				reply(w, status, map[string]any{"message": "no"})
			})
			f.on("GET /api/v1/repos/acme/env/pulls/1", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, answer("open", false)) })
			got, err := f.open(t, Gitea).Landed(t.Context(), PullRequest{Number: 1, State: StateOpen}, "c2")
			if (err != nil) != (status == 500) || got.State != StateOpen {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestCommitURL(t *testing.T) {
	t.Parallel()
	other := &Repository{root: &url.URL{Scheme: "https", Host: "other.example.com"}, options: Options{Transport: refuseAll{t}}}
	for remote, want := range map[string]string{
		"git@github.com:acme/env.git":     "https://github.com/acme/env/commit/c1",
		"https://codeberg.org/acme/env":   "https://codeberg.org/acme/env/commit/c1",
		"https://gitlab.com/acme/t/env":   "https://gitlab.com/acme/t/env/-/commit/c1",
		"https://u:p@github.com/a/b":      "https://github.com/a/b/commit/c1",
		"https://git.example.com/acme/ev": "",
		"/srv/env.git":                    "",
	} {
		if got := other.CommitURL(remote, "c1"); got != want {
			t.Errorf("%s: %q, want %q", remote, got, want)
		}
	}
	if got := other.CommitURL("git@github.com:acme/env.git", ""); got != "" {
		t.Errorf("of no commit: %s", got)
	}
}
