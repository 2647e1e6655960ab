package pullrequest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/internal/forge"
)

// version of the text: another one has all texts made anew.
const version = 1

// Origin is a commit, with the page that shows it, or "".
type Origin struct{ Commit, Link string }

// Proposal is what a pull request proposes: that a stage be what its review branch shows.
type Proposal struct {
	Pipeline, Stage, Release string

	Head, Base string // branches: the review branch, and that of the stage
	Commit     string // the head of the review branch
	On         string // the commit of the stage branch that it is compared with
	Promotes   bool   // promotion merges, once people approve; else people merge
	RollBack   bool   // it brings back what was live before

	Labels, Reviewers []string
	Draft, AutoMerge  bool

	Source, GitOps Origin
	Image          string // repository@digest
	Artifact       string // repository@digest
	Content        string // digest
	Link           string // page that shows the whole change, or ""

	// Changes compares what the stage branch has with what is proposed. It is called when the text has to be made;
	// see [ErrNotComparable].
	Changes func(context.Context) (diff.Changes, error)
	// Older tells whether a release of the same stage is older than this one. Nil: none is.
	Older func(release string) bool
}

// key is a hash of all that the text is made from, but for what the commits tell already.
func (p Proposal) key() string {
	return hash(fmt.Sprintf("%d %q %q %q %q %q %t %t %q %q %q %q", version, p.title(), p.Commit, p.Base, p.On, p.Artifact, p.Promotes, p.RollBack,
		p.Source, p.GitOps, p.Image, p.Link))
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
	err    error // of listing: a forge that does not answer is not asked again for each stage
}

// NewKeeper keeps the pull requests of a repository. It makes no request.
func NewKeeper(f Forge) *Keeper { return &Keeper{forge: f} }

// list returns the open pull requests of review branches, asked for once.
func (k *Keeper) list(ctx context.Context) ([]forge.PullRequest, error) {
	if !k.listed {
		k.open, k.err = k.forge.ListOpen(ctx, prefix)
		k.listed = true
	}
	return k.open, k.err
}

// Keep opens the proposal's pull request, or finds it and brings it up to date. One that was closed by hand with this head is
// left closed, and one that was merged is left merged; either is returned as it is.
func (k *Keeper) Keep(ctx context.Context, p Proposal) (Kept, error) {
	open, err := k.list(ctx)
	if err != nil {
		return Kept{}, err
	}
	at := slices.IndexFunc(open, func(pull forge.PullRequest) bool { return pull.Head.Name == p.Head && pull.Base.Name == p.Base })
	request := forge.Request{
		Head: p.Head, Base: p.Base, Commit: p.Commit, Title: p.title(),
		Labels: p.Labels, Reviewers: p.Reviewers, Draft: p.Draft,
	}
	var kept Kept
	switch {
	case at >= 0 && sealed(p.key(), open[at].Body):
		request.Body = open[at].Body
	default:
		// The status first: a text that is up to date says that the status is there, and it is not asked for again.
		_, err := k.forge.SetStatus(ctx, p.Commit, p.status())
		if err != nil && !forge.Refused(err) {
			return Kept{}, err
		}
		if err != nil { // a review can do without
			kept.Warnings = append(kept.Warnings, err.Error())
		}
		if request.Body, err = p.text(ctx, k.forge.MaxBody()); err != nil {
			return Kept{}, err
		}
	}
	warnings := kept.Warnings
	if at >= 0 {
		kept.Ensured, err = k.forge.Refresh(ctx, open[at], request)
	} else {
		kept.Ensured, err = k.forge.Ensure(ctx, request)
	}
	kept.Warnings = append(warnings, kept.Warnings...)
	if err != nil {
		return kept, err
	}
	if kept.State != forge.StateOpen {
		return kept, nil
	}
	switch {
	case p.AutoMerge && p.Promotes:
		kept.Warnings = append(kept.Warnings, "mirror.autoMerge is not for mirror.when: promote: promotion merges, and the forge is not asked to")
	case p.AutoMerge:
		if err := k.autoMerge(ctx, &kept); err != nil {
			return kept, err
		}
	}
	return kept, k.supersede(ctx, p, &kept)
}

func (p Proposal) text(ctx context.Context, limit int) (string, error) {
	changes, err := p.Changes(ctx)
	if err != nil && !errors.Is(err, ErrNotComparable) {
		return "", fmt.Errorf("what changes: %w", err)
	}
	text, err := p.body(changes, err == nil, limit)
	return seal(p.key(), text), err
}

// status is what a proposal's head says as long as nothing was decided.
func (p Proposal) status() forge.Status {
	s := forge.Status{Context: StatusContext(p.Stage), State: forge.Success}
	_, digest, _ := strings.Cut(p.Artifact, "@")
	s.Description = "is artifact " + digest
	if p.Promotes && !p.RollBack {
		s.State, s.Description = forge.Pending, "not promoted yet: artifact "+digest
	}
	return s
}

// autoMerge asks the forge to merge by itself. Gitea does not tell whether it was asked already, and is asked for what is new.
func (k *Keeper) autoMerge(ctx context.Context, kept *Kept) error {
	if k.forge.Kind() == forge.Gitea && kept.Change == forge.Unchanged {
		return nil
	}
	err := k.forge.AutoMerge(ctx, kept.PullRequest)
	if forge.Refused(err) {
		kept.Warnings = append(kept.Warnings, err.Error())
		return nil
	}
	return err
}

// supersede closes the pull requests of older releases of the stage.
func (k *Keeper) supersede(ctx context.Context, p Proposal, kept *Kept) error {
	if p.Older == nil {
		return nil
	}
	family := Branch(p.Pipeline, p.Stage, "")
	for i, other := range k.open {
		release, ours := strings.CutPrefix(other.Head.Name, family)
		if !ours || other.Head.Name == p.Head || other.State != forge.StateOpen || strings.HasPrefix(release, rollback) || !p.Older(release) {
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

// Taken closes the pull request of a release that the stage branch shows already, at a commit, by whatever way it came there.
// It returns whether there was one.
func (k *Keeper) Taken(ctx context.Context, head, base, commit string) (forge.PullRequest, bool, error) {
	open, err := k.list(ctx)
	if err != nil {
		return forge.PullRequest{}, false, err
	}
	for i, pull := range open {
		if pull.Head.Name == head && pull.Base.Name == base && pull.State == forge.StateOpen {
			k.open[i], err = Settle(ctx, k.forge, pull, commit)
			return k.open[i], true, err
		}
	}
	return forge.PullRequest{}, false, nil
}

// Settle lets a pull request be shown as merged, whose content the stage branch has at a commit; where the forge does not see
// it so, it is closed with a comment that names the commit.
func Settle(ctx context.Context, f Forge, pull forge.PullRequest, commit string) (forge.PullRequest, error) {
	now, err := f.Landed(ctx, pull, commit)
	if err != nil || now.State != forge.StateOpen {
		return now, err
	}
	text := fmt.Sprintf("%s has this now, since commit %s.", code(pull.Base.Name), plain(commit))
	if _, err := f.Comment(ctx, pull.Number, "settled", text); err != nil {
		return now, err
	}
	return f.Close(ctx, now)
}
