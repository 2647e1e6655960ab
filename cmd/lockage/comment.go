package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/lockage/lockage/hydrate/workspace"
	forges "github.com/lockage/lockage/internal/forge"
)

// commenter keeps a comment on a pull request up to date.
type commenter struct {
	wanted bool
	on     string // the pull request, by number or URL; "" for the CI job's

	repository *forges.Repository
	number     int
	marker     string
	link       string // to the job that writes it; "" outside of a job
}

// flags adds the flags of a comment, which is there under a condition.
func (c *commenter) flags(f *pflag.FlagSet, condition string) {
	f.BoolVar(&c.wanted, "comment", false, condition+"one comment on the pull request of this CI job, kept up to date; needs an API token")
	f.StringVar(&c.on, "pull-request", "", "with --comment: `NUMBER` of the pull request, or the URL of one in another repository (default: that of the CI job)")
}

// pullPage matches the page of a pull request: the repository's, and the number.
var pullPage = regexp.MustCompile(`^(https?://.+?)/(?:pulls?|(?:-/)?merge_requests)/([0-9]{1,9})/?$`)

// validate finds the number of the pull request, before anything is read.
func (c *commenter) validate() error {
	if !c.wanted {
		if c.on != "" {
			return usagef("--pull-request NUMBER needs --comment")
		}
		return nil
	}
	number := c.on
	if page := pullPage.FindStringSubmatch(c.on); page != nil {
		number = page[2]
	}
	var err error
	if number == "" {
		c.number = pullRequestOf(os.Getenv)
	} else if c.number, err = strconv.Atoi(number); err != nil || c.number <= 0 {
		return usagef("--pull-request %q: want the number of a pull request, or its URL", c.on)
	}
	if c.number == 0 {
		return usagef("--comment: this CI job is not one of a pull request, according to GITHUB_REF and CI_MERGE_REQUEST_IID; name it with --pull-request NUMBER")
	}
	return nil
}

// open finds the forge of the pull request: by default that of the policy ref's repository.
func (c *commenter) open(ctx context.Context, p *workspace.Policy, marker string) (err error) {
	url := p.URL()
	if page := pullPage.FindStringSubmatch(c.on); page != nil {
		url = page[1]
	}
	c.marker, c.link = marker, jobURL(os.Getenv)
	c.repository, err = forges.Open(ctx, url, forgeOptions())
	return err
}

// marker distinguishes the comments of jobs that ask another question, or the same of other pipelines, another part of them or with other
// arguments.
func (a *app) marker(root, verb, question string, args []string) string {
	folder := "."
	if dir, err := filepath.Abs(a.dir); err == nil {
		if inside, err := filepath.Rel(root, dir); err == nil {
			folder = filepath.ToSlash(inside)
		}
	}
	if a.part.Of > 0 {
		question += fmt.Sprintf(" %d/%d", a.part.Number, a.part.Of)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", question, folder, a.files, args))
	return fmt.Sprintf("%s/%x", verb, sum[:6])
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
