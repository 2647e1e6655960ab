package git_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

const largeFile = "the file itself\n"

// lfsPointer returns what Git LFS commits in place of a file.
func lfsPointer(content string) (oid, pointer string) {
	oid = fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	return oid, fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", oid, len(content))
}

// lfsHandler answers the batch API for one file and serves it at /file; answer may change what it says.
func lfsHandler(t *testing.T, self func() string, content string, answer func(object map[string]any)) func(http.ResponseWriter, *http.Request) bool {
	oid, _ := lfsPointer(largeFile)
	return func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasSuffix(r.URL.Path, "/info/lfs/objects/batch"):
			var asked struct {
				Operation string
				Objects   []struct{ OID string }
			}
			if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Operation != "download" || len(asked.Objects) != 1 || asked.Objects[0].OID != oid {
				t.Errorf("asked for %+v (%v)", asked, err)
			}
			object := map[string]any{"oid": oid, "size": len(largeFile), "actions": map[string]any{"download": map[string]any{"href": self() + "/file", "header": map[string]string{"X-Ticket": "s3cret"}}}}
			if answer != nil {
				answer(object)
			}
			w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
			_ = json.NewEncoder(w).Encode(map[string]any{"transfer": "basic", "objects": []any{object}})
		case r.URL.Path == "/file":
			if r.Header.Get("X-Ticket") != "s3cret" {
				http.Error(w, "no ticket", http.StatusForbidden)
				break
			}
			_, _ = w.Write([]byte(content))
		default:
			return false
		}
		return true
	}
}

// readLarge reads a file of a remote's commit, first the pointer and then itself.
func readLarge(t *testing.T, url string, opts git.Options, head git.Hash) (string, error) {
	t.Helper()
	snapshot, err := openRemote(t, url, opts).Snapshot(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	files := snapshot.FS(t.Context())
	if _, pointer := lfsPointer(largeFile); true {
		if data, err := files.ReadFile("k8s/big.bin"); err != nil || string(data) != pointer {
			t.Errorf("not asked for the whole file: %q %v", data, err)
		}
	}
	sub, err := files.Whole().Sub("k8s")
	if err != nil {
		t.Fatal(err)
	}
	data, err := fs.ReadFile(sub, "big.bin")
	return string(data), err
}

func TestLargeFiles(t *testing.T) {
	t.Parallel()
	_, pointer := lfsPointer(largeFile)
	dir, head := testworld.Checkout(t, map[string]string{"k8s/big.bin": pointer, "k8s/small.txt": "small\n"})
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Ticket") == "" || r.Header.Get("Authorization") != "" {
			http.Error(w, "no ticket, or a password", http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(largeFile))
	}))
	t.Cleanup(other.Close)
	download := func(href string) func(map[string]any) {
		return func(o map[string]any) {
			o["actions"] = map[string]any{"download": map[string]any{"href": href, "header": map[string]string{"X-Ticket": "s3cret"}}}
		}
	}
	refused := func(code int) func(map[string]any) {
		return func(o map[string]any) {
			delete(o, "actions")
			o["error"] = map[string]any{"code": code, "message": "not\x1bhere"}
		}
	}
	for name, c := range map[string]struct {
		content string
		answer  func(map[string]any)
		warning string // it stays a pointer
		fails   string
	}{
		"there":               {content: largeFile},
		"on another host":     {answer: download(other.URL + "/x")},
		"not there":           {answer: refused(404), warning: "k8s/big.bin in Git LFS"},
		"other content":       {content: strings.ToUpper(largeFile), fails: "these are not the 16 bytes"},
		"cut off":             {content: largeFile[:8], fails: "these are not the 16 bytes"},
		"far too long":        {content: strings.Repeat(largeFile, 100), fails: "these are not the 16 bytes"},
		"by another scheme":   {answer: download("file:///etc/passwd"), fails: "not to be trusted"},
		"with a password":     {answer: download("http://a:s3cret@127.0.0.1:1/x"), fails: "not to be trusted"},
		"nothing about it":    {answer: func(o map[string]any) { o["oid"] = strings.Repeat("0", 64) }, warning: "the server has no sha256:"},
		"neither file nor no": {answer: func(o map[string]any) { delete(o, "actions") }, warning: "the server has no sha256:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, dir, full...)
			s.faults = append(s.faults, basicAuthUnless("/file", "bot", "s3cret"), lfsHandler(t, func() string { return s.URL }, c.content, c.answer))
			var w warnings
			opts := testworld.GitOptions(t)
			opts.Environ = gitConfig(t, "[credential]\n helper = \"!f() { echo username=bot; echo password=s3cret; }; f\"\n")
			opts.Warn = w.warn
			got, err := readLarge(t, s.url(), opts, head)
			switch {
			case c.fails != "":
				wantError(t, err, c.fails, "big.bin", "!s3cret")
				return
			case err != nil:
				t.Fatal(err)
			case c.warning != "":
				if got != pointer || strings.Count(w.String(), c.warning) != 1 || strings.Contains(w.String(), "\x1b") {
					t.Errorf("got %q, warned of %q", got, w.String())
				}
				return
			}
			if got != largeFile || w.String() != "" {
				t.Fatalf("got %q, warned of %q", got, w.String())
			}
			before := s.seen()
			if got, err := readLarge(t, s.url(), opts, head); err != nil || got != largeFile || s.seen() != before {
				t.Errorf("from the cache: %q %v, %d requests", got, err, s.seen()-before)
			}
		})
	}
}

// TestLargeFilesTogether reads a folder of 150 files. The server lacks one, and says of another what does not hold any more.
func TestLargeFilesTogether(t *testing.T) {
	t.Parallel()
	const n = 150
	files, contents := map[string]string{"k8s/small.txt": "small\n"}, map[string]string{}
	for i := range n {
		content := fmt.Sprintf("file %d\n", i)
		oid, pointer := lfsPointer(content)
		contents[oid] = content
		files[fmt.Sprintf("k8s/%03d.bin", i)], files[fmt.Sprintf("other/%03d.bin", i)] = pointer, pointer
	}
	absent, _ := lfsPointer("file 7\n")
	late, _ := lfsPointer("file 9\n")
	dir, head := testworld.Checkout(t, files)
	s := serve(t, dir, full...)
	var batches []int
	s.faults = append(s.faults, func(w http.ResponseWriter, r *http.Request) bool {
		id, isFile := strings.CutPrefix(r.URL.Path, "/file/")
		switch {
		case isFile:
			_, _ = io.WriteString(w, contents[id])
		case strings.HasSuffix(r.URL.Path, "/info/lfs/objects/batch"):
			var asked struct{ Objects []struct{ OID string } }
			if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
				t.Error(err)
			}
			batches = append(batches, len(asked.Objects))
			var objects []any
			for _, o := range asked.Objects {
				object := map[string]any{"oid": o.OID, "actions": map[string]any{"download": map[string]any{"href": s.URL + "/file/" + o.OID}}}
				switch {
				case o.OID == absent:
					object = map[string]any{"oid": o.OID, "error": map[string]any{"code": 404, "message": "not here"}}
				case o.OID == late && len(asked.Objects) > 1:
					object["actions"] = map[string]any{"download": map[string]any{"href": s.URL + "/gone"}}
				}
				objects = append(objects, object)
			}
			w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
			_ = json.NewEncoder(w).Encode(map[string]any{"objects": objects})
		case r.URL.Path == "/gone":
			http.Error(w, "too late", http.StatusGone)
		default:
			return false
		}
		return true
	})
	snapshot, err := openRemote(t, s.url(), testworld.GitOptions(t)).Snapshot(t.Context(), head)
	if err == nil {
		err = snapshot.Prefetch(t.Context(), "k8s")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasPrefix(name, "k8s/") || strings.HasSuffix(name, "small.txt") {
			continue
		}
		data, err := snapshot.FS(t.Context()).Whole().ReadFile(name)
		oid := fmt.Sprintf("%x", sha256.Sum256(data))
		if _, known := contents[oid]; err != nil || !known && name != "k8s/007.bin" {
			t.Errorf("%s: %q %v", name, data, err)
		}
	}
	// The first file asks about others, the absent one about the rest, and one where the answer did not hold any more, alone.
	if want := []int{100, 1 + n - 100, 1}; !slices.Equal(batches, want) {
		t.Errorf("asked about %v files at a time, want %v", batches, want)
	}
}

// basicAuthUnless lets only this user in, but to one path.
func basicAuthUnless(path, user, password string) func(http.ResponseWriter, *http.Request) bool {
	auth := basicAuth(user, password)
	return func(w http.ResponseWriter, r *http.Request) bool { return r.URL.Path != path && auth(w, r) }
}

func TestLargeFilesWithoutServer(t *testing.T) {
	t.Parallel()
	oid, pointer := lfsPointer(largeFile)
	dir, head := testworld.Checkout(t, map[string]string{"k8s/big.bin": pointer})
	s := serve(t, dir, full...)
	for _, url := range []string{s.url(), dir} {
		var w warnings
		opts := testworld.GitOptions(t)
		opts.Warn = w.warn
		if got, err := readLarge(t, url, opts, head); err != nil || got != pointer || strings.Count(w.String(), "k8s/big.bin in Git LFS") != 1 {
			t.Errorf("%s: got %q %v, warned of %q", url, got, err, w.String())
		}
	}
	// What git lfs fetched into a repository on this machine counts, if it is right.
	file := filepath.Join(".git/lfs/objects", oid[:2], oid[2:4], oid)
	testworld.Write(t, dir, map[string]string{file: largeFile})
	if got, err := readLarge(t, dir, testworld.GitOptions(t), head); err != nil || got != largeFile {
		t.Errorf("got %q %v", got, err)
	}
	testworld.Write(t, dir, map[string]string{file: "damaged"})
	_, err := readLarge(t, dir, testworld.GitOptions(t), head)
	wantError(t, err, "these are not the 16 bytes")
	// A server that is broken is not one without the file.
	s.faults = append(s.faults, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/lfs/") {
			return false
		}
		http.Error(w, "broken", http.StatusInternalServerError)
		return true
	})
	_, err = readLarge(t, s.url(), testworld.GitOptions(t), head)
	wantError(t, err, "HTTP 500", "/repo.git/info/lfs")
}

// TestLargeFilesAsConfigured commits a .lfsconfig, as everybody can who may push.
func TestLargeFilesAsConfigured(t *testing.T) {
	t.Parallel()
	_, pointer := lfsPointer(largeFile)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another server was asked") }))
	t.Cleanup(other.Close)
	dir, _ := testworld.Checkout(t, map[string]string{"k8s/big.bin": pointer})
	s := serve(t, dir, full...)
	s.faults = append(s.faults, lfsHandler(t, func() string { return s.URL }, largeFile, nil))
	for url, right := range map[string]bool{s.URL + "/elsewhere/info/lfs": true, other.URL + "/repo.git/info/lfs": false, "https://" + s.Listener.Addr().String(): false} {
		testworld.Write(t, dir, map[string]string{".lfsconfig": "[lfs]\n\turl = " + url + "\n"})
		head := testworld.Commit(t, dir, "configured")
		testworld.Git(t, dir, "push", "-q", s.bare(), "HEAD:refs/heads/main")
		var w warnings
		opts := testworld.GitOptions(t)
		opts.Warn = w.warn
		got, err := readLarge(t, s.url(), opts, head)
		if right && (err != nil || got != largeFile) || !right && (got != pointer || !strings.Contains(w.String(), ".lfsconfig names another server")) {
			t.Errorf("%s: got %q %v, warned of %q", url, got, err, w.String())
		}
	}
}

func TestLargeFilesOverSSH(t *testing.T) {
	t.Parallel()
	_, pointer := lfsPointer(largeFile)
	dir, head := testworld.Checkout(t, map[string]string{"k8s/big.bin": pointer})
	web := serve(t, dir)
	web.faults = append(web.faults, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/batch") && r.Header.Get("Authorization") != "RemoteAuth t1cket" {
			http.Error(w, "no ticket", http.StatusUnauthorized)
			return true
		}
		return false
	}, lfsHandler(t, func() string { return web.URL }, largeFile, nil))
	s := newSSHServer(t)
	testworld.Git(t, s.home, "clone", "-q", "--bare", dir, "app.git")
	url := "ssh://git@" + s.addr + "/~/app.git"
	var w warnings
	opts := testworld.GitOptions(t, s.environ()...)
	opts.Warn = w.warn
	if got, err := readLarge(t, url, opts, head); err != nil || got != pointer || !strings.Contains(w.String(), "git-lfs-authenticate") {
		t.Errorf("got %q %v, warned of %q", got, err, w.String())
	}
	answer := fmt.Sprintf(`{"href": %q, "header": {"Authorization": "RemoteAuth t1cket"}}`, web.URL+"/x/info/lfs")
	s.lfs.Store(&answer)
	if got, err := readLarge(t, url, testworld.GitOptions(t, s.environ()...), head); err != nil || got != largeFile {
		t.Errorf("got %q %v", got, err)
	}
}
