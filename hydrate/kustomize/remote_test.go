package kustomize

import (
	"path"
	"strings"
	"testing"
)

func TestParseRemote(t *testing.T) {
	t.Parallel()
	const app = "github.com/acme/app"
	for _, test := range []struct {
		entry string
		want  remote
	}{
		{"github.com/acme/app//k8s/kustomize/base?ref=v1&timeout=120s", remote{app, "k8s/kustomize/base", "v1"}},
		{"github.com/acme/app/k8s/base", remote{app, "k8s/base", ""}},
		{"GitHub.com/acme/app", remote{app, ".", ""}},
		{"github.com:acme/app/k8s", remote{app, "k8s", ""}},
		{"https://github.com/acme/app.git//k8s/base/?ref=main", remote{app, "k8s/base", "main"}},
		{"https://github.com/acme/app.git/k8s", remote{app, "k8s", ""}},
		{"hTTps://GITHUB.com:443/acme/app//k8s?version=v2", remote{app, "k8s", "v2"}},
		{"http://github.com/acme/app?ref=a&version=b", remote{app, ".", "a"}},
		{"https://user:secret@github.com/acme/app.git//k8s", remote{app, "k8s", ""}},
		{"git@github.com:acme/app.git//k8s", remote{app, "k8s", ""}},
		{"git@github.com/acme/app/k8s", remote{app, "k8s", ""}},
		{"org-12345@github.com:acme/app/k8s", remote{app, "k8s", ""}},
		{"ssh://git@github.com/acme/app.git?ref=x", remote{app, ".", "x"}},
		{"ssh://git@github.com:22/acme/app//k8s", remote{app, "k8s", ""}},
		{"git::https://github.com/acme/app//k8s", remote{app, "k8s", ""}},
		{"git::git@github.com:acme/app", remote{app, ".", ""}},
		{"https://gitlab.com/group/sub/app//k8s", remote{"gitlab.com/group/sub/app", "k8s", ""}},
		{"https://gitlab.com/group/sub/app.git/k8s", remote{"gitlab.com/group/sub/app", "k8s", ""}},
		{"git@gitlab.com:group/sub/app.git?ref=v1", remote{"gitlab.com/group/sub/app", ".", "v1"}},
		{"ssh://git.example.com:7999/acme/app/k8s", remote{"git.example.com:7999/acme/app", "k8s", ""}},
		{"https://dev.azure.com/org/project/_git/app/k8s/base?version=1", remote{"dev.azure.com/org/project/_git/app", "k8s/base", "1"}},
		{"file:///srv/git/app.git//k8s?ref=a", remote{"/srv/git/app", "k8s", "a"}},
		{"file:///srv/git/app", remote{"/srv/git/app", ".", ""}},
		{"https://github.com/acme/app/releases/download/v1/all.yaml", remote{app, "releases/download/v1/all.yaml", ""}},
	} {
		got, ok := parseRemote(test.entry)
		if !isRemote(test.entry) || !ok || got != test.want {
			t.Errorf("%s: %+v, %v; remote: %v", test.entry, got, ok, isRemote(test.entry))
		}
	}
	for _, entry := range []string{"https://github.com/acme/app.git//a/../../b", "https://host?ref=x", "ssh://git.example.com", "https://github.com/404.yaml",
		"http:opaque", "git@github.com", "file:////tmp//x"} {
		if r, ok := parseRemote(entry); !isRemote(entry) || ok && r.repository != "" {
			t.Errorf("%s: %+v, remote: %v", entry, r, isRemote(entry))
		}
	}
	for _, entry := range []string{"", ".", "../base", "a.yaml", "/abs", "src/github.com/acme/app", "git::___", "gh:acme/app", "1git@host:x", "github.com!acme/app", "./git@x:y"} {
		if isRemote(entry) {
			t.Errorf("%s is a path", entry)
		}
	}
}

func TestRepositoryName(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"https://git.example.com/acme/app.git", "https://GIT.example.com/acme/app/", "git@git.example.com:acme/app", "ssh://git@git.example.com:22/acme/app.git",
		"https://me:secret@git.example.com:443/acme/app.git", "http://git.example.com:80/acme/app", "git.example.com:acme/app.git", "git.example.com/acme/app"} {
		if got := repositoryName(raw); got != "git.example.com/acme/app" {
			t.Errorf("%s: %s", raw, got)
		}
	}
	for raw, want := range map[string]string{"file:///srv/app.git": "/srv/app", "/srv/./app": "/srv/app", "https://h:8443/a": "h:8443/a", "https://h/Acme/a": "h/Acme/a", "nothing": "nothing"} {
		if got := repositoryName(raw); got != want {
			t.Errorf("%s: %s", raw, got)
		}
	}
}

func FuzzParseRemote(f *testing.F) {
	for _, seed := range []string{"github.com/acme/app//k8s?ref=v1", "git::ssh://git@h:22/a/b.git/c", "file:///a//b/../../c", "https://h/_git/", "a@b:c/d/../..", "https://h/a/b?ref=%zz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		r, ok := parseRemote(entry)
		if ok && (path.IsAbs(r.path) || r.path == ".." || strings.HasPrefix(r.path, "../") || path.Clean(r.path) != r.path) {
			t.Errorf("%q: the folder %q", entry, r.path)
		}
		_ = repositoryName(entry)
	})
}
