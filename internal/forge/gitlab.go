package forge

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/glob"
	gitlab "gitlab.com/gitlab-org/api/client-go"
)

// gitLab uses GitLab's REST API, version 4: https://docs.gitlab.com/api/rest/.
type gitLab struct {
	detectsMerges
	countedReviews
	client  *gitlab.Client
	project string
}

var gitLabFamily = family{
	kind:      GitLab,
	hosts:     []string{"gitlab.com"},
	tokens:    []string{"GITLAB_TOKEN"},
	access:    "the scope api and the role Developer",
	maxText:   1_000_000, // of notes; descriptions may be a little longer
	sign:      "!",
	nested:    true,
	version:   "/api/v4/version",
	commit:    "/-/commit/",
	recognise: func(a answer) bool { return a.hasVersion() || a.status == http.StatusUnauthorized && a.object },
	compare: func(page *url.URL, base, head string) {
		page.Path += "/-/merge_requests/new"
		page.RawQuery = url.Values{"merge_request[source_branch]": {head}, "merge_request[target_branch]": {base}}.Encode()
	},
	api: func(root *url.URL, _ bool) { root.Path += "/api/v4" },
	connect: func(client *http.Client, api *url.URL, path string) (driver, error) {
		// The token and all waiting are our transport's.
		gl, err := gitlab.NewAuthSourceClient(gitlab.AccessTokenAuthSource{Token: "unused"}, gitlab.WithBaseURL(api.String()),
			gitlab.WithHTTPClient(client), gitlab.WithoutRetries(), gitlab.WithCustomLimiter(unlimited{}))
		return &gitLab{client: gl, project: path}, err
	},
}

func gitLabNext(r *gitlab.Response) int { return r.NextPage }

type unlimited struct{}

func (unlimited) Wait(context.Context) error { return nil }

func (g *gitLab) find(ctx context.Context, head, base string) ([]PullRequest, error) {
	all, _, err := g.client.MergeRequests.ListProjectMergeRequests(g.project, &gitlab.ListProjectMergeRequestsOptions{
		ListOptions: gitlab.ListOptions{PerPage: pageSize}, State: gitlab.Ptr("all"),
		SourceBranch: &head, TargetBranch: &base, OrderBy: gitlab.Ptr("created_at"), Sort: gitlab.Ptr("desc"),
	}, gitlab.WithContext(ctx))
	return g.pulls(all), err
}

func (g *gitLab) merged(ctx context.Context, head, base, _ string) ([]PullRequest, error) {
	return g.find(ctx, head, base)
}

// pulls leaves out those of forks.
func (g *gitLab) pulls(all []*gitlab.BasicMergeRequest) []PullRequest {
	all = slices.DeleteFunc(all, func(request *gitlab.BasicMergeRequest) bool {
		return request.SourceProjectID != request.TargetProjectID
	})
	return convert(all, func(request *gitlab.BasicMergeRequest) PullRequest { return g.pull(request, "") })
}

func (g *gitLab) pull(request *gitlab.BasicMergeRequest, base string) PullRequest {
	out := PullRequest{
		Number: request.IID,
		URL:    request.WebURL,
		State:  StateOpen,
		Head:   Branch{request.SourceBranch, request.SHA},
		Base:   Branch{request.TargetBranch, base},
		Title:  request.Title, Body: request.Description,
		Draft:     request.Draft,
		Labels:    request.Labels,
		AutoMerge: request.MergeWhenPipelineSucceeds,
		reviewers: convert(request.Reviewers, func(user *gitlab.BasicUser) string { return user.Username }),
	}
	if request.Author != nil {
		out.Author = request.Author.Username
	}
	out.cutDraftMark()
	switch request.State {
	case "merged":
		out.State, out.MergeCommit = StateMerged, cmp.Or(request.MergeCommitSHA, request.SquashCommitSHA)
	case "closed": // and «locked» is one that is being merged
		out.State = StateClosed
	}
	return out
}

// one converts the response to a request for one merge request.
func (g *gitLab) one(request *gitlab.MergeRequest, _ *gitlab.Response, err error) (PullRequest, error) {
	if err != nil {
		return PullRequest{}, err
	}
	return g.pull(&request.BasicMergeRequest, request.DiffRefs.StartSha), nil
}

func (g *gitLab) get(ctx context.Context, number int) (PullRequest, error) {
	return g.one(g.client.MergeRequests.GetMergeRequest(g.project, number, nil, gitlab.WithContext(ctx)))
}

func (g *gitLab) create(ctx context.Context, request Request) (PullRequest, error) {
	title := request.Title
	if request.Draft {
		title = "Draft: " + title
	}
	options := &gitlab.CreateMergeRequestOptions{
		Title: &title, Description: &request.Body, SourceBranch: &request.Head, TargetBranch: &request.Base,
	}
	if len(request.Labels) > 0 {
		options.Labels = (*gitlab.LabelOptions)(&request.Labels)
	}
	pull, err := g.one(g.client.MergeRequests.CreateMergeRequest(g.project, options, gitlab.WithContext(ctx)))
	if hasStatus(err, http.StatusConflict) {
		err = errExists
	}
	return pull, err
}

func (g *gitLab) update(ctx context.Context, number int, options *gitlab.UpdateMergeRequestOptions) (PullRequest, error) {
	return g.one(g.client.MergeRequests.UpdateMergeRequest(g.project, number, options, gitlab.WithContext(ctx)))
}

func (g *gitLab) edit(ctx context.Context, pull PullRequest, change change) (PullRequest, error) {
	options := &gitlab.UpdateMergeRequestOptions{Title: change.title, Description: change.body}
	if change.state == StateClosed {
		options.StateEvent = gitlab.Ptr("close")
	}
	return g.update(ctx, pull.Number, options)
}

func (g *gitLab) addLabels(ctx context.Context, pull PullRequest, labels []string) error {
	_, err := g.update(ctx, pull.Number, &gitlab.UpdateMergeRequestOptions{AddLabels: (*gitlab.LabelOptions)(&labels)})
	return err
}

// ask looks up the ids of all reviewers, new and old, since GitLab takes ids and replaces the list.
func (g *gitLab) ask(ctx context.Context, pull PullRequest, users, teams []string) error {
	if teams != nil {
		return &Error{Status: http.StatusUnprocessableEntity, Message: "groups cannot be reviewers: name their users"}
	}
	var ids []int
	for _, name := range append(pull.reviewers, users...) {
		found, _, err := g.client.Users.ListUsers(&gitlab.ListUsersOptions{Username: &name}, gitlab.WithContext(ctx))
		if err != nil {
			return err
		}
		if len(found) != 1 {
			return &Error{Status: http.StatusNotFound, Message: "no user is named " + name}
		}
		ids = append(ids, found[0].ID)
	}
	_, err := g.update(ctx, pull.Number, &gitlab.UpdateMergeRequestOptions{ReviewerIDs: &ids})
	return err
}

func (g *gitLab) autoMerge(ctx context.Context, pull PullRequest) (bool, error) {
	_, _, err := g.client.MergeRequests.AcceptMergeRequest(g.project, pull.Number, &gitlab.AcceptMergeRequestOptions{
		// Servers before 17.11 know the older name only, later ones know both.
		SHA: &pull.Head.Commit, AutoMerge: gitlab.Ptr(true), MergeWhenPipelineSucceeds: gitlab.Ptr(true),
	}, gitlab.WithContext(ctx))
	if !hasStatus(err, http.StatusMethodNotAllowed, http.StatusUnprocessableEntity) {
		return true, err
	}
	now, _, getErr := g.client.MergeRequests.GetMergeRequest(g.project, pull.Number, nil, gitlab.WithContext(ctx))
	return getErr != nil || !slices.Contains(beingChecked, now.DetailedMergeStatus), err
}

// beingChecked are the transient merge statuses.
var beingChecked = []string{"unchecked", "checking", "preparing", "approvals_syncing"}

// reviews combines three sources of GitLab: the approvers, the times of their approvals, and the head at that time.
func (g *gitLab) reviews(ctx context.Context, pull PullRequest) ([]review, error) {
	approvals, _, err := g.client.MergeRequestApprovals.GetConfiguration(g.project, pull.Number, gitlab.WithContext(ctx))
	if err != nil || len(approvals.ApprovedBy) == 0 {
		return nil, err
	}
	notes, err := g.notes(ctx, pull.Number)
	if err != nil {
		return nil, err
	}
	versions, err := collect(pages(gitLabNext, func(page int) ([]*gitlab.MergeRequestDiffVersion, *gitlab.Response, error) {
		return g.client.MergeRequests.GetMergeRequestDiffVersions(g.project, pull.Number,
			&gitlab.GetMergeRequestDiffVersionsOptions{Page: page, PerPage: pageSize}, gitlab.WithContext(ctx))
	}))
	if err != nil {
		return nil, err
	}
	var out []review
	for _, approval := range approvals.ApprovedBy {
		if approval.User == nil {
			continue
		}
		entry := review{user: approval.User.Username, verdict: approved, counts: true} // only members can approve
		for _, note := range notes {
			if note.System && note.CreatedAt != nil && note.Author.Username == entry.user &&
				note.Body == "approved this merge request" && note.CreatedAt.After(entry.time) {
				entry.time = *note.CreatedAt
			}
		}
		entry.commit = headAt(versions, entry.time)
		out = append(out, entry)
	}
	return out, nil
}

// headAt returns the head of the newest version before a time, which excludes a push in progress.
func headAt(versions []*gitlab.MergeRequestDiffVersion, at time.Time) string {
	var head string
	var newest time.Time
	for _, version := range versions {
		if version.CreatedAt != nil && version.CreatedAt.Before(at) && version.CreatedAt.After(newest) {
			newest, head = *version.CreatedAt, version.HeadCommitSHA
		}
	}
	return head
}

func (g *gitLab) member(ctx context.Context, owner, team, user string) (bool, error) {
	found, _, err := g.client.Groups.ListAllGroupMembers(owner+"/"+team, &gitlab.ListGroupMembersOptions{
		Query: &user, ListOptions: gitlab.ListOptions{PerPage: pageSize},
	}, gitlab.WithContext(ctx))
	if hasStatus(err, http.StatusNotFound) {
		return false, nil
	}
	return slices.ContainsFunc(found, func(m *gitlab.GroupMember) bool {
		return strings.EqualFold(m.Username, user) && m.State == "active"
	}), err
}

func (g *gitLab) notes(ctx context.Context, number int) ([]*gitlab.Note, error) {
	return collect(pages(gitLabNext, func(page int) ([]*gitlab.Note, *gitlab.Response, error) {
		return g.client.Notes.ListMergeRequestNotes(g.project, number, &gitlab.ListMergeRequestNotesOptions{
			ListOptions: gitlab.ListOptions{Page: page, PerPage: pageSize}, OrderBy: gitlab.Ptr("created_at"), Sort: gitlab.Ptr("asc"),
		}, gitlab.WithContext(ctx))
	}))
}

func (g *gitLab) comments(ctx context.Context, number int) ([]comment, error) {
	notes, err := g.notes(ctx, number)
	notes = slices.DeleteFunc(notes, func(note *gitlab.Note) bool { return note.System })
	return convert(notes, func(note *gitlab.Note) comment { return comment{int64(note.ID), note.Body} }), err
}

func (g *gitLab) addComment(ctx context.Context, number int, body string) error {
	_, _, err := g.client.Notes.CreateMergeRequestNote(g.project, number, &gitlab.CreateMergeRequestNoteOptions{Body: &body}, gitlab.WithContext(ctx))
	return err
}

func (g *gitLab) editComment(ctx context.Context, number int, id int64, body string) error {
	_, _, err := g.client.Notes.UpdateMergeRequestNote(g.project, number, int(id), &gitlab.UpdateMergeRequestNoteOptions{Body: &body}, gitlab.WithContext(ctx))
	return err
}

func (g *gitLab) status(ctx context.Context, commit, name string) (Status, bool, error) {
	entries, _, err := g.client.Commits.GetCommitStatuses(g.project, commit, &gitlab.GetCommitStatusesOptions{
		ListOptions: gitlab.ListOptions{PerPage: pageSize}, Name: &name,
	}, gitlab.WithContext(ctx))
	if err != nil {
		return Status{}, false, err
	}
	entries = slices.DeleteFunc(entries, func(entry *gitlab.CommitStatus) bool { return entry.Name != name })
	if len(entries) == 0 {
		return Status{}, false, nil
	}
	last := slices.MaxFunc(entries, func(a, b *gitlab.CommitStatus) int { return cmp.Compare(a.ID, b.ID) })
	state := StatusState(last.Status)
	if state == "failed" {
		state = Failure
	}
	return Status{name, state, last.Description, last.TargetURL}, true, nil
}

func (g *gitLab) setStatus(ctx context.Context, commit string, status Status) error {
	state := gitlab.BuildStateValue(status.State)
	if status.State == Failure {
		state = gitlab.Failed
	}
	options := &gitlab.SetCommitStatusOptions{State: state, Name: &status.Context, Description: &status.Description}
	if status.URL != "" {
		options.TargetURL = &status.URL
	}
	_, _, err := g.client.Commits.SetCommitStatus(g.project, commit, options, gitlab.WithContext(ctx))
	if status.State == Pending && hasStatus(err, http.StatusBadRequest) && strings.Contains(err.Error(), "Cannot transition status") {
		return nil // it is pending already
	}
	return err
}

// protection reads all protected branches. Of several that match a branch the most permissive counts; nobody deletes any of them by a push.
func (g *gitLab) protection(ctx context.Context, branches []string) ([]Protection, error) {
	project, _, err := g.client.Projects.GetProject(g.project, nil, gitlab.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	rules, err := collect(pages(gitLabNext, func(page int) ([]*gitlab.ProtectedBranch, *gitlab.Response, error) {
		return g.client.ProtectedBranches.ListProtectedBranches(g.project, &gitlab.ListProtectedBranchesOptions{
			ListOptions: gitlab.ListOptions{Page: page, PerPage: pageSize},
		}, gitlab.WithContext(ctx))
	}))
	return convert(branches, func(branch string) Protection {
		p := unprotected()
		for _, rule := range rules {
			if pattern, err := glob.Compile(strings.ReplaceAll(glob.QuoteMeta(rule.Name), `\*`, "*")); rule.Name == branch || err == nil && pattern.Match(branch) {
				p.allow(rule)
			}
		}
		p.Rebase = project.MergeMethod == gitlab.FastForwardMerge
		return p
	}), err
}

// allow adds what a rule of GitLab allows.
func (p *Protection) allow(rule *gitlab.ProtectedBranch) {
	if !p.Covered {
		*p = Protection{Covered: true}
	}
	p.Force = p.Force || rule.AllowForcePush
	for _, access := range rule.PushAccessLevels {
		switch named := access.UserID != 0 || access.GroupID != 0 || access.DeployKeyID != 0; {
		case named || access.AccessLevel > gitlab.DeveloperPermissions:
			p.Pushers = append(p.Pushers, access.AccessLevelDescription)
		case access.AccessLevel == gitlab.DeveloperPermissions:
			p.Anybody = true
		}
	}
}
