package workspace_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/testworld"
)

// team is a repository with pipelines at its root and in folders.
func team(t *testing.T) string {
	t.Helper()
	return repository(t, map[string]string{
		"lockage.yaml":        testworld.Pipeline("root", "registry.example.com", "hydrator"),
		"team/lockage.yaml":   testworld.Pipeline("team", "registry.example.com", "hydrator"),
		"team/apps/b.yaml":    testworld.Pipeline("b", "registry.example.com", "hydrator"),
		"team/apps/a.yaml":    testworld.Pipeline("a", "registry.example.com", "hydrator"),
		"team/apps/notes.txt": "no pipeline",
	})
}

func TestPipelineFilesAreNamedFromTheStartingFolder(t *testing.T) {
	t.Parallel()
	root := team(t)
	links := t.TempDir()
	for name, target := range map[string]string{"root": root, "team": filepath.Join(root, "team")} {
		if err := os.Symlink(target, filepath.Join(links, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		dir      string
		patterns []string
		want     string
	}{
		"root":                       {root, nil, "root"},
		"a folder's own":             {filepath.Join(root, "team"), nil, "team"},
		"root's from a folder":       {filepath.Join(root, "team/apps"), nil, "root"},
		"link to the root":           {filepath.Join(links, "root"), nil, "root"},
		"link to a folder":           {filepath.Join(links, "team"), nil, "team"},
		"folder below a link":        {filepath.Join(links, "root/team"), nil, "team"},
		"relative":                   {filepath.Join(root, "team"), []string{"apps/b.yaml"}, "b"},
		"up":                         {filepath.Join(root, "team/apps"), []string{"../lockage.yaml"}, "team"},
		"glob":                       {filepath.Join(root, "team"), []string{"apps/*.yaml"}, "a b"},
		"glob of folders":            {root, []string{"*/apps/[ab].yaml"}, "a b"},
		"glob below a link":          {filepath.Join(links, "team"), []string{"apps/*.yaml"}, "a b"},
		"several, each once, sorted": {root, []string{"team/apps/b.yaml", "lockage.yaml", "team/apps/*.yaml"}, "root a b"},
		"absolute":                   {filepath.Join(root, "team/apps"), []string{filepath.Join(root, "lockage.yaml")}, "root"},
		"absolute glob":              {root, []string{filepath.Join(root, "team/apps/*.yaml")}, "a b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t, c.dir)
			files, err := w.Files(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			pipelines, err := w.Pipelines(files, c.patterns)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(pipelines); got != c.want {
				t.Errorf("pipelines are %q, want %q", got, c.want)
			}
		})
	}
}

func names(pipelines []*pipeline.Pipeline) string {
	var all []string
	for _, p := range pipelines {
		all = append(all, p.Name)
	}
	return strings.Join(all, " ")
}

func TestPipelineFilesThatAreNotThere(t *testing.T) {
	t.Parallel()
	root := team(t)
	outside := filepath.Join(t.TempDir(), "lockage.yaml")
	testworld.Write(t, filepath.Dir(outside), map[string]string{"lockage.yaml": testworld.Pipeline("outside", "registry.example.com", "hydrator")})
	testworld.Write(t, root, map[string]string{"new.yaml": testworld.Pipeline("new", "registry.example.com", "hydrator")})
	w := open(t, filepath.Join(root, "team"))
	files, err := w.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ pattern, want string }{
		"empty":         {"", `-f ""`},
		"above":         {"../../lockage.yaml", "inside the repository"},
		"outside":       {outside, "inside the repository"},
		"absent":        {"nothing.yaml", workspace.ErrNoPipeline.Error()},
		"glob of none":  {"nothing/*.yaml", workspace.ErrNoPipeline.Error()},
		"not committed": {"../new.yaml", "is it committed?"},
		"malformed":     {"[", "syntax error in pattern"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := w.Pipelines(files, []string{"lockage.yaml", c.pattern})
			requireSelection(t, err, c.want)
		})
	}
}

func requireSelection(t *testing.T, err error, want string) {
	t.Helper()
	var selection *workspace.SelectionError
	if !errors.As(err, &selection) {
		t.Fatalf("error is %v, want one about what was selected", err)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("error is %q, want %q in it", err, want)
	}
}

func TestRepositoryWithoutPipelineFile(t *testing.T) {
	t.Parallel()
	w := open(t, repository(t, nil))
	files, err := w.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Pipelines(files, nil)
	requireSelection(t, err, "name others with -f")
	if !errors.Is(err, workspace.ErrNoPipeline) {
		t.Errorf("error is %v, want %v", err, workspace.ErrNoPipeline)
	}
}

func TestOpenOutsideOfARepository(t *testing.T) {
	t.Parallel()
	_, err := workspace.Open(t.Context(), t.TempDir(), testworld.GitOptions(t), nil)
	requireSelection(t, err, "-C names a folder inside its checkout")
}

func TestFilesAreCommittedOnesOrThoseOnDisk(t *testing.T) {
	t.Parallel()
	root := repository(t, map[string]string{"edited": "committed", "sparse/left-out": "committed", "kept/same": "committed"})
	testworld.Git(t, root, "sparse-checkout", "set", "kept")
	testworld.Write(t, root, map[string]string{"edited": "on disk", "new": "on disk"})
	secret := filepath.Join(t.TempDir(), "secret")
	testworld.Write(t, filepath.Dir(secret), map[string]string{"secret": "outside"})
	if err := os.Symlink(secret, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	w := open(t, root)
	committed, err := w.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	onDisk, err := w.WorkTree()
	if err != nil {
		t.Fatal(err)
	}
	present, err := w.Present(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const absent = "(absent)"
	for name, want := range map[string]struct{ committed, onDisk, present string }{
		"edited":          {"committed", "on disk", "on disk"},
		"new":             {absent, "on disk", "on disk"},
		"kept/same":       {"committed", "committed", "committed"},
		"sparse/left-out": {"committed", absent, "committed"},
		"absent":          {absent, absent, absent},
	} {
		for _, c := range []struct {
			of    string
			files fs.FS
			want  string
		}{{"Files", committed, want.committed}, {"WorkTree", onDisk, want.onDisk}, {"Present", present, want.present}} {
			data, err := fs.ReadFile(c.files, name)
			got := string(data)
			if errors.Is(err, fs.ErrNotExist) {
				got = absent
			} else if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("%s has %q for %s, want %q", c.of, got, name, c.want)
			}
		}
	}
	for of, files := range map[string]fs.FS{"WorkTree": onDisk, "Present": present} {
		if data, err := fs.ReadFile(files, "link"); err == nil {
			t.Errorf("%s follows a link out of the checkout, to %q", of, data)
		}
	}
}

func TestBareRepositoryHasCommitsOnly(t *testing.T) {
	t.Parallel()
	w := open(t, testworld.Bare(t, team(t)))
	if _, err := w.WorkTree(); err == nil {
		t.Error("a bare repository has a work tree")
	}
	files, err := w.Present(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pipelines, err := w.Pipelines(files, []string{"team/lockage.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if got := names(pipelines); got != "team" {
		t.Errorf("pipelines are %q, want team", got)
	}
}

func TestFilesOfAnotherCommit(t *testing.T) {
	t.Parallel()
	root := repository(t, map[string]string{"file": "old"})
	testworld.Git(t, root, "tag", "v1")
	testworld.Write(t, root, map[string]string{"file": "new"})
	commit(t, root)
	w := open(t, root)
	for rev, want := range map[string]string{"v1": "old", "main": "new", "HEAD": "new"} {
		files, err := w.At(t.Context(), rev)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := fs.ReadFile(files, "file"); err != nil || string(data) != want {
			t.Errorf("at %s the file is %q (%v), want %q", rev, data, err, want)
		}
	}
	_, err := w.At(t.Context(), "absent")
	requireSelection(t, err, "revision absent")
}
