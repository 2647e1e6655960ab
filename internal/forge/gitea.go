package forge

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"code.gitea.io/sdk/gitea"
	"github.com/gobwas/glob"
)

// giteaPage is the default maximum of entries in one response of Gitea.
const giteaPage = 50

// maxLooked bounds the pull requests that are looked at for the newest closed one between two branches.
const maxLooked = 10 * giteaPage

const labelColor = "#1d76db"

// giteaForge speaks the API of Gitea and Forgejo, version 1: https://docs.gitea.com/api/1.26/.
type giteaForge struct {
	countedReviews
	http        *http.Client
	root        string
	owner, name string
}

var giteaFamily = family{
	kind:      Gitea,
	hosts:     []string{"gitea.com", "codeberg.org"},
	tokens:    []string{"GITEA_TOKEN", "FORGEJO_TOKEN"},
	access:    "the scopes write:repository and write:issue",
	maxText:   1_000_000, // it has no limit of its own
	sign:      "#",
	below:     true,
	version:   "/api/v1/version",
	commit:    "/commit/",
	recognise: answer.hasVersion,
	compare:   func(page *url.URL, base, head string) { page.Path += "/compare/" + base + "..." + head },
	api:       func(*url.URL, bool) {},
	connect: func(client *http.Client, api *url.URL, path string) (driver, error) {
		owner, name, _ := strings.Cut(path, "/")
		return &giteaForge{http: client, root: strings.TrimSuffix(api.String(), "/"), owner: owner, name: name}, nil
	},
}

func giteaNext(r *gitea.Response) int { return r.NextPage }

// client returns a client for a single request, since the library's holds its context. It does not ask for the version:
// every Gitea since 1.22 and every Forgejo since 7 has what we use.
func (g *giteaForge) client(ctx context.Context) *gitea.Client {
	client, err := gitea.NewClient(g.root, gitea.SetGiteaVersion(""), gitea.SetHTTPClient(g.http), gitea.SetContext(ctx))
	if err != nil {
		panic("forge: gitea.NewClient fails without a request: " + err.Error())
	}
	return client
}

// find asks for the pair of branches. Gitea returns the oldest pull request: if it is closed, a newer one may be listed.
func (g *giteaForge) find(ctx context.Context, head, base string) ([]PullRequest, error) {
	best, err := g.one(g.client(ctx).GetPullRequestByBaseHead(g.owner, g.name, base, head))
	if hasStatus(err, http.StatusNotFound) {
		return nil, nil
	}
	oldest, looked := best.Number, 0
	for _, state := range []gitea.StateType{gitea.StateOpen, gitea.StateAll} {
		if err != nil || best.State == StateOpen {
			break
		}
		for pull, err := range g.pulls(ctx, state) { // the newest come first
			if err != nil {
				return nil, err
			}
			if looked++; pull.Number <= oldest || looked == maxLooked {
				break
			}
			if pull.Head.Name == head && pull.Base.Name == base {
				best = pull
				break
			}
		}
	}
	if err == nil {
		best, err = g.withHead(ctx, best)
	}
	best.Head.Name, best.Base.Name = head, base // Gitea has another name for a branch that is gone
	return []PullRequest{best}, err
}

// merged asks for the pull request of the commit. Of a branch that is gone Gitea has another name.
func (g *giteaForge) merged(ctx context.Context, head, base, commit string) ([]PullRequest, error) {
	pull, err := g.one(g.client(ctx).GetCommitPullRequest(g.owner, g.name, commit))
	if hasStatus(err, http.StatusNotFound) {
		return nil, nil
	}
	if err == nil && pull.Head.Name == fmt.Sprintf("refs/pull/%d/head", pull.Number) {
		pull.Head.Name = head
	}
	if err == nil {
		pull, err = g.withHead(ctx, pull)
	}
	return []PullRequest{pull}, err
}

// withHead sets the last head of a pull request that is not open, "" if it is gone. Gitea shows the branch's tip, which may have moved
// since.
func (g *giteaForge) withHead(ctx context.Context, pull PullRequest) (PullRequest, error) {
	if pull.State == StateOpen {
		return pull, nil
	}
	ref, _, err := g.client(ctx).GetRepoRef(g.owner, g.name, fmt.Sprintf("pull/%d/head", pull.Number))
	pull.Head.Commit = ""
	if hasStatus(err, http.StatusNotFound) {
		return pull, nil
	}
	if err == nil && ref.Object != nil {
		pull.Head.Commit = ref.Object.SHA
	}
	return pull, err
}

// pulls reads the pull requests of a state, except those of forks.
func (g *giteaForge) pulls(ctx context.Context, state gitea.StateType) iter.Seq2[PullRequest, error] {
	return pages(giteaNext, func(page int) ([]PullRequest, *gitea.Response, error) {
		entries, response, err := g.client(ctx).ListRepoPullRequests(g.owner, g.name, gitea.ListPullRequestsOptions{
			State: state, ListOptions: gitea.ListOptions{Page: page, PageSize: giteaPage},
		})
		var out []PullRequest
		for _, entry := range entries {
			if entry.Head != nil && entry.Base != nil && entry.Head.RepoID == entry.Base.RepoID {
				out = append(out, g.pull(entry))
			}
		}
		return out, response, err
	})
}

func (g *giteaForge) list(ctx context.Context) ([]PullRequest, error) {
	return collect(g.pulls(ctx, gitea.StateOpen))
}

func (g *giteaForge) pull(pull *gitea.PullRequest) PullRequest {
	out := PullRequest{
		Number: int(pull.Index),
		URL:    pull.HTMLURL,
		State:  StateOpen,
		Title:  pull.Title, Body: pull.Body,
		Draft:  pull.Draft,
		Labels: convert(pull.Labels, func(label *gitea.Label) string { return label.Name }),
		reviewers: slices.Concat(convert(pull.RequestedReviewers, func(user *gitea.User) string { return user.UserName }),
			convert(pull.RequestedReviewersTeams, func(team *gitea.Team) string { return g.owner + "/" + team.Name })),
	}
	if pull.Head != nil {
		out.Head = Branch{pull.Head.Ref, pull.Head.Sha}
	}
	if pull.Base != nil {
		out.Base = Branch{pull.Base.Ref, pull.Base.Sha}
		if pull.Base.Repository != nil {
			out.style = string(pull.Base.Repository.DefaultMergeStyle)
		}
	}
	if pull.Poster != nil {
		out.Author = pull.Poster.UserName
	}
	out.cutDraftMark()
	switch {
	case pull.HasMerged:
		out.State = StateMerged
		if pull.MergedCommitID != nil {
			out.MergeCommit = *pull.MergedCommitID
		}
	case pull.State == gitea.StateClosed:
		out.State = StateClosed
	}
	return out
}

// one converts the response to a request for one pull request.
func (g *giteaForge) one(pull *gitea.PullRequest, _ *gitea.Response, err error) (PullRequest, error) {
	if err != nil {
		return PullRequest{}, err
	}
	return g.pull(pull), nil
}

func (g *giteaForge) get(ctx context.Context, number int) (PullRequest, error) {
	pull, err := g.one(g.client(ctx).GetPullRequest(g.owner, g.name, int64(number)))
	if err != nil {
		return pull, err
	}
	return g.withHead(ctx, pull)
}

// create lists pull requests afterwards: two concurrent requests may open two on Gitea. All but the first are closed, by
// each process that sees them.
func (g *giteaForge) create(ctx context.Context, request Request) (PullRequest, error) {
	title := request.Title
	if request.Draft {
		title = "WIP: " + title
	}
	created, err := g.one(g.client(ctx).CreatePullRequest(g.owner, g.name, gitea.CreatePullRequestOption{
		Head: request.Head, Base: request.Base, Title: title, Body: request.Body,
	}))
	if hasStatus(err, http.StatusConflict) {
		return PullRequest{}, errExists
	}
	if err != nil {
		return PullRequest{}, err
	}
	all, err := g.list(ctx)
	if err != nil {
		return PullRequest{}, err
	}
	all = append(slices.DeleteFunc(all, func(pull PullRequest) bool {
		return pull.Head.Name != request.Head || pull.Base.Name != request.Base
	}), created)
	first := slices.MinFunc(all, func(a, b PullRequest) int { return a.Number - b.Number })
	for _, pull := range all {
		if pull.Number != first.Number {
			if _, err := g.edit(ctx, pull, change{state: StateClosed}); err != nil {
				return PullRequest{}, err
			}
		}
	}
	return first, nil
}

func (g *giteaForge) edit(ctx context.Context, old PullRequest, change change) (PullRequest, error) {
	option := gitea.EditPullRequestOption{Body: change.body}
	if change.title != nil {
		option.Title = *change.title
	}
	if state := gitea.StateType(change.state); state != "" {
		option.State = &state
	}
	return g.one(g.client(ctx).EditPullRequest(g.owner, g.name, int64(old.Number), option))
}

// addLabels looks up the ids of labels, which belong to the repository, and creates missing ones.
func (g *giteaForge) addLabels(ctx context.Context, pull PullRequest, labels []string) error {
	known := map[string]int64{}
	for label, err := range pages(giteaNext, func(page int) ([]*gitea.Label, *gitea.Response, error) {
		return g.client(ctx).ListRepoLabels(g.owner, g.name, gitea.ListLabelsOptions{
			ListOptions: gitea.ListOptions{Page: page, PageSize: giteaPage},
		})
	}) {
		if err != nil {
			return err
		}
		known[strings.ToLower(label.Name)] = label.ID
	}
	var ids []int64
	for _, name := range labels {
		id, ok := known[strings.ToLower(name)]
		if !ok {
			label, _, err := g.client(ctx).CreateLabel(g.owner, g.name, gitea.CreateLabelOption{Name: name, Color: labelColor})
			if err != nil {
				return err
			}
			id = label.ID
		}
		ids = append(ids, id)
	}
	_, _, err := g.client(ctx).AddIssueLabels(g.owner, g.name, int64(pull.Number), gitea.IssueLabelsOption{Labels: ids})
	return err
}

func (g *giteaForge) ask(ctx context.Context, pull PullRequest, users, teams []string) error {
	_, err := g.client(ctx).CreateReviewRequests(g.owner, g.name, int64(pull.Number), gitea.PullReviewRequestOptions{
		Reviewers: users, TeamReviewers: teams,
	})
	return err
}

func (g *giteaForge) autoMerge(ctx context.Context, pull PullRequest) (bool, error) {
	_, _, err := g.client(ctx).MergePullRequest(g.owner, g.name, int64(pull.Number), gitea.MergePullRequestOption{
		Style: gitea.MergeStyle(cmp.Or(pull.style, string(gitea.MergeStyleMerge))), HeadCommitId: pull.Head.Commit, MergeWhenChecksSucceed: true,
	})
	if hasStatus(err, http.StatusConflict) && strings.Contains(err.Error(), "already scheduled") {
		return true, nil
	}
	return !hasStatus(err, http.StatusMethodNotAllowed) || !strings.Contains(err.Error(), "try again later"), err
}

func (g *giteaForge) landed(ctx context.Context, pull PullRequest, commit string) error {
	_, _, err := g.client(ctx).MergePullRequest(g.owner, g.name, int64(pull.Number), gitea.MergePullRequestOption{
		Style: gitea.MergeStyleManuallyMerged, MergeCommitID: commit,
	})
	return err
}

func (g *giteaForge) reviews(ctx context.Context, pull PullRequest) ([]review, error) {
	verdicts := map[gitea.ReviewStateType]verdict{gitea.ReviewStateApproved: approved, gitea.ReviewStateRequestChanges: rejected}
	all, err := collect(pages(giteaNext, func(page int) ([]*gitea.PullReview, *gitea.Response, error) {
		return g.client(ctx).ListPullReviews(g.owner, g.name, int64(pull.Number), gitea.ListPullReviewsOptions{
			ListOptions: gitea.ListOptions{Page: page, PageSize: giteaPage},
		})
	}))
	var out []review
	for _, entry := range all {
		if entry.Reviewer == nil || entry.State == gitea.ReviewStateRequestReview || entry.State == gitea.ReviewStatePending {
			continue // a team; a request; a pending review
		}
		verdict := verdicts[entry.State]
		if entry.Dismissed && verdict != commented {
			verdict = dismissed
		}
		out = append(out, review{
			user: entry.Reviewer.UserName, verdict: verdict, commit: entry.CommitID, time: entry.Submitted, order: entry.ID,
			counts: entry.Official, // its user may write, or is named by the branch's protection
		})
	}
	return out, err
}

func (g *giteaForge) member(ctx context.Context, owner, team, user string) (bool, error) {
	for found, err := range pages(giteaNext, func(page int) ([]*gitea.Team, *gitea.Response, error) {
		return g.client(ctx).SearchOrgTeams(owner, &gitea.SearchTeamsOptions{ListOptions: gitea.ListOptions{Page: page, PageSize: giteaPage}, Query: team})
	}) {
		if hasStatus(err, http.StatusNotFound) {
			return false, nil // the owner is a user
		}
		if err != nil {
			return false, err
		}
		if !strings.EqualFold(found.Name, team) {
			continue
		}
		_, _, err := g.client(ctx).GetTeamMember(found.ID, user)
		if hasStatus(err, http.StatusNotFound) {
			return false, nil
		}
		return err == nil, err
	}
	return false, nil
}

func (g *giteaForge) comments(ctx context.Context, number int) ([]comment, error) {
	all, _, err := g.client(ctx).ListIssueComments(g.owner, g.name, int64(number), gitea.ListIssueCommentOptions{}) // has no pages
	return convert(all, func(entry *gitea.Comment) comment { return comment{entry.ID, entry.Body} }), err
}

func (g *giteaForge) addComment(ctx context.Context, number int, body string) error {
	_, _, err := g.client(ctx).CreateIssueComment(g.owner, g.name, int64(number), gitea.CreateIssueCommentOption{Body: body})
	return err
}

func (g *giteaForge) editComment(ctx context.Context, _ int, id int64, body string) error {
	_, _, err := g.client(ctx).EditIssueComment(g.owner, g.name, id, gitea.EditIssueCommentOption{Body: body})
	return err
}

func (g *giteaForge) status(ctx context.Context, commit, name string) (Status, bool, error) {
	combined, _, err := g.client(ctx).GetCombinedStatus(g.owner, g.name, commit)
	if err != nil {
		return Status{}, false, err
	}
	for _, status := range combined.Statuses { // the last one of each context
		if status.Context == name {
			return Status{name, StatusState(status.State), status.Description, status.TargetURL}, true, nil
		}
	}
	return Status{}, false, nil
}

func (g *giteaForge) setStatus(ctx context.Context, commit string, status Status) error {
	_, _, err := g.client(ctx).CreateStatus(g.owner, g.name, commit, gitea.CreateStatusOption{
		State: gitea.StatusState(status.State), Context: status.Context, Description: status.Description, TargetURL: status.URL,
	})
	return err
}

// giteaRule is a rule as Gitea 1.23 has it; the library knows less of it.
type giteaRule struct {
	gitea.BranchProtection
	EnableForcePush bool `json:"enable_force_push"`
}

// protection reads all rules, which have no pages. Of several that match a branch the first one counts.
func (g *giteaForge) protection(ctx context.Context, branches []string) ([]Protection, error) {
	repository, _, err := g.client(ctx).GetRepo(g.owner, g.name)
	if err != nil {
		return nil, err
	}
	rules, err := g.rules(ctx)
	if err != nil {
		return nil, err
	}
	return convert(branches, func(branch string) Protection {
		p := unprotected()
		if i := slices.IndexFunc(rules, func(r giteaRule) bool { return r.covers(branch) }); i >= 0 {
			p = rules[i].protection()
		}
		p.Rebase = repository.AllowRebase || repository.AllowFastForwardOnlyMerge
		return p
	}), nil
}

func (g *giteaForge) rules(ctx context.Context) (rules []giteaRule, err error) {
	at := fmt.Sprintf("%s/api/v1/repos/%s/%s/branch_protections", g.root, url.PathEscape(g.owner), url.PathEscape(g.name))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	response, err := g.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return rules, json.NewDecoder(response.Body).Decode(&rules)
}

// covers reports whether the rule is about a branch: it names it, or is a pattern whose * ends at a slash.
func (r giteaRule) covers(branch string) bool {
	pattern, err := glob.Compile(r.RuleName, '/')
	return r.RuleName == branch || err == nil && pattern.Match(branch)
}

func (r giteaRule) protection() Protection {
	p := Protection{Covered: true, Force: r.EnableForcePush, Anybody: r.EnablePush && !r.EnablePushWhitelist}
	if r.EnablePush && r.EnablePushWhitelist {
		p.Pushers = slices.Concat(r.PushWhitelistUsernames, r.PushWhitelistTeams)
		if r.PushWhitelistDeployKeys {
			p.Pushers = append(p.Pushers, "deploy keys")
		}
	}
	return p
}
