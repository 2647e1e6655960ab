package pullrequest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/ledger"
)

// Proposal is the content of a pull request.
type Proposal struct {
	ledger.Change        // from its review branch into its place
	Commit        string // head of the review branch
	On            string // commit of the stage branch that it is compared with
	Remote        string // URL of the repository that has both branches
	Mirror        *pipeline.Mirror
	Image         string // repository@digest

	Waits []string // names of gates that people or the clock have yet to satisfy

	// Changes compares the stage branch with the proposal. It is called if the text has to be made; see [ErrNotComparable].
	Changes func(context.Context) (diff.Changes, error)
}

// Keep opens the proposal's pull request, or brings one that was found between its branches up to date. One that was closed by hand
// with this head stays closed, and one that was merged stays merged; Keep returns either unchanged.
func Keep(ctx context.Context, f Forge, found forge.PullRequest, p Proposal) (forge.Ensured, error) {
	if found.State != "" && found.State != forge.StateOpen && found.Head.Commit == p.Commit {
		return forge.Ensured{PullRequest: found, Change: forge.Unchanged}, nil
	}
	k := keeper{f}
	request := forge.Request{
		Head: p.Review, Base: p.Branch, Commit: p.Commit, Title: p.title(),
		Labels: p.Mirror.Labels, Reviewers: p.Mirror.Reviewers, Draft: p.Mirror.Draft,
	}
	open := found.State == forge.StateOpen
	var warnings []string
	if key := k.key(p); open && sealed(key, found.Body) {
		request.Body = found.Body
	} else {
		// The status first: an up-to-date text implies that the status exists, and it is not requested again.
		_, err := f.SetStatus(ctx, p.Commit, p.status())
		if err != nil && !forge.Refused(err) {
			return forge.Ensured{}, err
		}
		if err != nil { // a review works without it
			warnings = append(warnings, err.Error())
		}
		if request.Body, err = k.text(ctx, p, key); err != nil {
			return forge.Ensured{}, err
		}
	}
	var kept forge.Ensured
	var err error
	if open {
		kept, err = f.Refresh(ctx, found, request)
	} else {
		kept, err = f.Ensure(ctx, request)
	}
	kept.Warnings = append(warnings, kept.Warnings...)
	if err != nil || kept.State != forge.StateOpen {
		return kept, err
	}
	return kept, k.autoMerge(ctx, p, &kept)
}

// keeper writes the text of pull requests of one repository.
type keeper struct{ forge Forge }

// key returns a hash of all that the text is made from, except for what the commits determine.
func (k keeper) key(p Proposal) string {
	return hash(fmt.Sprintf("%d %q %q %q %q %q %t %q %q %q %q", version, p.title(), p.Commit, p.Branch, p.On, p.Reference(), p.Mirror.ShowsLive(),
		p.Image, k.link(p.Source), k.link(p.GitOps), p.Waits))
}

// version of the text: another one replaces all texts.
const version = 4

// link returns the page of a commit, or "": a packaged chart has none.
func (k keeper) link(o ledger.Origin) string {
	if strings.Contains(o.Commit, ":") {
		return ""
	}
	return k.forge.CommitURL(o.URL, o.Commit)
}

func (k keeper) text(ctx context.Context, p Proposal, key string) (string, error) {
	changes, err := p.Changes(ctx)
	if err != nil && !errors.Is(err, ErrNotComparable) {
		return "", fmt.Errorf("compare with branch %s: %w", p.Branch, err)
	}
	text, err := k.body(p, changes, err == nil)
	return seal(key, text), err
}

// status returns the commit status of a proposal's head before any decision.
func (p Proposal) status() forge.Status {
	s := forge.Status{Context: StatusContext(p.Stage), State: forge.Success, Description: "is artifact " + p.Digest.String()}
	if p.Mirror.ShowsLive() {
		s.State, s.Description = forge.Pending, "not promoted yet: artifact "+p.Digest.String()
	}
	return s
}

// autoMerge lets the forge merge the pull request, if the pipeline file asks for that. Gitea does not show whether it was
// asked already, and is asked for new pull requests only.
func (k keeper) autoMerge(ctx context.Context, p Proposal, kept *forge.Ensured) error {
	switch {
	case !p.Mirror.AutoMerge:
		return nil
	case p.Mirror.ShowsLive():
		kept.Warnings = append(kept.Warnings, "mirror.autoMerge has no effect with mirror.when: promote: promotion merges")
		return nil
	case k.forge.Kind() == forge.Gitea && kept.Change == forge.Unchanged:
		return nil
	}
	err := k.forge.AutoMerge(ctx, kept.PullRequest)
	if forge.Refused(err) {
		kept.Warnings = append(kept.Warnings, err.Error())
		return nil
	}
	return err
}

// CloseLanded lets the forge show a pull request as merged whose content the stage branch has at a commit. If the forge does
// not recognise the merge, the pull request is closed with a comment that names the commit.
func CloseLanded(ctx context.Context, f Forge, pull forge.PullRequest, commit string) (forge.PullRequest, error) {
	now, err := f.Landed(ctx, pull, commit)
	if err != nil || now.State != forge.StateOpen {
		return now, err
	}
	text := fmt.Sprintf("%s has this now, since commit %s.", code(pull.Base.Name), plain(commit))
	if _, err := f.Comment(ctx, pull.Number, "landed", text); err != nil {
		return now, err
	}
	return f.Close(ctx, now)
}

// CloseOlder closes a pull request of a release that is older than what the stage has.
func CloseOlder(ctx context.Context, f Forge, pull forge.PullRequest, live string) (forge.PullRequest, error) {
	text := fmt.Sprintf("Release %s is live, which is newer or has the same content.", code(live))
	if _, err := f.Comment(ctx, pull.Number, "older", text); err != nil {
		return pull, err
	}
	return f.Close(ctx, pull)
}
