package forge

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestListOpen(t *testing.T) {
	t.Parallel()
	side := func(ref string, repository int) map[string]any {
		return map[string]any{"ref": ref, "sha": "c1", "repo_id": repository, "repo": map[string]any{"id": repository}}
	}
	entry := func(number int, head, base string, from int) map[string]any {
		return map[string]any{
			"number": number, "iid": number, "state": "open", "title": "x",
			"head": side(head, from), "base": side(base, 7),
			"source_branch": head, "target_branch": base, "source_project_id": from, "target_project_id": 7,
		}
	}
	for kind, path := range map[Kind]string{
		GitHub: hubAPI + "/pulls", GitLab: "/api/v4/projects/{project}/merge_requests", Gitea: "/api/v1/repos/acme/env/pulls",
	} {
		f := newFake(t)
		f.on("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, []any{entry(1, "review/a", "stage/a", 7), entry(2, "more", "stage/a", 7), entry(3, "review/b", "stage/b", 7), entry(4, "review/c", "stage/b", 8)})
		})
		got, err := f.open(t, kind).ListOpen(t.Context(), "review/")
		if err != nil || len(got) != 2 || got[0].Number != 3 || got[0].Base.Name != "stage/b" || got[1].Number != 1 {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
		if len(f.asked) != 1 || strings.Contains(f.asked[0], "base=") || strings.Contains(f.asked[0], "target_branch=") {
			t.Errorf("%s was asked %q", kind, f.asked)
		}
	}
}

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
