package demo_test

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/demo"
	"github.com/lockage/lockage/policy"
)

// TestContent makes sure that the demo's files agree with each other and with the names that this package exports.
func TestContent(t *testing.T) {
	t.Parallel()
	gitOps := demo.GitOps()
	pipelines, err := pipeline.Load(gitOps, policy.Kinds(), "lockage.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(pipelines) != 1 || len(pipelines[0].Stages) != 4 {
		t.Fatalf("want one pipeline of four stages, got %+v", pipelines)
	}
	release := lock.Lock{
		ReleaseID: "git-0123456789012345678901234567890123456789",
		GitCommit: "0123456789012345678901234567890123456789",
		Image: lock.Image{
			Ref:    "ghcr.io/acme/codeai:git-0123456789012345678901234567890123456789",
			Digest: digest.FromString("app"),
		},
		Packaging: lock.Packaging{Kind: lock.Helm, SourceRepo: "https://github.com/acme/codeai.git", SourcePath: demo.ChartPath},
	}
	for _, stage := range pipelines[0].Stages {
		expanded, err := pipelines[0].Expand(stage.Name, release, gitOps)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(expanded.Repository, demo.Registry+"/") {
			t.Errorf("%s: artifacts go to %s, not to %s", stage.Name, expanded.Repository, demo.Registry)
		}
		if len(expanded.Values) != 2 {
			t.Errorf("%s: values %v", stage.Name, expanded.Values)
		}
		for _, file := range expanded.Values {
			if _, err := fs.Stat(gitOps, file.File); err != nil {
				t.Errorf("%s: %v", stage.Name, err)
			}
		}
	}

	file, err := fs.ReadFile(gitOps, "lockage.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{demo.LockDir, demo.PublicKey, "env://" + demo.PrivateKeyVariable} {
		if !bytes.Contains(file, []byte(name)) {
			t.Errorf("lockage.yaml does not name %s", name)
		}
	}
	// Files whose names begin with an underscore or a dot are easily left out of what is embedded.
	for _, name := range []string{"Chart.yaml", ".helmignore", "templates/_helpers.tpl"} {
		if _, err := fs.Stat(demo.Source(), demo.ChartPath+"/"+name); err != nil {
			t.Error(err)
		}
	}
}
