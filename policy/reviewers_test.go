package policy_test

import (
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
)

func TestReviewers(t *testing.T) {
	t.Parallel()
	const head, before = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	by := func(user, commit string, teams ...string) policy.PullApproval {
		return policy.PullApproval{User: user, Commit: commit, Time: ago(time.Hour), Teams: teams}
	}
	one, two := []string{"ada", "acme/leads"}, []string{"ada", "acme/leads", "grace"}
	for name, c := range map[string]struct {
		by        []string
		count     int
		approvals []policy.PullApproval
		arrange   func(d *gateScene)
		want      policy.Result
		reason    []string
	}{
		"a user":                       {one, 1, []policy.PullApproval{by("Ada", head)}, nil, policy.Pass, []string{"approved by Ada at 2026-03-24 11:00:00 UTC"}},
		"somebody of a team":           {one, 1, []policy.PullApproval{by("bob", head, "acme/leads")}, nil, policy.Pass, []string{"approved by bob"}},
		"somebody of another team":     {one, 1, []policy.PullApproval{by("bob", head, "acme/others")}, nil, policy.Pending, []string{"bob is not one of them", "none: it takes 1 approval by ada or acme/leads of commit 111111111111: https://forge/1"}},
		"nobody":                       {one, 1, nil, nil, policy.Pending, []string{"none: "}},
		"two":                          {two, 2, []policy.PullApproval{by("ada", head), by("grace", head)}, nil, policy.Pass, nil},
		"two where one is enough":      {two, 1, []policy.PullApproval{by("ada", head), by("grace", head)}, nil, policy.Pass, nil},
		"two, one of another commit":   {two, 1, []policy.PullApproval{by("ada", head), by("grace", before)}, nil, policy.Pass, nil},
		"one twice, where one is":      {two, 1, []policy.PullApproval{by("ada", head), by("ADA", head)}, nil, policy.Pass, nil},
		"one twice":                    {two, 2, []policy.PullApproval{by("ada", head), by("ADA", head)}, nil, policy.Pending, []string{"1 of 2, by ada"}},
		"another commit":               {one, 1, []policy.PullApproval{by("ada", before)}, nil, policy.Pending, []string{"ada approved 222222222222, another commit"}},
		"a commit the forge withholds": {one, 1, []policy.PullApproval{by("ada", "")}, nil, policy.Pending, []string{"does not show which commit ada approved"}},
		"the author":                   {[]string{"bot"}, 1, []policy.PullApproval{by("Bot", head)}, nil, policy.Pending, []string{"the author Bot does not count"}},
		"merged without":               {one, 1, nil, func(d *gateScene) { d.f.Review.Pull.State = policy.PullMerged }, policy.Fail, []string{"none: "}},
		"merged with":                  {one, 1, []policy.PullApproval{by("ada", head)}, func(d *gateScene) { d.f.Review.Pull.State = policy.PullMerged }, policy.Pass, nil},
		"no pull request":              {one, 1, nil, func(d *gateScene) { d.f.Review = policy.Reviewed{Missing: "nobody opened it"} }, policy.Fail, []string{"of " + candidate.String(), "; nobody opened it"}},
		"of another release":           {one, 1, nil, func(d *gateScene) { d.f.Review.Commit, d.f.Review.Due = "", true }, policy.Pending, []string{"none: "}},
		"a zero head":                  {one, 1, []policy.PullApproval{by("ada", "")}, func(d *gateScene) { d.f.Review.Commit = "" }, policy.Fail, nil},
		"before a rollback":            {one, 1, []policy.PullApproval{by("ada", head)}, func(d *gateScene) { d.f.Held.Since = ago(time.Minute) }, policy.Pending, []string{"approved before the rollback at"}},
		"after a rollback":             {one, 1, []policy.PullApproval{by("ada", head)}, func(d *gateScene) { d.f.Held.Since = ago(2 * time.Hour) }, policy.Pass, nil},
		"content is live already":      {one, 1, nil, func(d *gateScene) { d.f.Unchanged = true }, policy.Pass, []string{"carries over"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newGateScene(t)
			d.f.Review = policy.Reviewed{Pull: policy.Pull{URL: "https://forge/1", State: policy.PullOpen, Author: "bot", Head: head}, Commit: head, Approvals: c.approvals}
			if c.arrange != nil {
				c.arrange(d)
			}
			result := d.judge(gate(t, "review", policy.ReviewGate{By: c.by, Count: number(c.count)}))
			expect(t, result, c.want, c.reason...)
			if two := name == "two" || name == "two where one is enough"; two != (result.Property == policy.TwoReviewed) || !two && result.Property != "" {
				t.Errorf("property %q", result.Property)
			}
		})
	}
}

// Identities approve the artifact, and count beside the people of the forge.
func TestReviewByIdentities(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{"a.yaml": {Data: []byte(pipelineHead + `render: {kubeVersion: "1.34"}
sourceRepo: https://github.com/acme/app.git
identities: {sre: {key: k}}
stages:
  - name: production
    gates: [review: {by: [sre, ada], count: 2}]
`)}}
	pipelines, err := pipeline.Load(files, policy.Kinds(), "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	declared, err := pipelines[0].Expand("production", lock.Lock{ReleaseID: release, GitCommit: sourceCommit}, files)
	if err != nil {
		t.Fatal(err)
	}
	gates := declared.Gates
	needs := policy.NeedsOf(gates)
	if !slices.Equal(needs.Reviewers, []string{"ada"}) || !needs.Review || !slices.Equal(gates[0].Condition.Signers().Names, []string{"sre"}) {
		t.Errorf("needs %+v, signers %+v", needs, gates[0].Condition.Signers())
	}
	d := newGateScene(t)
	d.approve("sre", d.approval())
	expect(t, d.judge(gates[0]), policy.Fail, "1 of 2, by sre")
	d.f.Review = policy.Reviewed{Pull: policy.Pull{State: policy.PullOpen}, Commit: "c", Approvals: []policy.PullApproval{{User: "ada", Commit: "c"}}}
	expect(t, d.judge(gates[0]), policy.Pass, "approved by sre", "ada")
	if property := d.judge(gates[0]).Property; property != "" {
		t.Errorf("one may have given both: %s", property)
	}
	// A user cannot count by the name of an identity.
	d.f.Review.Approvals = append(d.f.Review.Approvals, policy.PullApproval{User: "sre", Commit: "c"})
	d.f.Artifact.Statements = nil
	expect(t, d.judge(gates[0]), policy.Pending, "sre is not one of them")
}
