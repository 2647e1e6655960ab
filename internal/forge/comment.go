package forge

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/lockage/lockage/internal/terminal"
)

// maxMark bounds the mark that begins a comment, in bytes.
const maxMark = 256

// markers matches text that is valid in an HTML comment and that nobody writes by accident.
var markers = regexp.MustCompile(`^[A-Za-z0-9_.:/]+(-[A-Za-z0-9_.:/]+)*$`)

type comment struct {
	id   int64
	body string
}

// comments is the part of a driver for the comments of a pull request.
type comments interface {
	comments(ctx context.Context, number int) ([]comment, error)
	addComment(ctx context.Context, number int, body string) error
	editComment(ctx context.Context, number int, id int64, body string) error
}

// Comment keeps one comment below a pull request up to date. It is found again by its marker (letters, digits and «_.:/»,
// with single dashes between), which is in its first line, invisibly. A comment with the same marker that we may not change
// stays as it is. One request for a hundred comments, two to write.
func (r *Repository) Comment(ctx context.Context, number int, marker, body string) (Change, error) {
	return r.comment(ctx, number, marker, body, true)
}

// UpdateComment is Comment for an existing comment: without one, it makes none and returns Unchanged.
func (r *Repository) UpdateComment(ctx context.Context, number int, marker, body string) (Change, error) {
	return r.comment(ctx, number, marker, body, false)
}

func (r *Repository) comment(ctx context.Context, number int, marker, body string, add bool) (Change, error) {
	what, mark := "comment on pull request "+r.reference(number), "<!-- lockage:"+marker+" -->"
	if !markers.MatchString(marker) || len(mark) >= maxMark {
		return "", fmt.Errorf("%s: invalid marker %q", what, terminal.Clip(marker, maxMark))
	}
	if err := r.fits(what, body); err != nil {
		return "", err
	}
	all, err := r.driver.comments(ctx, number)
	if err != nil {
		return "", r.fail("read the comments of pull request "+r.reference(number), err)
	}
	body = mark + "\n" + body
	ours := slices.DeleteFunc(all, func(comment comment) bool { return !strings.HasPrefix(comment.body, mark) })
	if slices.ContainsFunc(ours, func(comment comment) bool { return sameText(comment.body, body) }) {
		return Unchanged, nil
	}
	for _, comment := range ours {
		err := r.driver.editComment(ctx, number, comment.id, body)
		if err == nil {
			return Updated, nil
		}
		if !hasStatus(err, 403, 404) {
			return "", r.fail(what, err)
		}
	}
	if !add {
		return Unchanged, nil
	}
	if err := r.driver.addComment(ctx, number, body); err != nil {
		return "", r.fail(what, err)
	}
	return Created, nil
}
