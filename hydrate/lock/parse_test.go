package lock

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	commit      = "0123456789abcdef0123456789abcdef01234567"
	imageDigest = "sha256:abababababababababababababababababababababababababababababababab"
)

// full is the format as the package documentation shows it.
var full = `schemaVersion: v1
releaseId: git-` + commit + `
gitCommit: ` + commit + `
image:
  ref: ghcr.io/acme/app:git-` + commit + `
  digest: ` + imageDigest + `
packaging:
  kind: helm
  sourceRepo: https://github.com/acme/app.git
  sourcePath: k8s/helm
createdAt: '2026-03-22T12:34:56Z'
`

func fullLock() Lock {
	return Lock{
		SchemaVersion: "v1", ReleaseID: "git-" + commit, GitCommit: commit,
		Image:     Image{Ref: "ghcr.io/acme/app:git-" + commit, Digest: imageDigest},
		Packaging: Packaging{Kind: Helm, SourceRepo: "https://github.com/acme/app.git", SourcePath: "k8s/helm"},
		CreatedAt: "2026-03-22T12:34:56Z",
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(full, string(Format(fullLock()))); diff != "" {
		t.Error(diff)
	}
	short, images, digits := fullLock(), fullLock(), fullLock()
	short.SchemaVersion, short.Packaging.SourceRepo, short.CreatedAt = "", "", ""
	images.Others = []NamedImage{{"sidecar", Image{"ghcr.io/acme/sidecar:v1", imageDigest}}}
	digits.GitCommit = strings.Repeat("12345678", 5) // YAML would read a number
	digits.ReleaseID = "git-" + digits.GitCommit
	for name, l := range map[string]Lock{"full": fullLock(), "short": short, "images": images, "digits": digits} {
		got, err := Parse("f", Format(l))
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, Format(l))
		} else if diff := cmp.Diff(l, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if want := "images:\n  - name: sidecar\n    ref: ghcr.io/acme/sidecar:v1\n    digest: " + imageDigest + "\npackaging:"; !strings.Contains(string(Format(images)), want) {
		t.Errorf("images are written as\n%s", Format(images))
	}
}

// TestParseWriters reads what Ruby's and Go's YAML writers make of a lock.
func TestParseWriters(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"ruby":            "---\n" + full,
		"go":              strings.ReplaceAll(full, "'", `"`),
		"time unquoted":   strings.ReplaceAll(full, "'", ""),
		"go indents by 4": strings.ReplaceAll(full, "\n  ", "\n    "),
		"windows":         strings.ReplaceAll(full, "\n", "\r\n"),
	} {
		got, err := Parse("f", []byte(in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(fullLock(), got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	other := strings.Repeat("f", 40)
	tests := map[string]struct{ old, new, want string }{
		"other schema":      {"v1\n", "v2\n", `f:1:16: schemaVersion "v2" is not known: this version of lockage reads v1`},
		"unknown key":       {"createdAt:", "createdat:", `f:11:1: unknown key "createdat" (did you mean "createdAt"?)`},
		"empty digest":      {imageDigest, "''", "f:6:11: image.digest is empty: write what `crane digest ghcr.io/acme/app:git-" + commit + "` prints"},
		"empty reference":   {"ghcr.io/acme/app:git-" + commit, "''", "f:5:8: image.ref is empty: give it a value"},
		"empty kind":        {"kind: helm", "kind: ''", "f:8:9: packaging.kind is empty: give it a value"},
		"empty path":        {"sourcePath: k8s/helm", "sourcePath: ''", "f:10:15: packaging.sourcePath is missing"},
		"null digest":       {imageDigest, "", "f:6:10: image.digest is empty: write what `crane digest ghcr.io/acme/app:git-" + commit + "` prints"},
		"no digest":         {"  digest: " + imageDigest + "\n", "", "f:5:3: image.digest is empty: write what `crane digest ghcr.io/acme/app:git-" + commit + "` prints"},
		"digest too short":  {imageDigest, "sha256:abc", "f:6:11: image.digest \"sha256:abc\" is not sha256: and 64 lower-case hex digits: write what `crane digest ghcr.io/acme/app:git-" + commit + "` prints"},
		"short sha":         {"gitCommit: " + commit, "gitCommit: 0123abc", `f:3:12: gitCommit "0123abc" is abbreviated: write the full id that git rev-parse 0123abc prints`},
		"branch for sha":    {"gitCommit: " + commit, "gitCommit: main", `f:3:12: gitCommit "main" is not a commit id of 40 lower-case hex digits`},
		"other release":     {"gitCommit: " + commit, "gitCommit: " + other, `f:2:12: releaseId "git-` + commit + `" belongs to another commit: gitCommit is "` + other + `"`},
		"malformed release": {"releaseId: git-", "releaseId: v", `f:2:12: releaseId "v` + commit + `" is not "git-" and a full commit id of 40 lower-case hex digits, with or without "-" and 12 digits of what the lock means`},
		"bad ref":           {"ref: ghcr.io/acme/app", "ref: ghcr.io/Acme/app", `f:5:8: image reference "ghcr.io/Acme/app:git-` + commit + `" is malformed: write one like ghcr.io/acme/app:v1`},
		"ref is a digest":   {"ghcr.io/acme/app:git-" + commit, imageDigest, `f:5:8: image reference "` + imageDigest + `" is a digest without a repository: write one like ghcr.io/acme/app@sha256:…`},
		"ref pins another":  {"app:git-" + commit, "app@sha256:" + strings.Repeat("c", 64), `f:5:8: image reference "ghcr.io/acme/app@sha256:` + strings.Repeat("c", 64) + `" names another digest than the digest beside it`},
		"bad kind":          {"kind: helm", "kind: jsonnet", `f:8:9: packaging.kind "jsonnet" is not known: write helm, kustomize or chart`},
		"absolute path":     {"k8s/helm", "/k8s", `f:10:15: packaging.sourcePath "/k8s" is absolute: write it relative to the source repository's root`},
		"path leaves":       {"k8s/helm", "k8s/../../x", "f:10:15: packaging.sourcePath \"k8s/../../x\" holds `..`: write it relative to the source repository's root"},
		"path backslash":    {"k8s/helm", `k8s\helm`, `f:10:15: packaging.sourcePath "k8s\\helm" holds a backslash: write slashes`},
		"path not clean":    {"k8s/helm", "./k8s/helm/", `f:10:15: packaging.sourcePath "./k8s/helm/" is not in its shortest form: write "k8s/helm"`},
		"repo an option":    {"https://github.com/acme/app.git", "--upload-pack=evil", "f:9:15: packaging.sourceRepo is not a repository URL: write one like https://github.com/acme/app.git"},
		"repo a helper":     {"https://github.com/acme/app.git", "ext::sh -c evil", "f:9:15: packaging.sourceRepo is not a repository URL: write one like https://github.com/acme/app.git"},
		"repo with secret":  {"https://github.com", "https://x:hunter2@github.com", "f:9:15: packaging.sourceRepo carries credentials: revoke them, remove them from the URL and use git's credential helpers"},
		"repo with token":   {"https://github.com", "https://hunter2@github.com", "f:9:15: packaging.sourceRepo carries credentials: revoke them, remove them from the URL and use git's credential helpers"},
		"repo no URL":       {"https://github.com", "https://x:hunter2%zz@github.com", "f:9:15: packaging.sourceRepo is not a valid URL: write one like https://github.com/acme/app.git"},
		"bad time":          {"2026-03-22T12:34:56Z", "yesterday", `f:11:12: createdAt "yesterday" is not an RFC 3339 time: write one like '2026-03-22T12:34:56Z'`},
		"image of nothing":  {"image:\n  ref: ghcr.io/acme/app:git-" + commit + "\n  digest: " + imageDigest + "\n", "image:\n", "f:4:7: image is empty: write ref and digest, or take the key out if the release has no image"},
		"image without ref": {"image:\n  ref: ghcr.io/acme/app:git-" + commit + "\n", "image:\n", "f:5:3: image.ref is missing"},
		"digest a list":     {imageDigest, "[]", "f:6:11: image.digest: expected a string, found a list"},
		"named images": {"packaging:", "images:\n  - {name: a, ref: x:1, digest: " + imageDigest + "}\n  - {name: a, ref: x:2, digest: ''}\n  - {name: A/b, ref: x:2, digest: " + imageDigest + "}\npackaging:",
			"f:9:12: image name \"a\" is given twice\nf:9:33: images.a.digest is empty: write what `crane digest x:2` prints\n" +
				"f:10:12: image name \"A/b\" is not lower-case letters, digits, dots, dashes and underscores"},
		"everything is missing": {full, "{}", "f:1:1: gitCommit is missing: write the full id that git rev-parse HEAD prints in the source repository\nf:1:1: packaging is missing\nf:1:1: releaseId is missing"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := strings.Replace(full, test.old, test.new, 1)
			if in == full {
				t.Fatal("the test changes nothing")
			}
			l, err := Parse("f", []byte(in))
			if err == nil {
				t.Fatalf("accepted as %+v", l)
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error repeats a password")
			}
		})
	}
}

func TestCheckRepository(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"https://github.com/acme/app.git", "git@github.com:acme/app.git", "ssh://git@github.com/acme/app", "file:///srv/app.git", "/srv/app.git", "../app", "http://127.0.0.1:8080/app.git"} {
		if err := CheckRepository(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "-c", "ext::sh", "a b", "https://u@h/x", "ssh://u:p@h/x", "https://h/\x00"} {
		if CheckRepository(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestImage(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string][2]string{
		"ghcr.io/acme/app:v1":                {"ghcr.io/acme/app", "v1"},
		"localhost:5000/app":                 {"localhost:5000/app", ""},
		"localhost:5000/app:v1":              {"localhost:5000/app", "v1"},
		"ghcr.io/acme/app:v1@" + imageDigest: {"ghcr.io/acme/app", "v1"},
		"[::1]:5000/app@" + imageDigest:      {"[::1]:5000/app", ""},
		"app":                                {"app", ""},
		"registry.example/a/b_c/d--e:1.2_":   {"registry.example/a/b_c/d--e", "1.2_"},
	} {
		i := Image{ref, imageDigest}
		if got := [2]string{i.Repository(), i.Tag()}; got != want {
			t.Errorf("%s: got %v, want %v", ref, got, want)
		}
		if got := i.Pinned(); got != want[0]+"@"+imageDigest {
			t.Errorf("%s is pinned as %s", ref, got)
		}
		if msg := refFault(i); msg != "" {
			t.Errorf("%s: %s", ref, msg)
		}
	}
}

// TestCanonical proves that each field counts, but for when and how the lock was written.
func TestCanonical(t *testing.T) {
	t.Parallel()
	seen := map[string]string{string(fullLock().Canonical()): "full"}
	for name, change := range map[string]func(*Lock){
		"release":      func(l *Lock) { l.ReleaseID = "" },
		"commit":       func(l *Lock) { l.GitCommit = "" },
		"ref":          func(l *Lock) { l.Image.Ref = "" },
		"digest":       func(l *Lock) { l.Image.Digest = "" },
		"images":       func(l *Lock) { l.Others = []NamedImage{{}} },
		"image name":   func(l *Lock) { l.Others = []NamedImage{{Name: "x"}} },
		"image ref":    func(l *Lock) { l.Others = []NamedImage{{Image: Image{Ref: "x"}}} },
		"image digest": func(l *Lock) { l.Others = []NamedImage{{Image: Image{Digest: "x"}}} },
		"kind":         func(l *Lock) { l.Packaging.Kind = "" },
		"repo":         func(l *Lock) { l.Packaging.SourceRepo = "" },
		"path":         func(l *Lock) { l.Packaging.SourcePath = "" },
	} {
		l := fullLock()
		change(&l)
		if other, dup := seen[string(l.Canonical())]; dup {
			t.Errorf("%s encodes as %s does", name, other)
		}
		seen[string(l.Canonical())] = name
	}
	short := fullLock()
	short.SchemaVersion, short.CreatedAt, short.Packaging.SourceRepo = "", "2027-01-01T00:00:00Z", ""
	if short.Meaning() == fullLock().Meaning() || short.From(fullLock().Packaging.SourceRepo).Meaning() != fullLock().Meaning() {
		t.Error("the short form in the pipeline of that source repository means something else")
	}
	none, empty := fullLock(), fullLock()
	empty.Others = []NamedImage{}
	if !bytes.Equal(none.Canonical(), empty.Canonical()) {
		t.Error("no images and an empty list differ")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(chartLock))
	f.Add([]byte("---\n" + strings.ReplaceAll(full, "'", `"`)))
	f.Add([]byte(strings.Replace(full, "packaging:", "images:\n  - {name: a, ref: x:1, digest: "+imageDigest+"}\npackaging:", 1)))
	f.Add([]byte("image: {ref: &a x, digest: *a}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse("f", data)
		if err != nil {
			return
		}
		formatted := Format(l)
		again, err := Parse("f", formatted)
		if err != nil {
			t.Fatalf("%v\n%s", err, formatted)
		}
		if !bytes.Equal(l.Canonical(), again.Canonical()) || !bytes.Equal(Format(again), formatted) {
			t.Errorf("changes when written:\n%s\n%s", formatted, Format(again))
		}
	})
}
