package main

import (
	"strings"
	"testing"
)

func TestShort(t *testing.T) {
	t.Parallel()
	commit, digest := strings.Repeat("0123456789", 4), strings.Repeat("a1b2c3d4", 8)
	for text, want := range map[string]string{
		"git-" + commit + " on main":                     "git-012345678901 on main",
		"git-" + commit + "-0123456789ab":                "git-012345678901-0123456789ab",
		"sha256:" + digest + ", key " + digest + ".":     "sha256:a1b2c3d4a1b2, key a1b2c3d4a1b2.",
		"ghcr.io/acme/web@sha256:" + digest:              "ghcr.io/acme/web@sha256:a1b2c3d4a1b2…",
		"ghcr.io/acme/web:staging.git-" + commit + ": x": "ghcr.io/acme/web:staging.git-012345678901…: x",
		"web:git-" + commit:                              "web:git-012345678901…",
		"tag staging.img-sha256-" + digest:               "tag staging.img-sha256-a1b2c3d4a1b2…",
		"locks/git-" + commit + ".yaml":                  "locks/git-" + commit + ".yaml",
		"https://git.example.com/commit/" + commit:       "https://git.example.com/commit/" + commit,
		"a word of " + strings.Repeat("z", 40):           "a word of " + strings.Repeat("z", 40),
		commit + commit:                                  commit + commit,
		"":                                               "",
	} {
		if got := short(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	words := strings.TrimSpace(strings.Repeat("word ", 30))
	for line, want := range map[string]string{
		"short":                            "short",
		"  fail  order  " + words:          "  fail  order  " + strings.TrimSpace(strings.Repeat("word ", 17)) + "\n" + strings.Repeat(" ", 15) + strings.TrimSpace(strings.Repeat("word ", 13)),
		words:                              strings.TrimSpace(strings.Repeat("word ", 20)) + "\n  " + strings.TrimSpace(strings.Repeat("word ", 10)),
		strings.Repeat("x", 120):           strings.Repeat("x", 120),
		strings.Repeat("ä", 120) + " end":  strings.Repeat("ä", 120) + "\n  end",
		"  a  " + strings.Repeat("x", 120): "  a  " + strings.Repeat("x", 120),
	} {
		if got := wrap(line); got != want {
			t.Errorf("%q becomes\n%s\nwant\n%s", line, got, want)
		}
	}
}
