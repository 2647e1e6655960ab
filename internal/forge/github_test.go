package forge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// hub is a GitHub with one repository: what its REST API says of pull requests, with its paging and its refusals.
type hub struct {
	*fake
	*Repository
	pulls    []map[string]any
	noDrafts bool
	lost     int  // answers to creations that get lost
	late     int  // lists that do not show the newest pull request yet
	race     bool // somebody else opens it first
}

const hubAPI = "/api/v3/repos/acme/env"

func newHub(t *testing.T) *hub {
	h := &hub{fake: newFake(t)}
	h.Repository = h.fake.open(t, GitHub)
	h.on("GET "+hubAPI+"/pulls", func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		var found []map[string]any
		for _, pull := range slices.Backward(h.pulls) {
			head, base := pull["head"].(map[string]any), pull["base"].(map[string]any)
			if query.Get("head") != "" && query.Get("head") != "acme:"+head["ref"].(string) || query.Get("base") != "" && query.Get("base") != base["ref"] {
				continue
			}
			if state := query.Get("state"); state != "all" && state != pull["state"] {
				continue
			}
			found = append(found, pull)
		}
		if h.late > 0 {
			h.late--
			found = nil
		}
		page, perPage := 1, 30
		_, _ = fmt.Sscan(query.Get("page"), &page)
		_, _ = fmt.Sscan(query.Get("per_page"), &perPage)
		from, to := min((page-1)*perPage, len(found)), min(page*perPage, len(found))
		if to < len(found) {
			query.Set("page", fmt.Sprint(page+1))
			w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, h.URL, r.URL.Path, query.Encode()))
		}
		reply(w, 200, append([]map[string]any{}, found[from:to]...))
	})
	h.on("POST "+hubAPI+"/pulls", func(w http.ResponseWriter, r *http.Request) {
		body := read(t, r)
		if h.race {
			h.race = false
			h.add(body["head"].(string), body["base"].(string), "somebody else's")
		}
		for _, pull := range h.pulls {
			if pull["state"] == "open" && pull["head"].(map[string]any)["ref"] == body["head"] {
				reply(w, 422, map[string]any{"message": "Validation Failed", "errors": []any{map[string]any{
					"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for acme:" + body["head"].(string) + ".",
				}}})
				return
			}
		}
		if body["draft"] == true && h.noDrafts {
			reply(w, 422, map[string]any{"message": "Draft pull requests are not supported in this repository."})
			return
		}
		pull := h.add(body["head"].(string), body["base"].(string), body["title"].(string))
		pull["body"], pull["draft"] = body["body"], body["draft"]
		if h.lost > 0 {
			h.lost--
			panic(http.ErrAbortHandler)
		}
		reply(w, 201, pull)
	})
	h.on("PATCH "+hubAPI+"/pulls/{number}", func(w http.ResponseWriter, r *http.Request) {
		pull := h.number(r)
		for key, value := range read(t, r) {
			pull[key] = value
		}
		reply(w, 200, pull)
	})
	h.on("GET "+hubAPI+"/pulls/{number}", func(w http.ResponseWriter, r *http.Request) { reply(w, 200, h.number(r)) })
	h.on("GET "+hubAPI+"/pulls/{number}/reviews", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, []any{}) })
	h.on("POST "+hubAPI+"/issues/{number}/labels", func(w http.ResponseWriter, r *http.Request) {
		pull := h.number(r)
		labels, _ := pull["labels"].([]any)
		for _, name := range read(t, r)["list"].([]any) {
			labels = append(labels, map[string]any{"name": name})
		}
		pull["labels"] = labels
		reply(w, 200, labels)
	})
	h.on("POST "+hubAPI+"/pulls/{number}/requested_reviewers", func(w http.ResponseWriter, r *http.Request) {
		pull, body := h.number(r), read(t, r)
		for _, name := range list(body["reviewers"]) {
			if name == "ghost" {
				reply(w, 422, map[string]any{"message": "Reviews may only be requested from collaborators."})
				return
			}
			pull["requested_reviewers"] = append(list(pull["requested_reviewers"]), map[string]any{"login": name})
		}
		for _, name := range list(body["team_reviewers"]) {
			pull["requested_teams"] = append(list(pull["requested_teams"]), map[string]any{"slug": name})
		}
		reply(w, 201, pull)
	})
	return h
}

func (h *hub) add(head, base, title string) map[string]any {
	repo := map[string]any{"id": 7}
	pull := map[string]any{
		"number": len(h.pulls) + 1, "state": "open", "title": title, "node_id": fmt.Sprintf("PR_%d", len(h.pulls)+1),
		"html_url": fmt.Sprintf("%s/acme/env/pull/%d", h.URL, len(h.pulls)+1), "user": map[string]any{"login": "bot"},
		"head": map[string]any{"ref": head, "sha": "c1", "repo": repo}, "base": map[string]any{"ref": base, "sha": "b1", "repo": repo},
		"merge_commit_sha": "trial",
	}
	h.pulls = append(h.pulls, pull)
	return pull
}

func (h *hub) number(r *http.Request) map[string]any {
	var n int
	_, _ = fmt.Sscan(r.PathValue("number"), &n)
	return h.pulls[n-1]
}

func reply(w http.ResponseWriter, status int, body any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// read returns the body's object; a list is put under «list».
func read(t *testing.T, r *http.Request) map[string]any {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	var body any
	if err := json.Unmarshal(data, &body); err != nil {
		t.Errorf("%v in %s", err, data)
	}
	if object, ok := body.(map[string]any); ok {
		return object
	}
	return map[string]any{"list": body}
}

func list(value any) []any {
	out, _ := value.([]any)
	return out
}

var proposal = Request{
	Head: "review/app/prod/git-1", Base: "stage/prod", Commit: "c1", Title: "app:\n git-1  to prod", Body: "text\n",
	Labels: []string{"lockage"}, Reviewers: []string{"ada", "acme/sre"},
}

func (h *hub) ensure(t *testing.T, request Request, want Change, requests int) Ensured {
	t.Helper()
	h.forget()
	got, err := h.Ensure(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if asked := h.asked; got.Change != want || h.forget() != requests {
		t.Errorf("%s with %d requests, want %s with %d:\n%s", got.Change, len(asked), want, requests, strings.Join(asked, "\n"))
	}
	return got
}

func TestGitHubEnsure(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	created := h.ensure(t, proposal, Created, 4) // find, create, label, ask
	if created.Number != 1 || created.Title != "app: git-1 to prod" || created.Warnings != nil {
		t.Errorf("%+v", created)
	}
	h.ensure(t, proposal, Unchanged, 1)

	changed := proposal
	changed.Body = "text\r\nand more"
	h.ensure(t, changed, Updated, 2)
	h.ensure(t, changed, Unchanged, 1)

	// A reviewer who answered is off the list, and not asked again; a team is answered for by anybody.
	h.pulls[0]["requested_reviewers"], h.pulls[0]["requested_teams"] = nil, nil
	h.on("GET "+hubAPI+"/pulls/1/reviews", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, []any{map[string]any{"id": 1, "user": map[string]any{"login": "Ada"}, "state": "COMMENTED"}})
	})
	h.ensure(t, changed, Unchanged, 2)

	changed.Reviewers = []string{"ghost"}
	if got := h.ensure(t, changed, Unchanged, 3); len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "ghost") {
		t.Errorf("warnings %q", got.Warnings)
	}
}

func TestGitHubHistory(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.ensure(t, proposal, Created, 4)
	h.pulls[0]["state"], h.pulls[0]["merged_at"], h.pulls[0]["merge_commit_sha"] = "closed", "2026-01-02T12:00:00Z", "m1"
	if got := h.ensure(t, proposal, Unchanged, 1); got.State != StateMerged {
		t.Errorf("%+v", got)
	}
	next := proposal
	next.Commit = "c2"
	if got := h.ensure(t, next, Created, 4); got.Number != 2 {
		t.Errorf("%+v", got)
	}
	h.pulls[1]["state"], h.pulls[1]["head"].(map[string]any)["sha"] = "closed", "c2"
	if got := h.ensure(t, next, Unchanged, 1); got.Number != 2 || got.State != StateClosed {
		t.Errorf("%+v", got)
	}
}

func TestGitHubRaces(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare  func(*hub)
		change   Change
		requests int
		warnings int
	}{
		"it appears in between":              {func(h *hub) { h.race = true }, Updated, 7, 0}, // find, create, find, edit, label, reviews, ask
		"it appears and is listed late":      {func(h *hub) { h.race, h.late = true, 2 }, Updated, 8, 0},
		"the answer is lost":                 {func(h *hub) { h.lost = 1 }, Created, 5, 0},
		"the answer is lost, and it is late": {func(h *hub) { h.lost, h.late = 1, 2 }, Created, 6, 0},
		"no drafts":                          {func(h *hub) { h.noDrafts = true }, Created, 5, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			test.prepare(h)
			request := proposal
			request.Draft = true
			got := h.ensure(t, request, test.change, test.requests)
			if len(h.pulls) != 1 || got.Number != 1 || got.Title != "app: git-1 to prod" || len(got.Warnings) != test.warnings {
				t.Errorf("%d pull requests, %+v", len(h.pulls), got)
			}
		})
	}
}

func TestGitHubForks(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	fork := h.add(proposal.Head, proposal.Base, "a fork's")
	fork["head"].(map[string]any)["repo"] = map[string]any{"id": 8}
	gone := h.add(proposal.Head, proposal.Base, "a fork's that is gone")
	gone["head"].(map[string]any)["repo"] = nil
	if got, ok, err := h.Find(t.Context(), proposal.Head, proposal.Base); err != nil || ok {
		t.Errorf("%v %+v", err, got)
	}
}

func TestGitHubApprovals(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	var reviews []any
	say := func(user, state, commit string) {
		review := map[string]any{
			"id": len(reviews) + 1, "state": state, "commit_id": commit, "submitted_at": fmt.Sprintf("2026-01-02T12:%02d:%02dZ", len(reviews)/60, len(reviews)%60),
		}
		if user != "" {
			review["user"] = map[string]any{"login": user}
		}
		reviews = append(reviews, review)
	}
	for range 120 { // so that the words that count are on the second page
		say("chatty", "COMMENTED", "c1")
	}
	say("ada", "CHANGES_REQUESTED", "c1")
	say("ada", "APPROVED", "c1")
	say("ada", "APPROVED", "c2")
	say("ada", "COMMENTED", "c3")
	say("bob", "APPROVED", "c2")
	say("Bob", "CHANGES_REQUESTED", "c2")
	say("cleo", "APPROVED", "c2")
	say("cleo", "DISMISSED", "c2")
	say("stranger", "APPROVED", "c2")
	say("app[bot]", "APPROVED", "c2")
	say("", "APPROVED", "c2")
	h.on("GET "+hubAPI+"/pulls/1/reviews", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") != "2" {
			w.Header().Set("Link", `<`+h.URL+r.URL.Path+`?page=2>; rel="next"`)
			reply(w, 200, reviews[:100])
			return
		}
		reply(w, 200, reviews[100:])
	})
	permissions := map[string]string{"ada": "write", "stranger": "read"}
	h.on("GET "+hubAPI+"/collaborators/{user}/permission", func(w http.ResponseWriter, r *http.Request) {
		permission, ok := permissions[r.PathValue("user")]
		if !ok {
			reply(w, 404, map[string]any{"message": "Not Found"})
			return
		}
		reply(w, 200, map[string]any{"permission": permission})
	})
	got, err := h.Approvals(t.Context(), PullRequest{Number: 1})
	if err != nil || len(got) != 1 || got[0].User != "ada" || got[0].Commit != "c2" || got[0].Time.IsZero() {
		t.Errorf("%v %+v", err, got)
	}
	if n := h.forget(); n != 5 {
		t.Errorf("%d requests", n)
	}
}

func TestGitHubMember(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.on("GET /api/v3/orgs/{org}/teams/{team}/memberships/{user}", func(w http.ResponseWriter, r *http.Request) {
		switch r.PathValue("org") + "/" + r.PathValue("team") + " " + r.PathValue("user") {
		case "acme/sre ada", "others/sre ada":
			reply(w, 200, map[string]any{"state": "active"})
		case "acme/sre bob":
			reply(w, 200, map[string]any{"state": "pending"})
		case "acme/secret ada":
			reply(w, 403, map[string]any{"message": "Forbidden"})
		default:
			reply(w, 404, map[string]any{"message": "Not Found"})
		}
	})
	wantMembers(t, h.Repository, map[string]bool{"sre ada": true, "acme/sre ada": true, "others/sre ada": true, "sre bob": false, "sre eve": false, "none ada": false})
	if _, err := h.Member(t.Context(), "secret", "ada"); !Refused(err) || !strings.Contains(err.Error(), "whether ada belongs to the team secret") {
		t.Errorf("%v", err)
	}
}

// wantMembers asks who belongs to which team: TEAM USER.
func wantMembers(t *testing.T, r *Repository, want map[string]bool) {
	t.Helper()
	for pair, member := range want {
		team, user, _ := strings.Cut(pair, " ")
		if got, err := r.Member(t.Context(), team, user); err != nil || got != member {
			t.Errorf("%s: %v (%v), want %v", pair, got, err, member)
		}
	}
}

func TestGitHubAutoMerge(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.add("a", "b", "x")
	refuse := false
	h.on("POST /api/graphql", func(w http.ResponseWriter, r *http.Request) {
		body := read(t, r)
		query, variables := body["query"].(string), body["variables"].(map[string]any)
		switch {
		case strings.Contains(query, "viewerDefaultMergeMethod"):
			reply(w, 200, map[string]any{"data": map[string]any{"repository": map[string]any{"viewerDefaultMergeMethod": "SQUASH"}}})
		case refuse:
			reply(w, 200, map[string]any{"data": map[string]any{"enablePullRequestAutoMerge": nil}, "errors": []any{map[string]any{
				"type": "UNPROCESSABLE", "message": "Pull request Auto merge is not allowed for this repository"}}})
		default:
			if variables["id"] != "PR_1" || variables["method"] != "SQUASH" || variables["head"] != "c1" {
				t.Errorf("%v", variables)
			}
			h.pulls[0]["auto_merge"] = map[string]any{"merge_method": "squash"}
			reply(w, 200, map[string]any{"data": map[string]any{"enablePullRequestAutoMerge": map[string]any{"clientMutationId": nil}}})
		}
	})
	pull, err := h.Get(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	refuse = true
	if err := h.AutoMerge(t.Context(), pull); !Refused(err) || !strings.Contains(err.Error(), "not allowed") {
		t.Error(err)
	}
	refuse = false
	if err := h.AutoMerge(t.Context(), pull); err != nil {
		t.Error(err)
	}
	pull, _ = h.Get(t.Context(), 1)
	h.forget()
	if err := h.AutoMerge(t.Context(), pull); err != nil || h.forget() != 0 {
		t.Error("asked for what is there already", err)
	}
}

func TestGitHubErrors(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		401: "token was not accepted", 403: "access to pull requests", 404: "cannot see it", 500: "500",
	} {
		f := newFake(t)
		f.on("/", func(w http.ResponseWriter, _ *http.Request) { reply(w, status, map[string]any{"message": "no"}) })
		_, err := f.open(t, GitHub).Ensure(t.Context(), proposal)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "acme/env") || strings.Contains(err.Error(), secret) {
			t.Errorf("%d: %v", status, err)
		}
	}
	r := newFake(t).open(t, GitHub)
	for name, request := range map[string]Request{
		"no title": {Head: "a", Base: "b"}, "one branch": {Head: "a", Base: "a", Title: "x"},
		"long": {Head: "a", Base: "b", Title: "x", Body: strings.Repeat("x", r.MaxBody()+1)},
	} {
		if _, err := r.Ensure(t.Context(), request); err == nil || strings.Contains(err.Error(), "404") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, marker := range []string{"", "a b", "a-->b", "a--b", strings.Repeat("a", maxMark)} {
		if _, err := r.Comment(t.Context(), 1, marker, "x"); err == nil || strings.Contains(err.Error(), "404") {
			t.Errorf("marker %q: %v", marker, err)
		}
	}
	var limit *RateLimitError
	if Refused(&RateLimitError{}) || errors.As(&Error{}, &limit) || Refused(&Error{Status: 401}) || !Refused(&Error{Status: 405}) {
		t.Error("what a refusal is")
	}
}

func TestGitHubCommentsAndStatus(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	var comments []map[string]any
	for i := range 130 {
		comments = append(comments, map[string]any{"id": i + 1, "body": "talk"})
	}
	comments[20]["body"] = "<!-- lockage:diff -->\nby an impostor"
	h.on("GET "+hubAPI+"/issues/1/comments", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") != "2" {
			w.Header().Set("Link", `<`+h.URL+r.URL.Path+`?page=2>; rel="next"`)
			reply(w, 200, comments[:100])
			return
		}
		reply(w, 200, comments[100:])
	})
	h.on("POST "+hubAPI+"/issues/1/comments", func(w http.ResponseWriter, r *http.Request) {
		comments = append(comments, map[string]any{"id": len(comments) + 1, "body": read(t, r)["body"]})
		reply(w, 201, comments[len(comments)-1])
	})
	h.on("PATCH "+hubAPI+"/issues/comments/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "21" {
			reply(w, 403, map[string]any{"message": "Must have admin rights"})
			return
		}
		comments[130]["body"] = read(t, r)["body"]
		reply(w, 200, comments[130])
	})
	if got, err := h.UpdateComment(t.Context(), 1, "diff", "none yet"); err != nil || got != Unchanged || len(comments) != 130 {
		t.Errorf("update of no comment: %v %v, %d comments", got, err, len(comments))
	}
	h.forget()
	for _, step := range []struct {
		body     string
		want     Change
		requests int
	}{{"one", Created, 4}, {"one", Unchanged, 2}, {"two", Updated, 4}} {
		if got, err := h.Comment(t.Context(), 1, "diff", step.body); err != nil || got != step.want || h.forget() != step.requests {
			t.Errorf("%s: %v %v", step.body, got, err)
		}
	}
	if len(comments) != 131 || comments[130]["body"] != "<!-- lockage:diff -->\ntwo" {
		t.Errorf("%d comments", len(comments))
	}

	var statuses []any
	h.on("GET "+hubAPI+"/commits/c1/status", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, map[string]any{"statuses": append([]any{map[string]any{"context": "ci", "state": "failure"}}, statuses...)})
	})
	h.on("POST "+hubAPI+"/statuses/c1", func(w http.ResponseWriter, r *http.Request) {
		statuses = []any{read(t, r)}
		reply(w, 201, statuses[0])
	})
	status := Status{Context: "lockage/prod", State: Pending, Description: strings.Repeat("ä", 100), URL: "https://example.com"}
	for _, want := range []Change{Created, Unchanged} {
		if got, err := h.SetStatus(t.Context(), "c1", status); err != nil || got != want {
			t.Errorf("%v %v, want %s", got, err, want)
		}
	}
	if got := statuses[0].(map[string]any)["description"].(string); len(got) > MaxDescription || !strings.HasSuffix(got, "ä…") {
		t.Errorf("description %q", got)
	}
	if h.forget() != 3 {
		t.Error("too many requests")
	}
	for commit, state := range map[string]StatusState{"c1": "maybe", "../c1": Success, "": Success} {
		if _, err := h.SetStatus(t.Context(), commit, Status{State: state}); err == nil || h.forget() != 0 {
			t.Error(err)
		}
	}
}
