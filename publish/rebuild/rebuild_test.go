package rebuild_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/helm"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/publish/rebuild"
	"github.com/lockage/lockage/sign"
)

// hydrated hydrates a stage of the demonstration, and returns what verification reads of its candidate.
func hydrated(t *testing.T) (verify.Examined, rebuild.Rebuilder) {
	t.Helper()
	setup := testworld.Demo(t, testworld.NewRegistry(t, registry.Options{}).Host, time.Unix(1_774_180_000, 0))
	o := git.Options{Dir: setup.GitOpsDir, CacheDir: t.TempDir(), Environ: testworld.Environ(), Warn: func(string) {}}
	w, err := workspace.Open(t.Context(), setup.GitOpsDir, o, policy.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	renderers := map[lock.Kind]hydrate.Renderer{lock.Helm: helm.Renderer{}}
	releases, err := publish.Run(t.Context(), publish.Options{
		Environment: publish.Environment{
			Workspace: w, Client: testworld.Client(), Keys: sign.NewKeyring(sign.PasswordFromEnv(nil)), Version: "test",
			Random: func(int64) int64 { return 0 }, Warn: func(string) {}, Step: func(string) {},
		},
		Stages:    []string{"staging"},
		Renderers: renderers,
	})
	if err != nil || releases[0].Stages[0].Err != nil {
		t.Fatal(err, releases)
	}
	ref, err := w.Policy(t.Context(), "", func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	files, err := ref.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pipelines, err := w.Pipelines(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	requests, err := verify.Find(t.Context(), verify.Query{Artifact: "staging"}, pipelines, files, testworld.Client(), w.Repository)
	if err != nil {
		t.Fatal(err)
	}
	requests[0].Files, requests[0].PolicyRef, requests[0].Remotes = files, ref, w.Repository
	examined, err := verify.Examine(t.Context(), requests[0])
	if err != nil || examined.Report.Result != policy.Pass {
		t.Fatalf("%+v, %v", examined.Report, err)
	}
	return examined, rebuild.Rebuilder{Commits: ref, Sources: w.Repository, Renderers: renderers, Version: "test"}
}

// TestRebuild compares artifacts with what their provenance renders to: it is equal, or the result says how not.
func TestRebuild(t *testing.T) {
	t.Parallel()
	honest, again := hydrated(t)
	for name, test := range map[string]struct {
		change func(*verify.Examined, *rebuild.Rebuilder)
		want   policy.Result
		says   string
	}{
		"equal": {func(*verify.Examined, *rebuild.Rebuilder) {}, policy.Pass, "the manifest is equal, byte for byte"},
		"by another version": {func(_ *verify.Examined, r *rebuild.Rebuilder) {
			r.Version = "next"
		}, policy.Pass, "made by lockage test with "},
		"without provenance": {func(e *verify.Examined, _ *rebuild.Rebuilder) {
			e.Hydration.Statements = nil
		}, policy.Fail, "nothing says what to render"},
		"provenance off the policy ref": {func(e *verify.Examined, _ *rebuild.Rebuilder) {
			e.Hydration.OnPolicyRef = nil
		}, policy.Fail, "nothing says what to render"},
		"provenance of another stage": {func(e *verify.Examined, _ *rebuild.Rebuilder) {
			e.Claim.Stage = "production"
		}, policy.Fail, "nothing says what to render"},
		"other files": {func(e *verify.Examined, _ *rebuild.Rebuilder) {
			repack(t, e, fstest.MapFS{"evil.yaml": {Data: []byte("kind: Evil\n")}}, nil)
		}, policy.Fail, "added evil.yaml"},
		"equal files, other annotations": {func(e *verify.Examined, _ *rebuild.Rebuilder) {
			repack(t, e, e.Tree, map[string]string{oci.AnnotationStage: "production"})
		}, policy.Fail, "with equal files: the manifests differ in "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, r := honest, again
			test.change(&e, &r)
			result, err := r.Rebuild(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			if c := result.Check; c.Check != "rebuild" || c.Result != test.want || !strings.Contains(c.Reason, test.says) {
				t.Errorf("%+v, want %s with %q", c, test.want, test.says)
			}
			if result.Check.Result == policy.Pass && (result.Commit == "" || result.Renderer == "") {
				t.Errorf("%+v does not say from what it was rendered", result)
			}
		})
	}
}

// repack puts another artifact in the place of the one that was examined.
func repack(t *testing.T, e *verify.Examined, files fs.FS, annotations map[string]string) {
	t.Helper()
	repository := testworld.NewRegistry(t, registry.Options{}).Repository(t, "other")
	packed := testworld.Push(t, repository, files, annotations)
	manifest, err := repository.ReadArtifact(t.Context(), packed.Descriptor.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if e.Tree, err = repository.Pull(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
	e.Manifest, e.Report.Digest = manifest, packed.Descriptor.Digest
}

// TestUnavailable says that an artifact cannot be rendered where its inputs cannot be read.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	e, r := hydrated(t)
	r.Renderers = nil
	if result, err := r.Rebuild(t.Context(), e); err == nil || !strings.Contains(err.Error(), "cannot be rendered again") || result.Check.Result == policy.Pass {
		t.Errorf("%+v, %v", result, err)
	}
}
