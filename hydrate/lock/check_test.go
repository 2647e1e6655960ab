package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

// world is a source repository and a registry as a test wants them.
type world struct {
	commit   string
	digest   digest.Digest
	revision string
	err      error
	newest   string
}

func (w world) HasCommit(_ context.Context, repo, c string) (bool, error) {
	if repo != "https://github.com/acme/app.git" {
		return false, errors.New("asked of " + repo)
	}
	return c == w.commit, w.err
}

func (w world) Resolve(_ context.Context, ref string) (digest.Digest, error) {
	if !strings.Contains(ref, ":") || strings.Contains(ref, "@") {
		return "", errors.New("asked for " + ref)
	}
	return w.digest, w.err
}

func (w world) Revision(_ context.Context, ref string) (string, error) {
	if !strings.HasSuffix(ref, "@"+imageDigest) {
		return "", errors.New("asked for " + ref)
	}
	return w.revision, w.err
}

func (w world) Newer(_ context.Context, dir, release string) (string, error) {
	if dir != "d" || release != "git-"+commit {
		return "", errors.New("asked for " + dir + "/" + release)
	}
	return w.newest, nil
}

func TestCheck(t *testing.T) {
	t.Parallel()
	history := "d/git-" + commit + ".yaml"
	good := world{commit: commit, digest: imageDigest, revision: commit}
	pass := []CheckResult{{CheckFormat, Pass, ""}, {CheckReleaseID, Pass, ""}, {CheckFilesAgree, Pass, ""}, {CheckOrder, Pass, ""},
		{CheckCommit, Pass, ""}, {CheckImageDigest, Pass, ""}, {CheckImageRevision, Pass, ""}}
	with := func(changes ...CheckResult) []CheckResult {
		want := append([]CheckResult{}, pass...)
		for _, c := range changes {
			for i := range want {
				if want[i].Check == c.Check {
					want[i] = c
				}
			}
		}
		return want
	}
	both := func(text string) fstest.MapFS {
		return fstest.MapFS{"d/current.yaml": {Data: []byte(text)}, history: {Data: []byte(text)}}
	}
	const other = "ffffffffffffffffffffffffffffffffffffffff"
	tests := map[string]struct {
		files fstest.MapFS
		world world
		want  []CheckResult
	}{
		"all is well":             {both(full), good, pass},
		"sha1 revision":           {both(full), world{commit, imageDigest, "sha1:" + commit, nil, ""}, pass},
		"short form":              {both(strings.Replace(full, "  sourceRepo: https://github.com/acme/app.git\n", "", 1)), good, pass},
		"files differ":            {fstest.MapFS{"d/current.yaml": {Data: []byte(full)}, history: {Data: []byte(strings.Replace(full, "sourcePath: ", "sourcePath: other/", 1))}}, good, with(CheckResult{CheckFilesAgree, Fail, history + " and current.yaml differ: the history file is the record, copy it over the other"})},
		"written at another time": {fstest.MapFS{"d/current.yaml": {Data: []byte(full)}, history: {Data: []byte("---\n" + strings.Replace(full, "createdAt: '20", "createdAt: '19", 1))}}, good, pass},
		"no history file":         {fstest.MapFS{"d/current.yaml": {Data: []byte(full)}}, good, with(CheckResult{CheckFilesAgree, Fail, history + " does not exist: write it with `lockage lock write --commit " + commit + "`"})},
		"other release": {both(strings.Replace(full, "gitCommit: "+commit, "gitCommit: "+other, 1)), world{other, imageDigest, other, nil, ""},
			with(CheckResult{CheckReleaseID, Fail, `releaseId "git-` + commit + `" belongs to another commit: gitCommit is "` + other + `"`})},
		"everything is wrong": {both(full), world{"", "sha256:0", "main", nil, ""}, with(
			CheckResult{CheckCommit, Fail, "commit " + commit + " does not exist in the source repository: was it pushed?"},
			CheckResult{CheckImageDigest, Fail, "ghcr.io/acme/app:git-" + commit + " is now sha256:0, not " + imageDigest + ": the tag was moved, or the lock names another image"},
			CheckResult{CheckImageRevision, Fail, `the image was built from "main", not from ` + commit})},
		"an older one": {both(full), world{commit, imageDigest, commit, nil, "git-" + other}, with(CheckResult{CheckOrder, Fail,
			"current.yaml went back from git-" + other + ", which nothing follows: copy git-" + other + ".yaml over it; the way back is `lockage rollback`"})},
		"nothing answers": {both(full), world{err: errors.New("down")}, with(CheckResult{CheckCommit, Unknown, "down"}, CheckResult{CheckImageDigest, Unknown, "down"}, CheckResult{CheckImageRevision, Unknown, "down"})},
		"no such image": {both(full), world{commit: commit, err: fmt.Errorf("image: %w", fs.ErrNotExist)}, with(
			CheckResult{CheckCommit, Fail, "image: file does not exist"}, CheckResult{CheckImageDigest, Fail, "image: file does not exist"},
			CheckResult{CheckImageRevision, Fail, "image: file does not exist"})},
		"nothing to compare": {both(strings.Replace(full, "app:git-"+commit, "app", 1)), world{commit: commit}, with(
			CheckResult{CheckImageDigest, Skipped, "ghcr.io/acme/app has no tag"},
			CheckResult{CheckImageRevision, Skipped, "the image names no org.opencontainers.image.revision"})},
		"further image": {both(strings.Replace(full, "packaging:", "images: [{name: side, ref: 'x:1', digest: '"+imageDigest+"'}]\npackaging:", 1)), good,
			append(with(), CheckResult{CheckImageDigest + "/side", Pass, ""})},
		"unreadable": {both(strings.Replace(full, "v1", "v2", 1)), good, []CheckResult{
			{CheckFormat, Fail, `d/current.yaml:1:16: schemaVersion "v2" is not known: this version of lockage reads v1`},
			{CheckReleaseID, Skipped, "the lock cannot be read"}, {CheckFilesAgree, Skipped, "the lock cannot be read"}, {CheckOrder, Skipped, "the lock cannot be read"}, {CheckCommit, Skipped, "the lock cannot be read"},
			{CheckImageDigest, Skipped, "the lock cannot be read"}, {CheckImageRevision, Skipped, "the lock cannot be read"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Check(t.Context(), test.files, "d", "https://github.com/acme/app.git", test.world, Asked{test.world, test.world, nil})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	got, err := Check(t.Context(), both(full), "d", "", world{}, Asked{})
	want := with(CheckResult{CheckCommit, Skipped, "the source repository was not asked"}, CheckResult{CheckImageDigest, Skipped, "the registry was not asked"},
		CheckResult{CheckImageRevision, Skipped, "the registry was not asked"})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got, err := Check(t.Context(), fstest.MapFS{}, "d", "", world{}, Asked{}); err != nil || len(got) != 1 || got[0].Result != Skipped {
		t.Errorf("no lock yet: %v, %v", got, err)
	}
	lost := both(full)
	delete(lost, "d/current.yaml")
	if _, err := Check(t.Context(), lost, "d", "", world{}, Asked{}); err == nil {
		t.Error("no error for a missing lock")
	}
}

func TestCheckRecorded(t *testing.T) {
	t.Parallel()
	history := "d/git-" + commit + ".yaml"
	for name, test := range map[string]struct {
		history *fstest.MapFile
		want    string
	}{
		"the same":                {&fstest.MapFile{Data: []byte(full)}, ""},
		"written at another time": {&fstest.MapFile{Data: []byte("---\n" + strings.Replace(full, "createdAt: '20", "createdAt: '19", 1))}, ""},
		"different":               {&fstest.MapFile{Data: []byte(strings.Replace(full, "sourcePath: ", "sourcePath: other/", 1))}, "d/current.yaml: " + history + " and current.yaml differ"},
		"missing":                 {nil, "d/current.yaml: " + history + " does not exist: write it with `lockage lock write"},
		"a folder":                {&fstest.MapFile{Mode: fs.ModeDir}, "read lock: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := fstest.MapFS{"d/current.yaml": {Data: []byte(full)}}
			if test.history != nil {
				files[history] = test.history
			}
			current, err := Current(files, "d")
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := CheckRecorded(files, "d", "", current); err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, test.want) || (got == "") != (test.want == "") {
				t.Errorf("error %q, want %q", got, test.want)
			}
		})
	}
}
