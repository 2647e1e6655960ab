package remotelock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/lockage/lockage/internal/git"
)

// commitPlaceholder means the full commit id in a pattern of tags.
const commitPlaceholder = "{commit}"

// ErrNoImage is returned by Newest if no commit has an image.
var ErrNoImage = errors.New("no commit with an image")

// ErrNoCommit is returned by Newest if no commit touches a path.
var ErrNoCommit = errors.New("no commit")

// Pattern makes an image's tag from the commit.
type Pattern struct{ prefix, suffix string }

// ParsePattern parses a tag that contains {commit} once.
func ParsePattern(s string) (Pattern, error) {
	prefix, suffix, ok := strings.Cut(s, commitPlaceholder)
	p := Pattern{prefix, suffix}
	if !ok || !regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`).MatchString(p.Tag(git.Hash(strings.Repeat("0", 40)))) {
		return Pattern{}, fmt.Errorf("%q makes no tag of a commit: write %s once, and around it letters, digits, '_', '.' and '-', as in git-%[2]s", s, commitPlaceholder)
	}
	return p, nil
}

func (p Pattern) String() string { return p.prefix + commitPlaceholder + p.suffix }

// Tag returns the tag of a commit's image.
func (p Pattern) Tag(commit git.Hash) string { return p.prefix + string(commit) + p.suffix }

// Tags lists the tags of an image repository.
type Tags interface {
	// Name returns the repository's name, without a tag.
	Name() string
	// Tags lists the tags that begin with prefix.
	Tags(ctx context.Context, prefix string) ([]string, error)
}

// NewestVersion returns the tag of the highest semantic version in a range, with or without a v before it: three numbers, and a
// pre-release only if the range names one. The error is ErrNoImage if no tag is one.
func NewestVersion(ctx context.Context, images Tags, within *semver.Constraints) (newest string, err error) {
	tags, err := images.Tags(ctx, "")
	if err != nil {
		return "", err
	}
	if newest = Highest(tags, within); newest == "" {
		err = fmt.Errorf("%w: none of the %d tags of %s is a version %s, such as 1.2.3 or v1.2.3", ErrNoImage, len(tags), images.Name(), within)
	}
	return newest, err
}

// Highest returns the highest of some semantic versions that is in a range, as [NewestVersion] reads them; "" for none.
func Highest(versions []string, within *semver.Constraints) (newest string) {
	var highest *semver.Version
	for _, version := range slices.Sorted(slices.Values(versions)) { // of equal versions the last one
		v, err := semver.StrictNewVersion(strings.TrimPrefix(version, "v"))
		if err == nil && within.Check(v) && (highest == nil || !v.LessThan(highest)) {
			newest, highest = version, v
		}
	}
	return newest
}

// Search looks for the newest commit of a branch that has an image.
type Search struct {
	Source *git.Remote
	Branch string   // "" is the default branch
	Paths  []string // the commit touches one of these; none for any commit
	Images Tags     // nil for commits without an image of their own
	Tag    Pattern
}

// Newest finds the commit. The error is ErrNoImage if no commit qualifies, and describes the search; without images it is ErrNoCommit.
func (s Search) Newest(ctx context.Context) (git.Hash, error) {
	for _, name := range s.Paths {
		if !fs.ValidPath(name) {
			return "", fmt.Errorf("path %q: want one relative to the source repository's root", name)
		}
	}
	w := walk{Search: s, tags: map[string]bool{}}
	if s.Images != nil {
		tags, err := s.Images.Tags(ctx, s.Tag.prefix)
		if err != nil {
			return "", err
		}
		for _, tag := range tags {
			w.tags[tag] = true
		}
	}
	tip, branch, err := s.Source.Tip(ctx, s.Branch)
	if err != nil {
		return "", err
	}
	if s.Images == nil || len(w.tags) > 0 {
		err = s.Source.Log(ctx, tip, func(c git.Commit) (bool, error) { return w.visit(ctx, c) })
		if err == nil {
			err = w.judge(ctx)
		}
	}
	if err != nil || w.found != "" {
		return w.found, err
	}
	return "", w.failure(branch)
}

// failure describes the search that found no commit.
func (w *walk) failure(branch string) error {
	extent := fmt.Sprintf("all %d commits", w.seen)
	if w.seen == maxCommits {
		extent = fmt.Sprintf("the newest %d commits", w.seen)
	}
	switch {
	case w.Images == nil:
		return fmt.Errorf("%w: of %s of branch %s of %s, along first parents, none touches %s", ErrNoCommit, extent, branch, w.Source, strings.Join(w.Paths, " or "))
	case len(w.tags) == 0:
		return fmt.Errorf("%w: %s has no tag that begins with %q, as %s would; was an image pushed? --tag names another pattern, and --image-semver or --image-tag an image whatever its commit", ErrNoImage, w.Images.Name(), w.Tag.prefix, w.Tag)
	}
	touching := ""
	if len(w.Paths) > 0 {
		touching = fmt.Sprintf(", and touches %s (%d have a tag)", strings.Join(w.Paths, " or "), w.tagged)
	}
	return fmt.Errorf("%w: of %s of branch %s of %s, along first parents, none has a tag %s in %s%s",
		ErrNoImage, extent, branch, w.Source, w.Tag, w.Images.Name(), touching)
}

// walk is a walk along a branch, newest commits first.
type walk struct {
	Search
	tags map[string]bool

	seen, tagged int
	pending      []git.Commit // tagged, their paths not yet compared
	found        git.Hash
}

// visit reports whether to go on.
func (w *walk) visit(ctx context.Context, c git.Commit) (bool, error) {
	w.seen++
	tagged := w.Images == nil || w.tags[w.Tag.Tag(c.Hash)]
	if tagged {
		w.tagged++
		w.pending = append(w.pending, c)
	}
	if w.seen%batch == 0 || tagged && len(w.Paths) == 0 {
		if err := w.judge(ctx); err != nil {
			return false, err
		}
	}
	return w.found == "" && w.seen < maxCommits, nil
}

// judge finds the first of the pending commits that touches a path.
func (w *walk) judge(ctx context.Context) error {
	pending := w.pending
	w.pending = nil
	if len(pending) == 0 || w.found != "" {
		return nil
	}
	if len(w.Paths) == 0 {
		w.found = pending[0].Hash
		return nil
	}
	parents := make([]git.Commit, len(pending))
	for i, c := range pending {
		if len(c.Parents) == 0 {
			continue // nothing lies anywhere before the first commit
		}
		var err error
		if parents[i], err = w.Source.Commit(ctx, c.Parents[0]); err != nil {
			return err
		}
	}
	touches := make([]bool, len(pending))
	for _, name := range w.Paths {
		ids, err := w.Source.PathIDs(ctx, name, slices.Concat(pending, parents)...)
		if err != nil {
			return err
		}
		for i := range pending {
			touches[i] = touches[i] || ids[i] != ids[len(pending)+i]
		}
	}
	if i := slices.Index(touches, true); i >= 0 {
		w.found = pending[i].Hash
	}
	return nil
}
