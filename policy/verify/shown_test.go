package verify_test

import (
	"context"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// TestWhatBranchesShow judges an artifact that a stage branch, and a live ref where that is asked for, must show.
func TestWhatBranchesShow(t *testing.T) {
	t.Parallel()
	at := ledger.Place{Branch: "stage/production", Path: "apps/production"}
	edit := func(s *scene) {
		dir := testworld.Clone(s.t, s.bare, "-b", at.Branch)
		testworld.Write(s.t, dir, map[string]string{at.Path + "/configmap-app.yaml": "kind: Evil\n"})
		testworld.Commit(s.t, dir, "by hand")
		testworld.Git(s.t, dir, "push", "-q", "origin", "HEAD")
	}
	for name, test := range map[string]struct {
		shown         bool
		edit          func(s *scene)
		change        func(r *verify.Request)
		check, reason string // of the denial; "" for none
	}{
		"shown":                {shown: true},
		"not shown":            {check: "mirror", reason: "no such branch; hydrate again"},
		"edited":               {shown: true, edit: edit, check: "mirror", reason: "edited configmap-app.yaml"},
		"left out":             {change: func(r *verify.Request) { r.WithoutMirror = true }},
		"live, and not shown":  {shown: true, change: func(r *verify.Request) { r.Live = ledger.Place{Branch: "live", Path: at.Path} }, check: "live-ref", reason: "no such branch; promote it"},
		"live, and shown":      {shown: true, change: func(r *verify.Request) { r.Live, r.WithoutMirror = at, true }},
		"live, and edited":     {shown: true, edit: edit, change: func(r *verify.Request) { r.Live, r.WithoutMirror = at, true }, check: "live-ref", reason: "edited configmap-app.yaml"},
		"nothing to read with": {shown: true, change: func(r *verify.Request) { r.Remotes = nil }, check: "mirror", reason: "nothing to read branches with"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			text := testworld.Pipeline("app", s.Host, "hydrator") + "mirror: {path: 'apps/{stage}'}\n"
			s.files["app.yaml"] = &fstest.MapFile{Data: []byte(text)}
			var err error
			if s.pipelines, err = pipeline.Load(s.files, nil, "app.yaml"); err != nil {
				t.Fatal(err)
			}
			h := s.honest("production")
			s.publish(h)
			if test.shown {
				s.show(h, at)
			}
			if test.edit != nil {
				test.edit(s)
			}
			r := s.request()
			r.Remotes = s
			if test.change != nil {
				test.change(&r)
			}
			report, err := verify.Artifact(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if test.check != "" {
				requireDenied(t, report, test.check, test.reason)
			} else if report.Result != policy.Pass {
				t.Errorf("%+v", report)
			}
		})
	}
}

// show makes a branch show what was published.
func (s *scene) show(h *hydration, at ledger.Place) {
	s.t.Helper()
	e := s.entry(h, s.push(h))
	change := ledger.Change{Artifact: e.Artifact, Place: at,
		Hydration: &ledger.Hydration{
			Entry:   e,
			Entries: func(context.Context, string) (ledger.Entry, bool, error) { return ledger.Entry{}, false, nil },
		},
		Tree: func(context.Context) (fs.FS, error) { return h.tree(), nil },
	}
	if _, err := ledger.NewWriter(testworld.Remote(s.t, s.bare), nil).Write(s.t.Context(), []ledger.Change{change}); err != nil {
		s.t.Fatal(err)
	}
}

// An artifact that was live before the pipeline file was changed is proven by a name that the stage had then, and by no other.
func TestFormerNames(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	desc := s.publish(s.honest("staging"))
	own := s.publish(s.honest("production"))
	named := func(stages ...string) func(context.Context, digest.Digest) ([]sign.Claim, error) {
		return func(context.Context, digest.Digest) (names []sign.Claim, err error) {
			for _, stage := range stages {
				names = append(names, sign.Claim{Pipeline: "app", Stage: stage, Repository: s.repository("app").Name()})
			}
			return names, nil
		}
	}
	for name, test := range map[string]struct {
		artifact digest.Digest
		former   func(context.Context, digest.Digest) ([]sign.Claim, error)
		denied   bool
	}{
		"today's name":      {own.Digest, named("test"), false},
		"a former name":     {desc.Digest, named("staging"), false},
		"one of two":        {desc.Digest, named("test", "staging"), false},
		"never had by that": {desc.Digest, named("test"), true},
		"nobody asks":       {desc.Digest, nil, true},
	} {
		r := s.request()
		r.Reference, r.Former = test.artifact.String(), test.former
		report, err := verify.Artifact(t.Context(), r)
		if err != nil || (report.Result == policy.Pass) == test.denied {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
		if test.denied {
			requireDenied(t, report, "signature", `stage "staging" instead of "production"`)
		}
	}
}

// Where a promotion recorded what the hydrator said, that decides, and not what the registry has.
func TestRecordedStatements(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	h := s.honest("production")
	bundles := s.attest(h, s.publish(h)).Bundles
	r := s.request()
	for name, test := range map[string]struct {
		statements []sign.Bundle
		want       policy.Result
	}{"not recorded": {nil, policy.Pass}, "recorded": {bundles, policy.Pass}, "nothing recorded": {[]sign.Bundle{}, policy.Fail}, "half of it": {slices.Clip(bundles[:1]), policy.Fail}} {
		r.Statements = test.statements
		if report, err := verify.Artifact(t.Context(), r); err != nil || report.Result != test.want {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
	}
}
