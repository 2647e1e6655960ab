package e2e

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lockage/lockage/internal/forge"
)

// requests counts what is sent.
type requests struct{ n atomic.Int64 }

func (r *requests) RoundTrip(request *http.Request) (*http.Response, error) {
	r.n.Add(1)
	return http.DefaultTransport.RoundTrip(request)
}

func openForge(t *testing.T, r *giteaRepo, as giteaUser) (*forge.Repository, *requests) {
	t.Helper()
	counter := &requests{}
	repository, err := forge.Open(t.Context(), r.URL, forge.Options{Token: as.Token, Transport: counter})
	if err != nil {
		t.Fatal(err)
	}
	if got := repository.Kind(); got != forge.Gitea {
		t.Fatalf("the server says that it is %s", got)
	}
	counter.n.Store(0)
	return repository, counter
}

func ensure(t *testing.T, repository *forge.Repository, request forge.Request, want forge.Change) forge.Ensured {
	t.Helper()
	got, err := repository.Ensure(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if got.Change != want {
		t.Fatalf("%s, want %s", got.Change, want)
	}
	return got
}

// TestForgeOnGitea tries package forge on a real forge.
func TestForgeOnGitea(t *testing.T) {
	t.Parallel()
	g := gitea(t)
	for name, test := range map[string]func(*testing.T, *giteaServer){
		"pull request": giteaForgePullRequest, "race": giteaForgeRaceToOpen, "review": giteaForgeReview, "teams": giteaForgeTeams,
		"status and comment": giteaForgeStatusAndComment, "merge": giteaForgeMerge, "refusals": giteaForgeRefusals,
	} {
		t.Run(name, func(t *testing.T) { test(t, g) })
	}
}

func giteaForgePullRequest(t *testing.T, g *giteaServer) {
	env := g.Repo(t, "pulls")
	ada := g.User(t, "ada")
	repository, counter := openForge(t, env, g.Admin)
	env.Push(t, "stage/production", "main", map[string]string{"app.yaml": "replicas: 1\n"})
	head := env.Push(t, "review/codeai/production", "stage/production", map[string]string{"app.yaml": "replicas: 2\n"})

	request := forge.Request{
		Head: "review/codeai/production", Base: "stage/production", Commit: head,
		Title: "codeai: git-1 to production", Body: "- replicas: 1 to 2\n", Labels: []string{"lockage", "production"},
		Reviewers: []string{"ada"}, Draft: true,
	}
	pull := ensure(t, repository, request, forge.Created)
	if pull.Warnings != nil || pull.State != forge.StateOpen || !pull.Draft || pull.Title != request.Title ||
		pull.Head != (forge.Branch{Name: request.Head, Commit: head}) || pull.Base.Name != request.Base || pull.Author != g.Admin.Name {
		t.Errorf("created: %+v", pull)
	}
	counter.n.Store(0)
	again := ensure(t, repository, request, forge.Unchanged)
	if counter.n.Load() != 1 || again.Number != pull.Number || !slices.Equal(again.Labels, request.Labels) {
		t.Errorf("found again with %d requests: %+v", counter.n.Load(), again)
	}

	t.Run("update keeps the draft and other people's labels", func(t *testing.T) {
		request.Title, request.Body = "codeai: git-1 to production, again", "- replicas: 1 to 2\n- <b>more</b>\n"
		counter.n.Store(0)
		updated := ensure(t, repository, request, forge.Updated)
		if counter.n.Load() != 2 || updated.Number != pull.Number || !updated.Draft || updated.Title != request.Title || updated.Body != request.Body {
			t.Errorf("updated with %d requests: %+v", counter.n.Load(), updated)
		}
		var raw struct{ Title string }
		g.API(t, "GET", env.api("/pulls/%d", pull.Number), nil, &raw)
		if raw.Title != "WIP: "+request.Title {
			t.Errorf("title %q", raw.Title)
		}
	})
	t.Run("a reviewer who answered is not asked again", func(t *testing.T) {
		env.Review(t, pull.Number, ada, head, "COMMENT")
		ensure(t, repository, request, forge.Unchanged)
	})
	t.Run("a reviewer who does not exist is a warning", func(t *testing.T) {
		request := request
		request.Reviewers = []string{"ada", "nobody-of-this-name"}
		if got := ensure(t, repository, request, forge.Unchanged); len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "nobody-of-this-name") {
			t.Errorf("warnings %q", got.Warnings)
		}
	})
	t.Run("closed stays closed for the same commit", func(t *testing.T) {
		if closed, err := repository.Close(t.Context(), pull.PullRequest); err != nil || closed.State != forge.StateClosed {
			t.Fatalf("%v %+v", err, closed)
		}
		if got := ensure(t, repository, request, forge.Unchanged); got.Number != pull.Number || got.State != forge.StateClosed {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a new commit is a new proposal", func(t *testing.T) {
		next := request
		next.Commit = env.Push(t, request.Head, request.Head, map[string]string{"app.yaml": "replicas: 4\n"})
		got := ensure(t, repository, next, forge.Created)
		if got.Number == pull.Number {
			t.Errorf("%+v", got)
		}
		if found, ok, err := repository.Find(t.Context(), request.Head, request.Base); err != nil || !ok || found.Number != got.Number {
			t.Errorf("found %v %v %+v", ok, err, found)
		}
	})
	t.Run("a fork's branch is not ours", func(t *testing.T) {
		eve := g.Outsider(t, "eve")
		if status, answer := g.Try(t, eve, "POST", env.api("/forks"), map[string]any{}, nil); status >= 300 {
			t.Fatal(status, answer)
		}
		status, answer := g.Try(t, eve, "POST", env.api("/pulls"), map[string]any{
			"head": "eve:" + request.Head, "base": "stage/production", "title": "mine", "body": "",
		}, nil)
		if status >= 300 {
			t.Fatal(status, answer)
		}
		found, ok, err := repository.Find(t.Context(), request.Head, request.Base)
		if err != nil || !ok || found.Author == "eve" {
			t.Errorf("%v %+v", err, found)
		}
	})
}

func giteaForgeRaceToOpen(t *testing.T, g *giteaServer) {
	env := g.Repo(t, "race")
	env.Push(t, "stage/production", "main", map[string]string{"app.yaml": "a: 1\n"})
	head := env.Push(t, "review/x", "stage/production", map[string]string{"app.yaml": "a: 2\n"})
	request := forge.Request{Head: "review/x", Base: "stage/production", Commit: head, Title: "x"}
	const racers = 4
	failures := make(chan error, racers)
	for range racers {
		repository, _ := openForge(t, env, g.Admin)
		go func() {
			_, err := repository.Ensure(t.Context(), request)
			failures <- err
		}()
	}
	for range racers {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	repository, _ := openForge(t, env, g.Admin)
	var open []struct{ Number int }
	g.API(t, "GET", env.api("/pulls?state=open"), nil, &open)
	if len(open) != 1 {
		t.Fatalf("%d are open: %+v", len(open), open)
	}
	if got := ensure(t, repository, request, forge.Unchanged); got.Number != open[0].Number {
		t.Errorf("%+v", got)
	}
}

func giteaForgeReview(t *testing.T, g *giteaServer) {
	env := g.Repo(t, "reviews")
	ada, bob := g.User(t, "ada"), g.User(t, "bob")
	eve := g.Outsider(t, "eve")
	repository, _ := openForge(t, env, g.Admin)
	env.Push(t, "stage/production", "main", map[string]string{"app.yaml": "a: 1\n"})
	first := env.Push(t, "review/x", "stage/production", map[string]string{"app.yaml": "a: 2\n"})
	pull := ensure(t, repository, forge.Request{Head: "review/x", Base: "stage/production", Commit: first, Title: "x"}, forge.Created)

	approvals := func() map[string]string {
		t.Helper()
		all, err := repository.Approvals(t.Context(), pull.PullRequest)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, approval := range all {
			if approval.Time.IsZero() {
				t.Errorf("approval without a time: %+v", approval)
			}
			out[approval.User] = approval.Commit
		}
		return out
	}
	if got := approvals(); len(got) != 0 {
		t.Errorf("nobody approved: %v", got)
	}
	env.Approve(t, pull.Number, ada, first)
	env.Approve(t, pull.Number, eve, first) // may not write
	if got := approvals(); len(got) != 1 || got["ada"] != first {
		t.Errorf("ada approved: %v", got)
	}
	second := env.Push(t, "review/x", "review/x", map[string]string{"app.yaml": "a: 3\n"})
	eventually(func() bool {
		now, err := repository.Get(t.Context(), pull.Number)
		return err == nil && now.Head.Commit == second
	})
	env.Approve(t, pull.Number, bob, second)
	if got := approvals(); len(got) != 2 || got["ada"] != first || got["bob"] != second {
		t.Errorf("ada approved the older head, bob the new one: %v", got)
	}
	env.Review(t, pull.Number, ada, second, "COMMENT")
	env.Review(t, pull.Number, bob, second, "REQUEST_CHANGES")
	if got := approvals(); len(got) != 1 || got["ada"] != first {
		t.Errorf("bob took it back, ada only commented: %v", got)
	}
	var reviews []struct {
		ID    int
		State string
		User  struct{ Login string }
	}
	g.API(t, "GET", env.api("/pulls/%d/reviews", pull.Number), nil, &reviews)
	for _, review := range reviews {
		if review.User.Login == "ada" && review.State == "APPROVED" {
			g.API(t, "POST", env.api("/pulls/%d/reviews/%d/dismissals", pull.Number, review.ID), map[string]any{"message": "no"}, nil)
		}
	}
	if got := approvals(); len(got) != 0 {
		t.Errorf("ada's was dismissed: %v", got)
	}
}

func giteaForgeTeams(t *testing.T, g *giteaServer) {
	env := g.Repo(t, "teams")
	g.User(t, "ada")
	g.User(t, "bob")
	team := g.Team(t, "crew", "leads", "ada")
	repository, _ := openForge(t, env, g.Admin)
	for pair, want := range map[[2]string]bool{
		{team, "ada"}: true, {"CREW/Leads", "ada"}: true, {team, "bob"}: false, {"crew/none", "ada"}: false, {"nobody-there/leads", "ada"}: false, {"leads", "ada"}: false,
	} {
		if got, err := repository.Member(t.Context(), pair[0], pair[1]); err != nil || got != want {
			t.Errorf("%v: %v (%v), want %v", pair, got, err, want)
		}
	}
}

func giteaForgeStatusAndComment(t *testing.T, g *giteaServer) {
	env := g.Repo(t, "statuses")
	ada := g.User(t, "ada")
	repository, counter := openForge(t, env, g.Admin)
	head := env.Push(t, "review/x", "main", map[string]string{"app.yaml": "a: 2\n"})
	status := forge.Status{Context: "lockage/production", State: forge.Pending, Description: "soak: 1h left", URL: "https://example.com/run"}
	for _, step := range []struct {
		state    forge.StatusState
		want     forge.Change
		requests int64
	}{
		{forge.Pending, forge.Created, 2}, {forge.Pending, forge.Unchanged, 1}, {forge.Success, forge.Updated, 2}, {forge.Success, forge.Unchanged, 1},
		{forge.Pending, forge.Updated, 2}, {forge.Failure, forge.Updated, 2},
	} {
		status.State = step.state
		counter.n.Store(0)
		if got, err := repository.SetStatus(t.Context(), head, status); err != nil || got != step.want || counter.n.Load() != step.requests {
			t.Errorf("%s: %v %v with %d requests, want %+v", step.state, got, err, counter.n.Load(), step)
		}
	}
	var refusal *forge.Error
	if _, err := repository.SetStatus(t.Context(), strings.Repeat("0", 40), status); !errors.As(err, &refusal) {
		t.Errorf("status of no commit: %v", err)
	}

	pull := ensure(t, repository, forge.Request{Head: "review/x", Base: "main", Commit: head, Title: "x", Body: strings.Repeat("ä", repository.MaxBody()/2)}, forge.Created)
	if len(pull.Body) != repository.MaxBody()/2*2 {
		t.Errorf("of %d bytes %d were kept", repository.MaxBody(), len(pull.Body))
	}
	theirs, _ := openForge(t, env, ada)
	for _, step := range []struct {
		as     *forge.Repository
		marker string
		body   string
		want   forge.Change
	}{
		{repository, "diff", "one", forge.Created}, {repository, "diff", "one", forge.Unchanged}, {repository, "diff", "two", forge.Updated},
		{repository, "verdict", "three", forge.Created}, {theirs, "diff", "two", forge.Unchanged},
		{repository, "large", strings.Repeat("x", repository.MaxBody()), forge.Created},
	} {
		if got, err := step.as.Comment(t.Context(), pull.Number, step.marker, step.body); err != nil || got != step.want {
			t.Errorf("%s %.10s: %v %v, want %s", step.marker, step.body, got, err, step.want)
		}
	}
	var comments []struct{ Body string }
	g.API(t, "GET", env.api("/issues/%d/comments", pull.Number), nil, &comments)
	if len(comments) != 3 || comments[0].Body != "<!-- lockage:diff -->\ntwo" {
		t.Errorf("%d comments, the first %.80s", len(comments), comments[0].Body)
	}
}

func giteaForgeMerge(t *testing.T, g *giteaServer) {
	env := g.Repo(t, "merges")
	ada := g.User(t, "ada")
	repository, _ := openForge(t, env, g.Admin)
	open := func(t *testing.T, name string) forge.Ensured {
		t.Helper()
		env.Push(t, "stage/"+name, "main", map[string]string{name: "a: 1\n"})
		head := env.Push(t, "review/"+name, "stage/"+name, map[string]string{name: "a: 2\n"})
		env.Push(t, "stage/"+name, "stage/"+name, map[string]string{"other": name}) // a base that moves
		return ensure(t, repository, forge.Request{Head: "review/" + name, Base: "stage/" + name, Commit: head, Title: name}, forge.Created)
	}
	for _, method := range []string{"merge", "squash", "rebase"} {
		t.Run(method, func(t *testing.T) {
			pull := open(t, method)
			env.Merge(t, pull.Number, ada, method)
			merged, err := repository.Get(t.Context(), pull.Number)
			if err != nil || merged.State != forge.StateMerged || merged.Head.Commit != pull.Head.Commit {
				t.Fatalf("%+v, %v", merged, err)
			}
			again := ensure(t, repository, forge.Request{Head: merged.Head.Name, Base: merged.Base.Name, Commit: pull.Head.Commit, Title: method}, forge.Unchanged)
			if again.Number != pull.Number || again.State != forge.StateMerged {
				t.Errorf("after the merge: %+v", again)
			}
		})
	}
	t.Run("protected branch", func(t *testing.T) {
		pull := open(t, "protected")
		env.Protect(t, "stage/protected", map[string]any{"required_approvals": 1, "enable_push": false})
		env.Git(t, "", "commit", "-q", "--allow-empty", "-m", "by hand")
		if _, err := env.TryGit(t, "", "push", "origin", "HEAD:refs/heads/stage/protected"); err == nil || !strings.Contains(err.Error(), "protected") {
			t.Error("a push to a protected branch went through:", err)
		}
		env.Approve(t, pull.Number, ada, pull.Head.Commit)
		env.Merge(t, pull.Number, ada, "merge")
		if got, err := repository.Get(t.Context(), pull.Number); err != nil || got.State != forge.StateMerged {
			t.Errorf("with approval: %+v, %v", got, err)
		}
	})
	t.Run("auto-merge waits for the status", func(t *testing.T) {
		pull := open(t, "auto")
		env.Protect(t, "stage/auto", map[string]any{"enable_push": false, "enable_status_check": true, "status_check_contexts": []string{"lockage/auto"}})
		status := forge.Status{Context: "lockage/auto", State: forge.Pending}
		if _, err := repository.SetStatus(t.Context(), pull.Head.Commit, status); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := repository.AutoMerge(t.Context(), pull.PullRequest); err != nil {
				t.Fatal(err)
			}
		}
		if now, err := repository.Get(t.Context(), pull.Number); err != nil || now.State != forge.StateOpen {
			t.Fatalf("before the status: %+v, %v", now, err)
		}
		status.State = forge.Success
		if _, err := repository.SetStatus(t.Context(), pull.Head.Commit, status); err != nil {
			t.Fatal(err)
		}
		eventually(func() bool {
			now, err := repository.Get(t.Context(), pull.Number)
			return err == nil && now.State == forge.StateMerged
		})
	})
}

func giteaForgeRefusals(t *testing.T, g *giteaServer) {
	env := g.Repo(t, "refusals")
	head := env.Push(t, "review/x", "main", map[string]string{"app.yaml": "a: 2\n"})
	request := forge.Request{Head: "review/x", Base: "main", Commit: head, Title: "x"}
	for name, token := range map[string]string{"no such token": "0123456789abcdef0123456789abcdef01234567"} {
		repository, _ := openForge(t, env, giteaUser{Token: token})
		_, err := repository.Ensure(t.Context(), request)
		if err == nil || strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), "token") {
			t.Errorf("%s: %v", name, err)
		}
	}
	repository, _ := openForge(t, env, g.Admin)
	request.Head = "review/absent"
	if _, err := repository.Ensure(t.Context(), request); err == nil || !strings.Contains(err.Error(), "review/absent") {
		t.Errorf("absent head: %v", err)
	}
	absent, err := forge.Open(t.Context(), g.URL+"/acme/absent.git", forge.Options{Kind: forge.Gitea, Token: g.Admin.Token})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := absent.Ensure(t.Context(), request); err == nil || !strings.Contains(err.Error(), "acme/absent") {
		t.Errorf("absent repository: %v", err)
	}
}
