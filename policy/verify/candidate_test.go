package verify_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
)

// TestCandidate judges the candidate's tag by the ledger: a tag that lags is put right by the next hydration, and one that names
// what the ledger never had was moved by somebody.
func TestCandidate(t *testing.T) {
	t.Parallel()
	tag := oci.CandidateTag("production", release)
	for name, test := range map[string]struct {
		arrange func(s *scene, newer *hydration)
		want    policy.Result
		says    string
	}{
		"agrees": {func(s *scene, newer *hydration) { s.publish(newer) }, policy.Pass, "names it"},
		"set back": {func(s *scene, newer *hydration) {
			first, _ := s.repository("app").Resolve(s.t.Context(), tag)
			s.publish(newer)
			testworld.Tag(s.t, s.repository("app"), first, tag)
		}, policy.Pending, "names an older hydration"},
		"lags": {func(s *scene, newer *hydration) {
			s.record(s.attest(newer, s.push(newer)))
		}, policy.Pending, "names an older hydration"},
		"moved to what was never recorded": {func(s *scene, newer *hydration) {
			s.attest(newer, s.push(newer, tag))
		}, policy.Fail, "which is unknown there"},
		"entry that says more than was signed": {func(s *scene, newer *hydration) {
			e := s.attest(newer, s.push(newer, tag))
			e.Input = digest.FromString("forged")
			s.record(e)
		}, policy.Fail, "says more than the hydrator signed"},
		"entry of another tree": {func(s *scene, newer *hydration) {
			e := s.attest(newer, s.push(newer, tag))
			e.Files = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
			s.record(e)
		}, policy.Fail, "says more than the hydrator signed"},
		"entry without statements": {func(s *scene, newer *hydration) {
			s.attest(newer, s.push(newer, tag))
			s.record(s.entry(newer, s.push(newer)))
		}, policy.Fail, "no signature by the hydrator"},
		"entry of another key": {func(s *scene, newer *hydration) {
			newer.key = testworld.Key(s.t)
			s.publish(newer)
		}, policy.Fail, "no signature by the hydrator"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.publish(s.honest("production"))
			newer := s.honest("production")
			newer.content += "# newer\n"
			test.arrange(s, newer)
			for _, q := range []verify.Query{{Artifact: "production"}, {Artifact: s.repository("app").Reference(tag)}} {
				s.pipelines = s.pipelines[:1]
				r, err := s.find(q)
				if err != nil {
					t.Fatal(err)
				}
				report, err := verify.Artifact(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				found := false
				for _, c := range report.Checks {
					found = found || c.Result == test.want && strings.Contains(c.Reason, test.says)
				}
				if report.Result != test.want || !found {
					t.Errorf("%s: %s: %+v", q.Artifact, report.Result, report.Checks)
				}
			}
		})
	}
}

// A candidate that neither ledger nor registry has is not an attack, and one that the registry alone has is.
func TestNoCandidate(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.pipelines = s.pipelines[:1]
	artifact := func() (verify.Report, error) {
		r, err := s.find(verify.Query{Artifact: "production"})
		if err != nil {
			t.Fatal(err)
		}
		return verify.Artifact(t.Context(), r)
	}
	if _, err := artifact(); !errors.Is(err, oci.ErrNotFound) || !strings.Contains(err.Error(), "lockage hydrate app/production --release "+release) {
		t.Errorf("error is %v", err)
	}
	h := s.honest("production")
	e := s.attest(h, s.push(h, oci.CandidateTag("production", release)))
	report, err := artifact()
	if err != nil {
		t.Fatal(err)
	}
	requireDenied(t, report, "candidate", "has no candidate of that release")
	s.record(e)
	if report, err = artifact(); err != nil || report.Result != policy.Pass {
		t.Errorf("recorded: %+v, %v", report, err)
	}
}
