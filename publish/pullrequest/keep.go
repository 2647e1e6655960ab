package pullrequest

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

	// Changes compares the stage branch with the proposal. It is called if the text has to be made; see [ErrNotComparable].
	Changes func(context.Context) (diff.Changes, error)
	// Older reports whether a release of the same stage is older than this one. Nil means that none is.
	Older func(release string) bool
}

// Kept is the pull request of a proposal.
type Kept struct {
	forge.Ensured
	Superseded []string // URLs of pull requests that were closed for it
}

// Keeper keeps the pull requests of one repository. It is not safe for concurrent use.
type Keeper struct {
	forge  Forge
	listed bool
	open   []forge.PullRequest
	err    error // of opening or listing: a forge that does not answer is not asked again for each stage
}

// Open keeps the pull requests of the repository behind a remote. Errors of [forge.Open] are those of the Keeper's methods.
func Open(ctx context.Context, remoteURL string, o forge.Options) *Keeper {
	repository, err := forge.Open(ctx, remoteURL, o)
	return &Keeper{forge: repository, listed: err != nil, err: err}
}

// NewKeeper keeps the pull requests of a repository. It makes no request.
func NewKeeper(f Forge) *Keeper { return &Keeper{forge: f} }

// find returns the index in k.open of the open pull request between two branches, -1 for none. It lists them once.
func (k *Keeper) find(ctx context.Context, head, base string) (int, error) {
	if !k.listed {
		k.open, k.err = k.forge.ListOpen(ctx, pipeline.ReviewPrefix)
		k.listed = true
	}
	return slices.IndexFunc(k.open, func(pull forge.PullRequest) bool {
		return pull.Head.Name == head && pull.Base.Name == base
	}), k.err
}

// Keep opens the proposal's pull request, or finds and updates it. One that was closed by hand with this head stays closed,
// and one that was merged stays merged; Keep returns either unchanged.
func (k *Keeper) Keep(ctx context.Context, p Proposal) (Kept, error) {
	at, err := k.find(ctx, p.Review, p.Branch)
	if err != nil {
		return Kept{}, err
	}
	request := forge.Request{
		Head: p.Review, Base: p.Branch, Commit: p.Commit, Title: p.title(),
		Labels: p.Mirror.Labels, Reviewers: p.Mirror.Reviewers, Draft: p.Mirror.Draft,
	}
	var kept Kept
	var warnings []string
	if key := k.key(p); at >= 0 && sealed(key, k.open[at].Body) {
		request.Body = k.open[at].Body
	} else {
		// The status first: an up-to-date text implies that the status exists, and it is not requested again.
		_, err := k.forge.SetStatus(ctx, p.Commit, p.status())
		if err != nil && !forge.Refused(err) {
			return Kept{}, err
		}
		if err != nil { // a review works without it
			warnings = append(warnings, err.Error())
		}
		if request.Body, err = k.text(ctx, p, key); err != nil {
			return Kept{}, err
		}
	}
	if at >= 0 {
		kept.Ensured, err = k.forge.Refresh(ctx, k.open[at], request)
	} else {
		kept.Ensured, err = k.forge.Ensure(ctx, request)
	}
	kept.Warnings = append(warnings, kept.Warnings...)
	if err != nil || kept.State != forge.StateOpen {
		return kept, err
	}
	if err := k.autoMerge(ctx, p, &kept); err != nil {
		return kept, err
	}
	return kept, k.supersede(ctx, p, &kept)
}

// key returns a hash of all that the text is made from, except for what the commits determine.
func (k *Keeper) key(p Proposal) string {
	return hash(fmt.Sprintf("%d %q %q %q %q %q %t %q %q %q", version, p.title(), p.Commit, p.Branch, p.On, p.Reference(), p.Mirror.ShowsLive(),
		p.Image, k.link(p.Source), k.link(p.GitOps)))
}

// version of the text: another one replaces all texts.
const version = 3

// link returns the page of a commit, or "".
func (k *Keeper) link(o ledger.Origin) string { return k.forge.CommitURL(o.URL, o.Commit) }

func (k *Keeper) text(ctx context.Context, p Proposal, key string) (string, error) {
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
func (k *Keeper) autoMerge(ctx context.Context, p Proposal, kept *Kept) error {
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

func (k *Keeper) supersede(ctx context.Context, p Proposal, kept *Kept) error {
	if p.Older == nil {
		return nil
	}
	family := pipeline.ReviewBranch(p.Pipeline, p.Stage, "")
	for i, other := range k.open {
		release, ours := strings.CutPrefix(other.Head.Name, family)
		if !ours || other.Head.Name == p.Review || other.State != forge.StateOpen || !p.Older(release) {
			continue
		}
		if err := k.forge.Supersede(ctx, other, kept.PullRequest); err != nil {
			return err
		}
		k.open[i].State = forge.StateClosed
		kept.Superseded = append(kept.Superseded, other.URL)
	}
	return nil
}

// CloseLanded closes the open pull request between two branches, if any, whose content the base has at a commit, however
// it got there.
func (k *Keeper) CloseLanded(ctx context.Context, head, base, commit string) (forge.PullRequest, bool, error) {
	at, err := k.find(ctx, head, base)
	if err != nil || at < 0 || k.open[at].State != forge.StateOpen {
		return forge.PullRequest{}, false, err
	}
	k.open[at], err = CloseLanded(ctx, k.forge, k.open[at], commit)
	return k.open[at], true, err
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
