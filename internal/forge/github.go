package forge

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-github/v73/github"

	"github.com/lockage/lockage/internal/terminal"
)

// gitHub uses GitHub's REST API, and GraphQL for what REST lacks: https://docs.github.com/rest and /graphql.
type gitHub struct {
	detectsMerges
	client      *github.Client
	owner, name string
}

var gitHubFamily = family{
	kind:      GitHub,
	hosts:     []string{"github.com", ".ghe.com"},
	tokens:    []string{"GITHUB_TOKEN", "GH_TOKEN"},
	access:    "read and write access to pull requests, issues and commit statuses",
	maxText:   65_536,
	sign:      "#",
	version:   "/api/v3/meta",
	commit:    "/commit/",
	recognise: func(a answer) bool { return a.header.Get("X-GitHub-Enterprise-Version") != "" },
	compare: func(page *url.URL, base, head string) {
		page.Path += "/compare/" + base + "..." + head
		page.RawQuery = "expand=1"
	},
	api: func(root *url.URL, wellKnown bool) {
		if wellKnown {
			root.Host, root.Path = "api."+root.Host, ""
		} else {
			root.Path += "/api/v3"
		}
	},
	connect: func(client *http.Client, api *url.URL, path string) (driver, error) {
		g := &gitHub{client: github.NewClient(client)}
		g.client.BaseURL = api
		g.owner, g.name, _ = strings.Cut(path, "/")
		return g, nil
	},
}

func gitHubNext(r *github.Response) int { return r.NextPage }

// limits leaves rate limits to our transport.
func (g *gitHub) limits(ctx context.Context) context.Context {
	return context.WithValue(ctx, github.BypassRateLimitCheck, true)
}

func (g *gitHub) find(ctx context.Context, head, base string) ([]PullRequest, error) {
	all, _, err := g.client.PullRequests.List(g.limits(ctx), g.owner, g.name, &github.PullRequestListOptions{
		State: "all", Head: g.owner + ":" + head, Base: base, Sort: "created", Direction: "desc",
		ListOptions: github.ListOptions{PerPage: pageSize},
	})
	return g.pulls(all), err
}

func (g *gitHub) merged(ctx context.Context, head, base, _ string) ([]PullRequest, error) {
	return g.find(ctx, head, base)
}

// pulls leaves out those of forks, and of forks that are gone.
func (g *gitHub) pulls(all []*github.PullRequest) []PullRequest {
	return convert(slices.DeleteFunc(all, func(pull *github.PullRequest) bool {
		return pull.GetHead().GetRepo().GetID() != pull.GetBase().GetRepo().GetID()
	}), g.pull)
}

func (g *gitHub) pull(pull *github.PullRequest) PullRequest {
	out := PullRequest{
		Number: pull.GetNumber(),
		URL:    pull.GetHTMLURL(),
		State:  StateOpen,
		Head:   Branch{pull.GetHead().GetRef(), pull.GetHead().GetSHA()},
		Base:   Branch{pull.GetBase().GetRef(), pull.GetBase().GetSHA()},
		Title:  pull.GetTitle(), Body: pull.GetBody(),
		Draft:     pull.GetDraft(),
		Author:    pull.GetUser().GetLogin(),
		AutoMerge: pull.AutoMerge != nil,
		Labels:    convert(pull.Labels, (*github.Label).GetName),
		id:        pull.GetNodeID(),
		reviewers: slices.Concat(convert(pull.RequestedReviewers, (*github.User).GetLogin),
			convert(pull.RequestedTeams, func(team *github.Team) string { return g.owner + "/" + team.GetSlug() })),
	}
	switch {
	case pull.MergedAt != nil:
		out.State, out.MergeCommit = StateMerged, pull.GetMergeCommitSHA()
	case pull.GetState() == "closed":
		out.State = StateClosed
	}
	return out
}

// one converts the response to a request for one pull request.
func (g *gitHub) one(pull *github.PullRequest, _ *github.Response, err error) (PullRequest, error) {
	if err != nil {
		return PullRequest{}, err
	}
	return g.pull(pull), nil
}

func (g *gitHub) get(ctx context.Context, number int) (PullRequest, error) {
	return g.one(g.client.PullRequests.Get(g.limits(ctx), g.owner, g.name, number))
}

func (g *gitHub) create(ctx context.Context, request Request) (PullRequest, error) {
	pull, err := g.one(g.client.PullRequests.Create(g.limits(ctx), g.owner, g.name, &github.NewPullRequest{
		Title: &request.Title, Head: &request.Head, Base: &request.Base, Body: &request.Body, Draft: &request.Draft,
	}))
	if hasStatus(err, http.StatusUnprocessableEntity) {
		switch words := strings.ToLower(err.Error()); {
		case strings.Contains(words, "already exists"):
			return PullRequest{}, errExists
		case request.Draft && strings.Contains(words, "draft pull requests are not supported"):
			return PullRequest{}, errNoDrafts
		}
	}
	return pull, err
}

func (g *gitHub) edit(ctx context.Context, old PullRequest, change change) (PullRequest, error) {
	edit := &github.PullRequest{Title: change.title, Body: change.body}
	if change.state != "" {
		edit.State = github.Ptr(string(change.state))
	}
	return g.one(g.client.PullRequests.Edit(g.limits(ctx), g.owner, g.name, old.Number, edit))
}

func (g *gitHub) addLabels(ctx context.Context, pull PullRequest, labels []string) error {
	_, _, err := g.client.Issues.AddLabelsToIssue(g.limits(ctx), g.owner, g.name, pull.Number, labels)
	return err
}

func (g *gitHub) ask(ctx context.Context, pull PullRequest, users, teams []string) error {
	_, _, err := g.client.PullRequests.RequestReviewers(g.limits(ctx), g.owner, g.name, pull.Number,
		github.ReviewersRequest{Reviewers: users, TeamReviewers: teams})
	return err
}

// autoMerge reads the repository's default merge method first: GitHub refuses a method that is not allowed.
func (g *gitHub) autoMerge(ctx context.Context, pull PullRequest) (bool, error) {
	var repository struct {
		Repository struct {
			ViewerDefaultMergeMethod string `json:"viewerDefaultMergeMethod"`
		} `json:"repository"`
	}
	err := g.graphQL(ctx, `query($owner: String!, $name: String!) {
		repository(owner: $owner, name: $name) { viewerDefaultMergeMethod }
	}`, map[string]any{"owner": g.owner, "name": g.name}, &repository)
	if err != nil {
		return true, err
	}
	return true, g.graphQL(ctx, `mutation($id: ID!, $method: PullRequestMergeMethod!, $head: GitObjectID!) {
		enablePullRequestAutoMerge(input: {pullRequestId: $id, mergeMethod: $method, expectedHeadOid: $head}) { clientMutationId }
	}`, map[string]any{"id": pull.id, "method": repository.Repository.ViewerDefaultMergeMethod, "head": pull.Head.Commit}, nil)
}

// graphQL sends one query to https://api.github.com/graphql or https://HOST/api/graphql.
func (g *gitHub) graphQL(ctx context.Context, query string, variables map[string]any, data any) error {
	endpoint := *g.client.BaseURL
	endpoint.Path = strings.TrimSuffix(endpoint.Path, "v3/") + "graphql"
	request, err := g.client.NewRequest(http.MethodPost, endpoint.String(), map[string]any{"query": query, "variables": variables})
	if err != nil {
		return err
	}
	answer := struct {
		Data   any `json:"data"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}{Data: data}
	if _, err := g.client.Do(g.limits(ctx), request, &answer); err != nil {
		return err
	}
	if len(answer.Errors) > 0 {
		return &Error{Status: http.StatusUnprocessableEntity, Message: terminal.Words(answer.Errors[0].Message, maxMessage)}
	}
	return nil
}

func (g *gitHub) reviews(ctx context.Context, pull PullRequest) ([]review, error) {
	verdicts := map[string]verdict{"APPROVED": approved, "CHANGES_REQUESTED": rejected, "DISMISSED": dismissed}
	all, err := collect(pages(gitHubNext, func(page int) ([]*github.PullRequestReview, *github.Response, error) {
		return g.client.PullRequests.ListReviews(g.limits(ctx), g.owner, g.name, pull.Number, &github.ListOptions{Page: page, PerPage: pageSize})
	}))
	return convert(all, func(entry *github.PullRequestReview) review {
		return review{
			user: entry.GetUser().GetLogin(), verdict: verdicts[entry.GetState()],
			commit: entry.GetCommitID(), time: entry.GetSubmittedAt().Time, order: entry.GetID(),
		}
	}), err
}

func (g *gitHub) mayApprove(ctx context.Context, review review) (bool, error) {
	level, _, err := g.client.Repositories.GetPermissionLevel(g.limits(ctx), g.owner, g.name, review.user)
	if hasStatus(err, http.StatusNotFound) {
		return false, nil // an app, or an account that is gone
	}
	permission := level.GetPermission() // «maintain» reads as write here
	return permission == "admin" || permission == "write", err
}

func (g *gitHub) member(ctx context.Context, owner, team, user string) (bool, error) {
	membership, _, err := g.client.Teams.GetTeamMembershipBySlug(g.limits(ctx), owner, team, user)
	if hasStatus(err, http.StatusNotFound) {
		return false, nil
	}
	return membership.GetState() == "active", err
}

func (g *gitHub) comments(ctx context.Context, number int) ([]comment, error) {
	all, err := collect(pages(gitHubNext, func(page int) ([]*github.IssueComment, *github.Response, error) {
		return g.client.Issues.ListComments(g.limits(ctx), g.owner, g.name, number,
			&github.IssueListCommentsOptions{ListOptions: github.ListOptions{Page: page, PerPage: pageSize}})
	}))
	return convert(all, func(entry *github.IssueComment) comment { return comment{entry.GetID(), entry.GetBody()} }), err
}

func (g *gitHub) addComment(ctx context.Context, number int, body string) error {
	_, _, err := g.client.Issues.CreateComment(g.limits(ctx), g.owner, g.name, number, &github.IssueComment{Body: &body})
	return err
}

func (g *gitHub) editComment(ctx context.Context, _ int, id int64, body string) error {
	_, _, err := g.client.Issues.EditComment(g.limits(ctx), g.owner, g.name, id, &github.IssueComment{Body: &body})
	return err
}

func (g *gitHub) status(ctx context.Context, commit, name string) (Status, bool, error) {
	for status, err := range pages(gitHubNext, func(page int) ([]*github.RepoStatus, *github.Response, error) {
		combined, response, err := g.client.Repositories.GetCombinedStatus(g.limits(ctx), g.owner, g.name, commit,
			&github.ListOptions{Page: page, PerPage: pageSize})
		if err != nil {
			return nil, nil, err
		}
		return combined.Statuses, response, nil
	}) {
		if err != nil {
			return Status{}, false, err
		}
		if status.GetContext() == name { // the last one of each context is listed
			return Status{name, StatusState(status.GetState()), status.GetDescription(), status.GetTargetURL()}, true, nil
		}
	}
	return Status{}, false, nil
}

func (g *gitHub) setStatus(ctx context.Context, commit string, status Status) error {
	out := &github.RepoStatus{Context: &status.Context, State: github.Ptr(string(status.State)), Description: &status.Description}
	if status.URL != "" {
		out.TargetURL = &status.URL
	}
	_, _, err := g.client.Repositories.CreateStatus(g.limits(ctx), g.owner, g.name, commit, out)
	return err
}

// protection asks for the rulesets of each branch, which everybody may read, and for its older protection, which administrators may. All that
// any of them forbids is forbidden.
func (g *gitHub) protection(ctx context.Context, branches []string) (all []Protection, err error) {
	repository, _, err := g.client.Repositories.Get(g.limits(ctx), g.owner, g.name)
	for _, branch := range branches {
		if err != nil {
			break
		}
		p := unprotected()
		p.Rebase = repository.GetAllowRebaseMerge()
		if err = g.rulesets(ctx, branch, &p); err == nil {
			err = g.older(ctx, branch, &p)
		}
		all = append(all, p)
	}
	return all, err
}

// rulesets takes away what rulesets forbid but to those who may bypass them.
func (g *gitHub) rulesets(ctx context.Context, branch string, p *Protection) error {
	rules, _, err := g.client.Repositories.GetRulesForBranch(g.limits(ctx), g.owner, g.name, url.PathEscape(branch), &github.ListOptions{PerPage: pageSize})
	if err != nil || rules == nil {
		return err
	}
	restricted := len(rules.Update)+len(rules.PullRequest) > 0
	p.Covered = restricted || len(rules.Creation)+len(rules.NonFastForward)+len(rules.Deletion) > 0
	p.Anybody = !restricted
	p.Force, p.Delete = len(rules.NonFastForward) == 0, len(rules.Deletion) == 0
	for _, rule := range rules.PullRequest {
		if methods := rule.Parameters.AllowedMergeMethods; len(methods) > 0 && !slices.Contains(methods, github.PullRequestMergeMethodRebase) {
			p.Rebase = false
		}
	}
	return nil
}

// older takes away what the protection of a branch forbids. A token that may not read it, to which GitHub may say that nothing is there, is enough
// where rulesets say something.
func (g *gitHub) older(ctx context.Context, branch string, p *Protection) error {
	rule, _, err := g.client.Repositories.GetBranchProtection(g.limits(ctx), g.owner, g.name, branch)
	refusal, _ := errors.AsType[*Error](err)
	switch {
	case hasStatus(err, http.StatusNotFound) && refusal.Message != "Not Found": // of the branch, or its protection
		return nil
	case hasStatus(err, http.StatusNotFound, http.StatusForbidden) && p.Covered:
		return nil
	}
	if err != nil {
		return err
	}
	p.Covered = true
	p.Force = p.Force && rule.AllowForcePushes != nil && rule.AllowForcePushes.Enabled
	p.Delete = p.Delete && rule.AllowDeletions != nil && rule.AllowDeletions.Enabled
	if only := rule.Restrictions; only != nil {
		p.Pushers = slices.Concat(convert(only.Users, (*github.User).GetLogin), convert(only.Teams, (*github.Team).GetSlug), convert(only.Apps, (*github.App).GetSlug))
	}
	p.Anybody = p.Anybody && rule.Restrictions == nil && rule.RequiredPullRequestReviews == nil
	return nil
}
