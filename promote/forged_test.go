package promote_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote"
	"github.com/lockage/lockage/sign"
)

// edit puts other texts in place of some in a file of the GitOps repository, on the policy ref.
func (s *scene) edit(name string, replacements ...string) {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.demo.GitOpsDir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(name, strings.NewReplacer(replacements...).Replace(string(data)))
	s.push("edit " + name)
}

// What is attested about another stage's artifact counts for the release that the artifact is of, wherever the tags of
// candidates point: nobody has verified those.
func TestAttestationOfAnotherRelease(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, mirrored+head)
	private, public := testworld.KeyFile(t)
	s.write("keys/ci.pub", public)
	s.edit("lockage.yaml", "identities:\n", "identities:\n  ci: {key: keys/ci.pub}\n",
		"{name: production, auto: true, after: [staging]}",
		"name: production\n    gates: [attestation: {type: https://acme.dev/tests/v1, subject: 'stage:staging', by: [ci]}]")
	first, second := oci.CandidateTag("staging", s.releases[0]), oci.CandidateTag("staging", s.releases[1])
	tested, err := s.tags().Resolve(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.OpenKey(t.Context(), private, nil)
	if err != nil {
		t.Fatal(err)
	}
	statement := sign.Statement{
		Subject:       sign.Subject{Name: s.tags().Name(), Digest: tested.Digest},
		PredicateType: "https://acme.dev/tests/v1",
		Predicate:     json.RawMessage(`{"result": "PASSED"}`),
	}
	testworld.Attest(t, s.tags(), tested, key, statement)
	s.retag(second, first)
	r, err := s.try(promote.Promote, s.releases[1], production)
	if !errors.Is(err, policy.ErrDenied) || strings.Contains(err.Error(), tested.Digest.String()) {
		t.Errorf("tested was another release: %s, %v", r.Action, err)
	}
	s.must(promote.Promote, s.releases[0], production)
}

// The promoter's record, and not a commit, decides when a release was replaced: a person who can rewrite the live ref chooses
// the times of its commits.
func TestSoakProlonged(t *testing.T) {
	t.Parallel()
	s := newSoakingScene(t)
	for _, release := range s.releases {
		if _, err := s.try(promote.Promote, release, "staging"); err != nil {
			t.Fatal(err)
		}
		s.clock.add(5 * time.Minute)
	}
	s.clock.add(3 * time.Hour)
	denied := func() {
		t.Helper()
		if r, err := s.try(promote.Promote, s.releases[0], production); !errors.Is(err, policy.ErrDenied) || !strings.Contains(err.Error(), "was replaced") {
			t.Errorf("it was live for five minutes: %s, %v", r.Action, err)
		}
	}
	denied()
	server, branch := filepath.Join(s.now().root, "gitops.git"), "refs/heads/live/codeai/staging"
	later := s.clock.add(0).Add(-10 * time.Minute).Format(time.RFC3339)
	forged := testworld.GitAt(t, later, server, "commit-tree", "-p", branch+"~1", "-m", "Promote", branch+"^{tree}")
	testworld.Git(t, server, "update-ref", branch, forged)
	denied()
}

// A registry knows several hydrations of a release, all of them signed. What the ledger has is the one to promote, wherever
// somebody moved the candidate's tag.
func TestCandidateSetBack(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, mirrored+head)
	release := s.releases[1]
	candidate := oci.CandidateTag("staging", release)
	older := s.retag("older", candidate)
	s.edit("apps/codeai/deployments/staging/values.yaml", "staging.acme", "next.acme")
	s.hydrate()
	newer := s.retag("newer", candidate)
	if older == newer {
		t.Fatal("hydrated to the same")
	}
	s.retag(candidate, "older")
	if r, err := s.try(promote.Promote, release, "staging"); !errors.Is(err, promote.ErrPending) || !strings.Contains(err.Error(), newer.String()) {
		t.Errorf("set back to %s: %s, %v", older, r.Action, err)
	}
	s.retag(candidate, "newer")
	s.must(promote.Promote, release, "staging")

	// What comes back to earlier inputs is the newest again.
	s.edit("apps/codeai/deployments/staging/values.yaml", "next.acme", "staging.acme")
	s.hydrate()
	if r := s.must(promote.Promote, release, "staging"); r.To.Digest != older {
		t.Errorf("promoted %s, hydrated was %s", r.To.Digest, older)
	}
}

// gitea is a forge that knows one merged pull request, which brought a commit to the stage branch, or none.
type gitea struct{ merged string }

func (g gitea) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := http.StatusOK, "[]"
	_, head, asked := strings.Cut(r.URL.Path, "/pulls/stage/staging/")
	_, commit, _ := strings.Cut(r.URL.Path, "/commits/")
	commit, askedOf := strings.CutSuffix(commit, "/pull")
	switch {
	case strings.Contains(r.URL.Path, "/git/refs/"):
		status, body = http.StatusNotFound, "{}"
	case !asked && !askedOf:
	case g.merged != "" && (asked || commit == g.merged):
		body = `{"number": 1, "state": "closed", "merged": true, "merge_commit_sha": "` + g.merged + `", "head": {"ref": "` + cmp.Or(head, "review/codeai/staging") + `"}, "base": {"ref": "stage/staging"}}`
	default:
		status, body = http.StatusNotFound, "{}"
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// What nobody merged is on the stage branch all the same: pushed there, or below what somebody merged by fast-forward.
func TestHiddenInReview(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, "mirror: {path: \"apps/codeai/{stage}/deploy\", review: pull-request}\n"+
		strings.Replace(head, "auto: true, after: [staging]", "mirror: {review: none}", 1))
	first, second := s.releases[0], s.releases[1]
	server := filepath.Join(s.now().root, "gitops.git")
	if err := os.Symlink(".", filepath.Join(s.now().root, "acme")); err != nil {
		t.Fatal(err)
	}
	url := testworld.Git(t, s.demo.GitOpsDir, "remote", "get-url", "origin")
	testworld.Git(t, s.demo.GitOpsDir, "remote", "set-url", "origin", strings.Replace(url, "/gitops.git", "/acme/gitops.git", 1))

	// As on a review branch whose head shows the second release, and below which lies the first one.
	var proposed []string
	for _, release := range []string{first, second} {
		results, err := promote.Promote(t.Context(), s.options(release, "staging"))
		if err != nil || results[0].Proposal == nil {
			t.Fatal(results, err)
		}
		proposed = append(proposed, results[0].Proposal.Commit)
	}
	merged := testworld.Git(t, server, "commit-tree", "-p", proposed[0], "-m", "Hydrate", proposed[1]+"^{tree}")
	testworld.Git(t, server, "update-ref", "refs/heads/stage/staging", merged)
	promote := func(release string, forged gitea) error {
		o := s.options(release, "staging")
		o.Forge = forge.Options{Kind: forge.Gitea, Token: "secret", Transport: forged}
		o.DryRun = true
		results, err := promote.Promote(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return results[0].Err
	}
	for name, release := range map[string]string{"below": first, "on top": second} {
		if err := promote(release, gitea{}); !errors.Is(err, policy.ErrDenied) || !strings.Contains(err.Error(), "it came by a push") {
			t.Errorf("%s, and nobody merged it: %v", name, err)
		}
	}
	if err := promote(second, gitea{merged: merged}); err != nil {
		t.Errorf("merged: %v", err)
	}
	if err := promote(first, gitea{merged: merged}); !errors.Is(err, policy.ErrDenied) || !strings.Contains(err.Error(), "it came by a push") {
		t.Errorf("below what was merged: %v", err)
	}
}
