package main

import (
	"bytes"
	"context"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/stagediff"
	forges "github.com/lockage/lockage/internal/forge"
)

// openComment finds the forge of the comment, before anything is rendered.
func (d *differ) openComment(ctx context.Context) error {
	if !d.comment.wanted {
		return nil
	}
	w, err := d.app.workspace(ctx)
	if err != nil {
		return err
	}
	policyRef, err := w.Policy(ctx, "", d.app.warning)
	if err != nil {
		return err
	}
	return d.comment.open(ctx, policyRef, d.marker(w.Root()))
}

func (d *differ) marker(root string) string {
	question := "base"
	switch {
	case d.commit != "":
		question = "commit"
	case d.lock != "":
		question = "lock"
	}
	return d.app.marker(root, "diff", question, d.args)
}

// changes updates the comment to the stages that change; err is about those that could not be compared.
func (c *commenter) changes(ctx context.Context, stages []stagediff.Change, err error) (forges.Change, error) {
	body, berr := commentBody(stages, err, c.link, c.repository.MaxBody())
	if berr != nil {
		return "", berr
	}
	if len(stages) == 0 && err == nil {
		return c.repository.UpdateComment(ctx, c.number, c.marker, body) // no comment, unless an earlier one says something else
	}
	return c.repository.Comment(ctx, c.number, c.marker, body)
}

// commentBody writes the comment in Markdown, in at most limit bytes.
func commentBody(stages []stagediff.Change, err error, link string, limit int) (string, error) {
	var b bytes.Buffer
	b.WriteString("## What this changes in the stages\n\n")
	switch {
	case err != nil: // its text may quote manifests
		b.WriteString("⚠️ Some stages could not be compared: see the job's log.\n\n")
	case len(stages) == 0:
		b.WriteString("No stage is affected.\n")
	}
	if len(stages) > 0 {
		if err := stagediff.WriteMarkdown(&b, stages, diff.MarkdownOptions{Limit: limit - b.Len(), Link: link}); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}
