package kustomize

import (
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/testworld"
)

// judge is upstream's kustomize, which reaches no network and nobody's configuration.
func judge(t *testing.T) testworld.Judge {
	t.Helper()
	return testworld.Judge{Program: testworld.Upstream(t, "kustomize"), Env: []string{
		"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "https_proxy=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1",
	}}
}

// compare builds a folder with upstream and the overlay with us, through layout and tree, and reports what differs.
func compare(t *testing.T, kustomize testworld.Judge, dir string, overlay hydrate.Source) (objects int) {
	t.Helper()
	return kustomize.Compare(t, func() (iter.Seq2[string, []byte], error) {
		tree, err := layout(t, overlay)
		if err != nil {
			return nil, err
		}
		return tree.Files(), nil
	}, "build", dir)
}

func layout(t *testing.T, source hydrate.Source) (*hydrate.Tree, error) {
	t.Helper()
	pkg, err := Renderer{}.Open(t.Context(), source)
	if err != nil {
		return nil, err
	}
	rendered, err := pkg.Render(t.Context(), hydrate.Request{})
	if err != nil {
		return nil, err
	}
	objects, err := hydrate.Objects(rendered.Manifests)
	if err != nil {
		return nil, err
	}
	return hydrate.Layout(objects, hydrate.PerObject, "")
}

// world is an archive's two repositories.
type world struct{ source, gitops fstest.MapFS }

func readWorld(t testing.TB, name string, replace *strings.Replacer) world {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	w := world{fstest.MapFS{}, fstest.MapFS{}}
	for _, f := range archive.Files {
		file := &fstest.MapFile{Data: []byte(replace.Replace(string(f.Data))), Mode: 0o644}
		if name, ok := strings.CutPrefix(f.Name, "source/"); ok {
			w.source[name] = file
		} else {
			w.gitops[strings.TrimPrefix(f.Name, "gitops/")] = file
		}
	}
	return w
}

// TestObjectsEqualKustomizeBuild has upstream clone the source repository with git, and compares.
func TestObjectsEqualKustomizeBuild(t *testing.T) {
	t.Parallel()
	kustomize := judge(t)
	dir := t.TempDir()
	source := readWorld(t, "kitchen-sink", strings.NewReplacer()).source
	if err := os.CopyFS(filepath.Join(dir, "app"), source); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", filepath.Join(dir, "app"), "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	git("add", "-A")
	git("commit", "-q", "-m", "source")
	commit := git("rev-parse", "HEAD")
	url := "file://" + filepath.Join(dir, "app")
	gitops := readWorld(t, "kitchen-sink", strings.NewReplacer("$SOURCE", url, "$COMMIT", commit)).gitops
	if err := os.CopyFS(filepath.Join(dir, "gitops"), gitops); err != nil {
		t.Fatal(err)
	}
	// In this order: what one build loads of schemas must not reach the next.
	for _, stage := range []string{"prod", "plain", "schema", "plain", "prod", "schema"} {
		objects := compare(t, kustomize, filepath.Join(dir, "gitops", "stages", stage), hydrate.Source{Files: source, Repository: url, Commit: commit,
			Overlay: &hydrate.Overlay{GitOps: gitops, Options: hydrate.Options{Overlay: "stages/" + stage},
				Images: []lock.NamedImage{{Image: lock.Image{Ref: "example.com/another:v1", Digest: digest}}}}})
		if objects < 2 {
			t.Errorf("%s: only %d objects", stage, objects)
		}
	}
}

// TestRealKustomizations compares with upstream over every kustomization in the folders that LOCKAGE_KUSTOMIZATIONS
// names, separated by colons.
func TestRealKustomizations(t *testing.T) {
	t.Parallel()
	folders := filepath.SplitList(os.Getenv("LOCKAGE_KUSTOMIZATIONS"))
	if len(folders) == 0 {
		t.Skip("LOCKAGE_KUSTOMIZATIONS names no folders of kustomizations")
	}
	kustomize := judge(t)
	for _, folder := range folders {
		files := os.DirFS(folder)
		err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !slices.Contains(konfig.RecognizedKustomizationFileNames(), entry.Name()) {
				return err
			}
			t.Run(filepath.Base(folder)+"/"+path.Dir(name), func(t *testing.T) {
				t.Parallel()
				objects := compare(t, kustomize, filepath.Join(folder, path.Dir(name)), hydrate.Source{Files: fstest.MapFS{}, Repository: "https://example.com/none.git",
					Overlay: &hydrate.Overlay{GitOps: files, Options: hydrate.Options{Overlay: path.Dir(name)}}})
				t.Logf("%d objects", objects)
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

const (
	digest       = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	workerDigest = "sha256:baaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)
