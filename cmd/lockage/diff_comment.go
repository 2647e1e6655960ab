package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/stagediff"
	forges "github.com/lockage/lockage/internal/forge"
)

// commenter keeps a comment on a pull request up to date.
type commenter struct {
	repository *forges.Repository
	number     int
	marker     string
	link       string // to the job that writes it; "" outside of a job
}

// openComment finds the pull request and its forge, before anything is rendered. It returns nil without --comment.
func (d *differ) openComment(ctx context.Context) (*commenter, error) {
	if !d.comment {
		return nil, nil
	}
	number := d.pullRequest
	if number == 0 {
		number = pullRequestOf(os.Getenv)
	}
	if number == 0 {
		return nil, usagef("--comment: this CI job is not one of a pull request, according to GITHUB_REF and CI_MERGE_REQUEST_IID; name it with --pull-request NUMBER")
	}
	w, err := d.app.workspace(ctx)
	if err != nil {
		return nil, err
	}
	policyRef, err := w.Policy(ctx, "", d.app.warning)
	if err != nil {
		return nil, err
	}
	repository, err := forges.Open(ctx, policyRef.URL(), forgeOptions())
	if err != nil {
		return nil, err
	}
	return &commenter{repository: repository, number: number, marker: d.marker(w.Root()), link: jobURL(os.Getenv)}, nil
}

// marker distinguishes the comments of jobs that compare other pipelines, other stages, or with another commit.
func (d *differ) marker(root string) string {
	folder := "."
	if dir, err := filepath.Abs(d.app.dir); err == nil {
		if inside, err := filepath.Rel(root, dir); err == nil {
			folder = filepath.ToSlash(inside)
		}
	}
	mode := "base"
	if d.commit != "" {
		mode = "commit"
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", mode, folder, d.app.files, d.args))
	return fmt.Sprintf("diff/%x", sum[:6])
}

// write updates the comment to the stages that change; err is about those that could not be compared.
func (c *commenter) write(ctx context.Context, stages []stagediff.Change, err error) (forges.Change, error) {
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

// pullRef is the ref that a job for a pull request runs on, at GitHub, Gitea and Forgejo.
var pullRef = regexp.MustCompile(`^refs/pull/([0-9]{1,9})/(?:merge|head)$`)

// pullRequestOf returns the pull request that a CI job is for; 0 if it is for none.
func pullRequestOf(getenv func(string) string) int {
	text := getenv("CI_MERGE_REQUEST_IID")
	if match := pullRef.FindStringSubmatch(getenv("GITHUB_REF")); match != nil {
		text = match[1]
	}
	number, err := strconv.Atoi(text)
	if err != nil || number < 0 {
		return 0
	}
	return number
}

// jobURL returns the page of this CI job; "" outside of a job.
func jobURL(getenv func(string) string) string {
	if url := getenv("CI_JOB_URL"); url != "" {
		return url
	}
	server, repository, run := getenv("GITHUB_SERVER_URL"), getenv("GITHUB_REPOSITORY"), getenv("GITHUB_RUN_ID")
	if server == "" || repository == "" || run == "" {
		return ""
	}
	return strings.TrimSuffix(server, "/") + "/" + repository + "/actions/runs/" + run
}
