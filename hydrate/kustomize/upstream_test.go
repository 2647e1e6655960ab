package kustomize

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/testworld"
)

// upstreamBuild runs `kustomize build` and decodes its output with apimachinery, which knows nothing of our decoder.
func upstreamBuild(t *testing.T, kustomize, dir string) (map[string]any, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), kustomize, "build", dir)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "https_proxy=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("kustomize: %s", stderr.String())
	}
	return testworld.Objects(t, bytes.NewReader(out)), nil
}

// ourObjects builds an overlay through decoder, layout and tree.
func ourObjects(t *testing.T, source hydrate.Source) (map[string]any, error) {
	t.Helper()
	tree, err := layout(t, source)
	if err != nil {
		return nil, err
	}
	var all bytes.Buffer
	for name, data := range tree.Files() {
		fmt.Fprintf(&all, "---\n# %s\n%s", name, data)
	}
	return testworld.Objects(t, &all), nil
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
	return hydrate.Layout(objects, hydrate.PerObject)
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
	kustomize := testworld.Upstream(t, "kustomize")
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
		want, err := upstreamBuild(t, kustomize, filepath.Join(dir, "gitops", "stages", stage))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ourObjects(t, hydrate.Source{Files: source, Repository: url, Commit: commit, Overlay: &hydrate.Overlay{GitOps: gitops, Options: hydrate.Options{Overlay: "stages/" + stage},
			Images: []lock.NamedImage{{Image: lock.Image{Ref: "example.com/another:v1", Digest: digest}}}}})
		if err != nil {
			t.Fatal(err)
		}
		if len(want) < 2 {
			t.Errorf("%s: only %d objects", stage, len(want))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: objects differ (-kustomize +lockage):\n%s", stage, diff)
		}
	}
}

// TestKustomizationsOfOthers compares with upstream over every kustomization in the folders that LOCKAGE_KUSTOMIZATIONS
// names, separated by colons.
func TestKustomizationsOfOthers(t *testing.T) {
	t.Parallel()
	folders := filepath.SplitList(os.Getenv("LOCKAGE_KUSTOMIZATIONS"))
	if len(folders) == 0 {
		t.Skip("LOCKAGE_KUSTOMIZATIONS names no folders of kustomizations")
	}
	kustomize := testworld.Upstream(t, "kustomize")
	for _, folder := range folders {
		files := os.DirFS(folder)
		err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !slices.Contains(konfig.RecognizedKustomizationFileNames(), entry.Name()) {
				return err
			}
			t.Run(filepath.Base(folder)+"/"+path.Dir(name), func(t *testing.T) {
				t.Parallel()
				want, wantErr := upstreamBuild(t, kustomize, filepath.Join(folder, path.Dir(name)))
				got, gotErr := ourObjects(t, hydrate.Source{Files: fstest.MapFS{}, Repository: "https://example.com/none.git",
					Overlay: &hydrate.Overlay{GitOps: files, Options: hydrate.Options{Overlay: path.Dir(name)}}})
				switch {
				case wantErr != nil && gotErr != nil:
					t.Logf("both fail:\n%v\n%v", wantErr, gotErr)
				case wantErr != nil || gotErr != nil:
					t.Errorf("kustomize says: %v\nwe say: %v", wantErr, gotErr)
				default:
					t.Logf("%d objects", len(want))
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("objects differ (-kustomize +lockage):\n%.4000s", diff)
					}
				}
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
