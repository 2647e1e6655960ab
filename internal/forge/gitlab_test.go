package forge

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// lab is a GitLab with one project and the merge request !1.
type lab struct {
	*fake
	*Repository
	request map[string]any // nil: none yet
}

func newLab(t *testing.T) *lab {
	l := &lab{fake: newFake(t)}
	l.Repository = l.fake.open(t, GitLab)
	// http.ServeMux reads the project's escaped slash as the pattern's single segment.
	const project = "/api/v4/projects/{project}"
	l.on("GET "+project+"/merge_requests", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("project") != "acme/env" {
			t.Errorf("project %q", r.PathValue("project"))
		}
		query := r.URL.Query()
		if l.request == nil || query.Get("source_branch") != "" && query.Get("source_branch") != l.request["source_branch"] ||
			query.Get("target_branch") != l.request["target_branch"] {
			reply(w, 200, []any{})
			return
		}
		fork := map[string]any{"iid": 9, "state": "opened", "source_branch": proposal.Head, "target_branch": proposal.Base, "source_project_id": 8, "target_project_id": 7}
		reply(w, 200, []any{fork, l.request})
	})
	l.on("POST "+project+"/merge_requests", func(w http.ResponseWriter, r *http.Request) {
		body := read(t, r)
		if l.request != nil {
			reply(w, 409, map[string]any{"message": []any{"Another open merge request already exists for this source branch: !1"}})
			return
		}
		l.request = body
		for key, value := range map[string]any{
			"iid": 1, "state": "opened", "sha": "c1", "source_project_id": 7, "target_project_id": 7, "web_url": l.URL + "/1",
			"author": map[string]any{"username": "bot"}, "draft": strings.HasPrefix(body["title"].(string), "Draft:"),
		} {
			l.request[key] = value
		}
		if labels, ok := body["labels"].(string); ok {
			l.request["labels"] = strings.Split(labels, ",")
		}
		reply(w, 201, l.request)
	})
	l.on("GET "+project+"/merge_requests/1", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, l.request) })
	l.on("PUT "+project+"/merge_requests/1", func(w http.ResponseWriter, r *http.Request) {
		for key, value := range read(t, r) {
			switch key {
			case "state_event":
				l.request["state"] = map[string]string{"close": "closed", "reopen": "opened"}[value.(string)]
			case "add_labels":
				l.request["labels"] = append(slices.Clone(l.request["labels"].([]string)), strings.Split(value.(string), ",")...)
			case "reviewer_ids":
				var reviewers []any
				for _, id := range list(value) {
					reviewers = append(reviewers, map[string]any{"id": id, "username": map[float64]string{11: "ada", 12: "bob"}[id.(float64)]})
				}
				l.request["reviewers"] = reviewers
			default:
				l.request[key] = value
			}
		}
		reply(w, 200, l.request)
	})
	l.on("GET /api/v4/users", func(w http.ResponseWriter, r *http.Request) {
		ids := map[string]int{"ada": 11, "bob": 12}
		if id, ok := ids[r.URL.Query().Get("username")]; ok {
			reply(w, 200, []any{map[string]any{"id": id, "username": r.URL.Query().Get("username")}})
			return
		}
		reply(w, 200, []any{})
	})
	return l
}

func TestGitLabEnsure(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.on("GET /api/v4/projects/{project}/merge_requests/1/approvals", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, map[string]any{"approved_by": []any{}})
	})
	request := proposal
	request.Draft, request.Reviewers = true, []string{"ada"}
	step := func(want Change, requests int) Ensured {
		t.Helper()
		l.forget()
		got, err := l.Ensure(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if asked := l.asked; got.Change != want || l.forget() != requests {
			t.Errorf("%s with %d requests, want %s with %d:\n%s", got.Change, len(asked), want, requests, strings.Join(asked, "\n"))
		}
		return got
	}
	created := step(Created, 4) // find, create with labels, user, ask
	if created.Number != 1 || !created.Draft || created.Title != "app: git-1 to prod" || created.Base.Commit != "" || created.Author != "bot" {
		t.Errorf("%+v", created)
	}
	step(Unchanged, 1)
	request.Title, request.Labels = "another", []string{"lockage", "prod"}
	step(Updated, 3)
	if l.request["title"] != "Draft: another" {
		t.Errorf("title %q", l.request["title"])
	}
	// A person says that it is ready: that stays.
	l.request["title"], l.request["draft"] = "another", false
	if got := step(Unchanged, 1); got.Draft {
		t.Errorf("%+v", got)
	}
	request.Reviewers = []string{"ada", "bob"} // ada stays
	step(Updated, 5)                           // find, approvals, both users, ask
	request.Reviewers = []string{"nobody", "acme/sre"}
	if got := step(Unchanged, 2); len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "groups") {
		t.Errorf("warnings %q", got.Warnings)
	}
}

func TestGitLabApprovals(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	at := func(minute int) string { return fmt.Sprintf("2026-01-02T12:%02d:00.000Z", minute) }
	note := func(user, body string, minute int, system bool) map[string]any {
		return map[string]any{"id": minute, "system": system, "body": body, "created_at": at(minute), "author": map[string]any{"username": user}}
	}
	approvedBy := []any{}
	l.on("GET /api/v4/projects/{project}/merge_requests/1/approvals", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, map[string]any{"approved_by": approvedBy})
	})
	l.on("GET /api/v4/projects/{project}/merge_requests/1/notes", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") != "2" {
			w.Header().Set("X-Next-Page", "2")
			reply(w, 200, []any{note("ada", "approved this merge request", 2, true), note("bob", "approved this merge request", 3, true)})
			return
		}
		reply(w, 200, []any{
			note("ada", "unapproved this merge request", 4, true), note("ada", "approved this merge request", 6, true),
			note("bob", "approved this merge request", 7, false), // bob only says so
		})
	})
	l.on("GET /api/v4/projects/{project}/merge_requests/1/versions", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, []any{
			map[string]any{"id": 2, "head_commit_sha": "c2", "created_at": at(5)},
			map[string]any{"id": 1, "head_commit_sha": "c1", "created_at": at(1)},
		})
	})
	if got, err := l.Approvals(t.Context(), PullRequest{Number: 1}); err != nil || len(got) != 0 || l.forget() != 1 {
		t.Errorf("%v %+v", err, got)
	}
	for _, user := range []string{"ada", "bob", "cleo"} {
		approvedBy = append(approvedBy, map[string]any{"user": map[string]any{"username": user}})
	}
	got, err := l.Approvals(t.Context(), PullRequest{Number: 1})
	if err != nil || len(got) != 3 || l.forget() != 4 {
		t.Fatalf("%v %+v", err, got)
	}
	for _, approval := range got {
		if want := map[string]string{"ada": "c2", "bob": "c1", "cleo": ""}[approval.User]; approval.Commit != want {
			t.Errorf("%s on %q, want %q", approval.User, approval.Commit, want)
		}
	}
}

func TestGitLabMember(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.on("GET /api/v4/groups/{group}/members/all", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("group") != "acme/sre" {
			reply(w, 404, map[string]any{"message": "404 Group Not Found"})
			return
		}
		var found []any
		for _, m := range []map[string]any{{"username": "ada", "state": "active"}, {"username": "adam", "state": "active"}, {"username": "bob", "state": "awaiting"}} {
			if strings.Contains(m["username"].(string), r.URL.Query().Get("query")) {
				found = append(found, m)
			}
		}
		reply(w, 200, found)
	})
	wantMembers(t, l.Repository, map[string]bool{"sre ada": true, "acme/sre ada": true, "sre adam": true, "sre bob": false, "sre da": false, "none ada": false})
}

func TestGitLabMergeWaitsForTheCheck(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.request = map[string]any{"iid": 1, "state": "opened", "sha": "c1", "detailed_merge_status": "checking"}
	tries := 0
	l.on("PUT /api/v4/projects/{project}/merge_requests/1/merge", func(w http.ResponseWriter, r *http.Request) {
		body := read(t, r)
		if body["sha"] != "c1" {
			t.Errorf("%v", body)
		}
		switch tries++; {
		case tries < 3:
			reply(w, 405, map[string]any{"message": "405 Method Not Allowed"})
		case tries == 3 && body["auto_merge"] == true:
			l.request["merge_when_pipeline_succeeds"] = true
			reply(w, 200, l.request)
		default:
			l.request["detailed_merge_status"] = "not_approved"
			reply(w, 405, map[string]any{"message": "405 Method Not Allowed"})
		}
	})
	pull := PullRequest{Number: 1, State: StateOpen, Head: Branch{"x", "c1"}}
	if err := l.AutoMerge(t.Context(), pull); err != nil || tries != 3 {
		t.Error(err, tries)
	}
	if err := l.AutoMerge(t.Context(), pull); !Refused(err) || tries != 4 {
		t.Error(err, tries)
	}
}

func TestGitLabCommentStatusAndClose(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.request = map[string]any{"iid": 1, "state": "opened"}
	notes := []any{map[string]any{"id": 1, "system": true, "body": "<!-- lockage:older -->"}}
	l.on("GET /api/v4/projects/{project}/merge_requests/1/notes", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, notes) })
	l.on("POST /api/v4/projects/{project}/merge_requests/1/notes", func(w http.ResponseWriter, r *http.Request) {
		notes = append(notes, map[string]any{"id": len(notes) + 1, "body": read(t, r)["body"]})
		reply(w, 201, notes[len(notes)-1])
	})
	old := PullRequest{Number: 1, State: StateOpen}
	for range 2 { // as after a crash
		if _, err := l.Comment(t.Context(), old.Number, "older", "!2 is newer"); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Close(t.Context(), old); err != nil {
			t.Fatal(err)
		}
	}
	if l.request["state"] != "closed" || len(notes) != 2 || !strings.Contains(notes[1].(map[string]any)["body"].(string), "!2 is newer") {
		t.Errorf("%v %v", l.request, notes)
	}

	var statuses []any
	refuse := false
	l.on("GET /api/v4/projects/{project}/repository/commits/c1/statuses", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, statuses) })
	l.on("POST /api/v4/projects/{project}/statuses/c1", func(w http.ResponseWriter, r *http.Request) {
		if refuse {
			reply(w, 400, map[string]any{"message": "Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via \"enqueue\")"})
			return
		}
		body := read(t, r)
		statuses = append(statuses, map[string]any{
			"id": len(statuses) + 1, "name": body["name"], "status": body["state"], "description": body["description"], "target_url": body["target_url"],
		})
		reply(w, 201, statuses[len(statuses)-1])
	})
	status := Status{Context: "lockage/prod", State: Failure, Description: "no", URL: "https://example.com"}
	for _, want := range []Change{Created, Unchanged} {
		if got, err := l.SetStatus(t.Context(), "c1", status); err != nil || got != want {
			t.Errorf("%v %v, want %s", got, err, want)
		}
	}
	refuse, status.State = true, Pending
	if _, err := l.SetStatus(t.Context(), "c1", status); err != nil {
		t.Error(err)
	}
	status.State = Success
	if _, err := l.SetStatus(t.Context(), "c1", status); err == nil {
		t.Error("a refusal passed as done")
	}
}
