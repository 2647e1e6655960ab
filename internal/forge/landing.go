package forge

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"code.gitea.io/sdk/gitea"
	gitlab "gitlab.com/gitlab-org/api/client-go"

	"github.com/lockage/lockage/internal/terminal"
)

// openLister lists all open pull requests, whatever their base.
type openLister interface {
	listOpen(ctx context.Context) ([]PullRequest, error)
}

func (g *gitHub) listOpen(ctx context.Context) ([]PullRequest, error) { return g.list(ctx, "") }

func (g *giteaForge) listOpen(ctx context.Context) ([]PullRequest, error) {
	return pages(func(page int) ([]PullRequest, int, error) { return g.page(ctx, gitea.StateOpen, page) })
}

func (g *gitLab) listOpen(ctx context.Context) ([]PullRequest, error) {
	all, err := pages(func(page int) ([]*gitlab.BasicMergeRequest, int, error) {
		entries, response, err := g.client.MergeRequests.ListProjectMergeRequests(g.project, &gitlab.ListProjectMergeRequestsOptions{
			ListOptions: gitlab.ListOptions{Page: page, PerPage: pageSize}, State: gitlab.Ptr("opened"),
		}, gitlab.WithContext(ctx))
		if err != nil {
			return nil, 0, err
		}
		return entries, response.NextPage, nil
	})
	return g.pulls(all), err
}

// ListOpen returns the open pull requests whose head's name begins with prefix, into whatever base, newest first. One request
// for a hundred open ones, for fifty on Gitea.
func (r *Repository) ListOpen(ctx context.Context, prefix string) ([]PullRequest, error) {
	lister, ok := r.driver.(openLister)
	if !ok {
		return nil, fmt.Errorf("list pull requests on %s: a %s cannot", r, r.kind)
	}
	all, err := lister.listOpen(ctx)
	if err != nil {
		return nil, r.fail("list pull requests", err)
	}
	all = slices.DeleteFunc(all, func(pull PullRequest) bool { return !strings.HasPrefix(pull.Head.Name, prefix) })
	slices.SortFunc(all, func(a, b PullRequest) int { return b.Number - a.Number })
	return all, nil
}

// Refresh is [Repository.Ensure] for an open pull request as [Repository.ListOpen] returned it: no request where nothing is to
// do, one to update, and as many more for labels and reviewers. Where a reviewer answered already, one more finds that out.
func (r *Repository) Refresh(ctx context.Context, pull PullRequest, request Request) (Ensured, error) {
	request.Title = terminal.Words(request.Title, MaxTitle)
	what := "update pull request " + r.reference(pull.Number)
	if len(request.Body) > r.MaxBody() {
		return Ensured{}, fmt.Errorf("%s: its text has %d bytes, and %s takes %d: shorten it", what, len(request.Body), r.kind, r.MaxBody())
	}
	ensured := Ensured{PullRequest: pull, Change: Unchanged}
	if err := r.converge(ctx, request, &ensured); err != nil {
		return ensured, r.fail(what, err)
	}
	return ensured, nil
}

// landedTries bounds how often a pull request is looked at whose head was pushed into its base.
const landedTries = 3

// Landed lets a pull request be shown as merged whose head somebody pushed into its base, in the commit given. GitHub and
// GitLab see that by themselves, and are waited for a moment. Gitea is told, and may refuse, as its repositories do unless
// «mark as manually merged» is allowed. The pull request is returned as it is afterwards: a refusal leaves it open and is no
// error. Two requests, a few more where the forge is slow.
func (r *Repository) Landed(ctx context.Context, pull PullRequest, commit string) (PullRequest, error) {
	what := "show pull request " + r.reference(pull.Number) + " as merged"
	if pull.State != StateOpen {
		return pull, nil
	}
	if g, ok := r.driver.(*giteaForge); ok {
		_, _, err := g.client(ctx).MergePullRequest(g.owner, g.name, int64(pull.Number), gitea.MergePullRequestOption{
			Style: gitea.MergeStyleManuallyMerged, MergeCommitID: commit,
		})
		if refused(err) && !hasStatus(err, http.StatusNotFound) {
			return r.Get(ctx, pull.Number)
		}
		if err != nil {
			return pull, r.fail(what, err)
		}
	}
	for try := range landedTries {
		if try > 0 {
			if err := r.sleep(ctx, time.Second<<(try-1)); err != nil {
				return pull, r.fail(what, err)
			}
		}
		now, err := r.Get(ctx, pull.Number)
		if err != nil {
			return pull, err
		}
		if pull = now; pull.State != StateOpen {
			break
		}
	}
	return pull, nil
}

// CommitURL returns the page of a commit. Like [CompareURL] it makes no request and needs no token, and is empty where the
// kind of forge is not known without asking, or the repository is on none.
func CommitURL(repositoryURL, commit string, o Options) string {
	if commit == "" {
		return ""
	}
	compare := CompareURL(repositoryURL, "a", "b", o)
	if root, ok := strings.CutSuffix(compare, "/compare/a...b"); ok {
		return root + "/commit/" + commit // Gitea
	}
	if root, _, ok := strings.Cut(compare, "/compare/a...b?"); ok {
		return root + "/commit/" + commit // GitHub
	}
	if root, _, ok := strings.Cut(compare, "/-/merge_requests/new?"); ok {
		return root + "/-/commit/" + commit
	}
	return ""
}
