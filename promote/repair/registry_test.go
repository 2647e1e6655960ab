package repair_test

import (
	"context"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// TestPruned leaves away what was removed on purpose: its records are still listed.
func TestPruned(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.next()
	repository := s.registry.Repository(t, "codeai-manifests")
	if err := repository.DeleteManifest(t.Context(), digest.Digest(s.artifact)); err != nil {
		t.Fatal(err)
	}
	s.findings(s.repair(false, ""), true)
}

// TestOtherBuild puts nothing else back than what was promoted: files that another build of lockage packed have another digest. What was live
// before comes back nonetheless, without a tag.
func TestOtherBuild(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	e := s.environment()
	ref, files, pipelines, err := e.Trusted(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	current, err := pipelines[0].CurrentLock(files)
	if err != nil {
		t.Fatal(err)
	}
	declared, err := pipelines[0].Expand("staging", current.Lock, files)
	if err != nil {
		t.Fatal(err)
	}
	stage, err := live.Open(t.Context(), files, ref, declared, e.Client, e.Workspace.Repository)
	if err != nil {
		t.Fatal(err)
	}
	state, err := live.ReadGit(t.Context(), stage)
	if err != nil {
		t.Fatal(err)
	}
	before := *state.Live
	rec, err := stage.Record(e, ref, predicate.Promoted, before.To, &before)
	if err != nil {
		t.Fatal(err)
	}
	rec.Checks = before.Checks
	rec.To.Digest = digest.FromString("packed by another build")
	files, err = ledger.Files(t.Context(), stage.Remote, git.Hash(before.Commit), before.Path)
	if err != nil {
		t.Fatal(err)
	}
	rests := ledger.Statements{Bundles: s.provenance(before, rec.To.Digest)}
	if _, err := stage.Write(t.Context(), e, declared, rec, rests, ledger.Change{
		Artifact:  ledger.Artifact{Source: before.Metadata.Lockage.Source, GitOps: ledger.Origin{URL: before.Metadata.RepoURL, Commit: before.Metadata.DrySHA}},
		Tree:      func(context.Context) (fs.FS, error) { return files, nil },
		Promotion: &ledger.Promotion{Expected: state.Tree},
	}); err != nil {
		t.Fatal(err)
	}
	empty := registry.New(registry.Options{})
	t.Cleanup(func() { _ = empty.Close() })
	s.registry.Intercept(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { empty.ServeHTTP(w, r) })
	if r := s.repair(false, ""); r.Err == nil || !strings.Contains(r.Err.Error(), "another build of lockage made it") {
		t.Errorf("%+v", r)
	}
	repository := s.registry.Repository(t, "codeai-manifests")
	if _, err := repository.Whole(t.Context(), before.To.Digest); err != nil {
		t.Errorf("what was live before is not back: %v", err)
	}
	if named, err := repository.Lookup(t.Context(), "staging"); err != nil || named != "" {
		t.Errorf("the tag names %s, %v", named, err)
	}
}

// provenance signs what was stated of a promotion's artifact about another one.
func (s *scene) provenance(of live.Promotion, about digest.Digest) (signed []sign.Bundle) {
	s.Helper()
	key, err := sign.OpenKey(s.Context(), s.demo.PrivateKey, nil)
	if err != nil {
		s.Fatal(err)
	}
	for _, b := range of.Statements.Bundles {
		v, err := sign.Claimed(of.To.Digest, b)
		if err != nil {
			s.Fatal(err)
		}
		p, err := v.Provenance()
		if err != nil {
			continue // it is another statement
		}
		statement, err := sign.NewProvenance(about, p)
		if err != nil {
			s.Fatal(err)
		}
		bundle, err := sign.Sign(s.Context(), key, statement)
		if err != nil {
			s.Fatal(err)
		}
		signed = append(signed, bundle)
	}
	return signed
}
