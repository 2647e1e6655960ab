package lock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

// line is a history in which each commit's ancestors come before it.
type line []string

func (l line) IsAncestor(_ context.Context, ancestor, descendant string) (bool, error) {
	a, d := -1, -1
	for i, c := range l {
		if c == ancestor {
			a = i
		}
		if c == descendant {
			d = i
		}
	}
	if a < 0 || d < 0 {
		return false, errors.New("no such commit")
	}
	return a <= d, nil
}

func at(commit string) Lock {
	l := fullLock()
	l.ReleaseID, l.GitCommit, l.Image.Ref = "git-"+commit, commit, "ghcr.io/acme/app:git-"+commit
	return l
}

func openRoot(t *testing.T) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, dir
}

func TestWrite(t *testing.T) {
	t.Parallel()
	root, dir := openRoot(t)
	ctx := t.Context()
	older, newer, later := strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40)
	history := line{older, newer, later}
	write := func(l Lock, wantHistory, wantCurrent Action) {
		t.Helper()
		plan, err := Prepare(ctx, root.FS(), "builds/app", l, history)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Write(ctx, root, "builds/app", l, history)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, plan.Written); diff != "" {
			t.Errorf("prepared is something else than written: %s", diff)
		}
		for _, name := range plan.Paths {
			if data, err := fs.ReadFile(root.FS(), name); err != nil || string(data) != string(plan.Data) {
				t.Errorf("%s was prepared as %q, and written as %q: %v", name, plan.Data, data, err)
			}
		}
		want := [2]WrittenFile{{"builds/app/" + l.ReleaseID + ".yaml", wantHistory}, {"builds/app/current.yaml", wantCurrent}}
		if diff := cmp.Diff(want, [2]WrittenFile{got.History, got.Current}); diff != "" {
			t.Error(diff)
		}
	}
	current := func(want string) {
		t.Helper()
		f, err := Current(root.FS(), "builds/app")
		if err != nil {
			t.Fatal(err)
		}
		r, err := Release(root.FS(), "builds/app", "git-"+want)
		if err != nil {
			t.Fatal(err)
		}
		r.Path = f.Path
		if diff := cmp.Diff(r, f); diff != "" {
			t.Errorf("current.yaml is not the history file of %s: %s", want, diff)
		}
	}
	write(at(newer), Created, Created)
	current(newer)
	write(at(newer), Unchanged, Unchanged)
	write(at(older), Created, Newer)
	current(newer)
	write(at(later), Created, Updated)
	current(later)

	// A later run is the same release.
	again := at(later)
	again.CreatedAt = "2027-01-01T00:00:00Z"
	write(again, Unchanged, Unchanged)
	// A run that died between the two renames is completed.
	if err := os.Remove(filepath.Join(dir, "builds/app/current.yaml")); err != nil {
		t.Fatal(err)
	}
	write(again, Unchanged, Created)
	current(later)
	// current.yaml edited by hand, for the same commit, is put right.
	edited := at(later)
	edited.CreatedAt = ""
	if err := os.WriteFile(filepath.Join(dir, "builds/app/current.yaml"), Format(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	write(again, Unchanged, Updated)
	current(later)

	ids, err := Releases(root.FS(), "builds/app")
	if diff := cmp.Diff([]string{"git-" + older, "git-" + newer, "git-" + later}, ids); diff != "" || err != nil {
		t.Error(diff, err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "builds/app"))
	if len(entries) != 4 || err != nil {
		t.Errorf("files are left over: %v %v", entries, err)
	}
}

func TestWriteKeepsShortForm(t *testing.T) {
	t.Parallel()
	root, dir := openRoot(t)
	short := fullLock()
	short.SchemaVersion, short.Packaging.SourceRepo, short.CreatedAt = "", "", ""
	name := filepath.Join(dir, "git-"+commit+".yaml")
	if err := os.WriteFile(name, append([]byte("---\n"), Format(short)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), root, ".", fullLock(), line{}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{name, filepath.Join(dir, "current.yaml")} {
		if got, err := os.ReadFile(f); err != nil || string(got) != "---\n"+string(Format(short)) {
			t.Errorf("%s: %v\n%s", f, err, got)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	root, dir := openRoot(t)
	before, err := Write(t.Context(), root, "b", fullLock(), nil)
	if err != nil {
		t.Fatal(err)
	}
	state := func() map[string]string {
		files := map[string]string{}
		entries, err := os.ReadDir(filepath.Join(dir, "b"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			data, err := os.ReadFile(filepath.Join(dir, "b", e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			files[e.Name()] = string(data)
		}
		return files
	}
	want := state()
	shortCommit := before.Lock
	shortCommit.GitCommit = commit[:7]
	for name, test := range map[string]struct {
		dir, want string
		lock      Lock
	}{
		"a bad lock":    {"b", `gitCommit "0123456" is abbreviated`, shortCommit},
		"no ancestry":   {"b", "is commit " + strings.Repeat("a", 40) + " older than " + commit + ", which current.yaml names: no such commit", at(strings.Repeat("a", 40))},
		"outside":       {"../x", "escapes", fullLock()},
		"absolute path": {"/x", "escapes", fullLock()},
	} {
		_, err := Write(t.Context(), root, test.dir, test.lock, line{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
		if diff := cmp.Diff(want, state()); diff != "" {
			t.Errorf("%s changed files: %s", name, diff)
		}
	}
}

// TestWriteFurther: another lock of a commit is a further release of it, with an id of its own, which the lock's content gives.
func TestWriteFurther(t *testing.T) {
	t.Parallel()
	root, _ := openRoot(t)
	first, err := Write(t.Context(), root, "b", fullLock(), line{})
	if err != nil {
		t.Fatal(err)
	}
	rebuilt := fullLock()
	rebuilt.Image.Digest = digest.FromString("another")
	further, err := Write(t.Context(), root, "b", rebuilt, line{})
	if err != nil || !regexp.MustCompile("^git-"+commit+"-[0-9a-f]{12}$").MatchString(further.Lock.ReleaseID) || further.History.Action != Created || further.Current.Action != Updated {
		t.Fatalf("%+v, %v", further, err)
	}
	rebuilt.CreatedAt = "2027-01-01T00:00:00Z"
	again, err := Write(t.Context(), root, "b", rebuilt, line{})
	if err != nil || again.Lock.ReleaseID != further.Lock.ReleaseID || again.History.Action != Unchanged || again.Current.Action != Unchanged {
		t.Errorf("again: %+v, %v", again, err)
	}
	// The first one comes late: it does not replace what came after it.
	late, err := Write(t.Context(), root, "b", fullLock(), line{})
	if err != nil || late.Lock.ReleaseID != first.Lock.ReleaseID || late.History.Action != Unchanged || late.Current.Action != Newer {
		t.Errorf("late: %+v, %v", late, err)
	}
	f, err := Release(root.FS(), "b", further.Lock.ReleaseID)
	if err != nil || f.Image.Digest != rebuilt.Image.Digest {
		t.Errorf("read: %+v, %v", f, err)
	}
	for want, text := range map[string]string{
		"belongs to another lock of the commit: this one would be " + further.Lock.ReleaseID: strings.Replace(string(f.Data), further.Lock.ReleaseID, "git-"+commit+"-000000000000", 1),
		"depends on packaging.sourceRepo, which is missing":                                  strings.Replace(string(f.Data), "  sourceRepo: https://github.com/acme/app.git\n", "", 1),
	} {
		if _, err := Parse("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for short, want := range map[string]bool{"git-0123": true, "git-0124": false, further.Lock.ReleaseID: true, "git-0123-": true, further.Lock.ReleaseID[:46]: true, "git-0123-x": false} {
		if Abbreviates(short, further.Lock.ReleaseID) != want {
			t.Errorf("%s: want %v", short, want)
		}
	}
	if Abbreviates("git-0123-", first.Lock.ReleaseID) || !Abbreviates(first.Lock.ReleaseID, first.Lock.ReleaseID) {
		t.Error("the first release of a commit has nothing behind the commit")
	}
}

func TestWriteFollowsNoLinkOut(t *testing.T) {
	t.Parallel()
	root, dir := openRoot(t)
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, Format(fullLock()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "b", "current.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), root, "b", fullLock(), line{}); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("got %v", err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), root, "link", fullLock(), line{}); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("got %v", err)
	}
}

func TestReadMissing(t *testing.T) {
	t.Parallel()
	root, dir := openRoot(t)
	if _, err := Current(root.FS(), "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := Release(root.FS(), "b", "git-"+commit); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := Release(root.FS(), "b", "../x"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := Releases(root.FS(), "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "git-"+strings.Repeat("a", 40)+".yaml"), Format(fullLock()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Release(root.FS(), ".", "git-"+strings.Repeat("a", 40)); err == nil || !strings.Contains(err.Error(), "holds another release") {
		t.Errorf("got %v", err)
	}
}
