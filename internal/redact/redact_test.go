package redact

import (
	"strings"
	"testing"
)

func TestURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://ada:s3cret@example.com/a.git/":    "https://example.com/a.git/",
		"https://s3cret@example.com":               "https://example.com",
		"https://example.com/a?token=s3cret":       "https://example.com/a",
		"https://example.com/a#s3cret":             "https://example.com/a",
		"https://example.com?s3cret":               "https://example.com",
		"https://ada:p@s3cret@example.com/a":       "https://example.com/a",
		"https://ada:p/s3cret@example.com/a":       "https://…",
		"https://ada:p?s3cret@example.com/a":       "https://…",
		"https://ada:p#s3cret@example.com/a":       "https://…",
		"https://ada:s3cret":                       "https://…",
		"https://ada:p s3cret@example.com/a":       "https://…",
		"https://ada?s3cret@example.com/a":         "https://example.com/a",
		"https://ada:s3/cret@exa mple/":            "https://…",
		"https://ada:s3cret@h:port/x?token=s3cret": "https://…",
		"ada:s3cret@example.com/app:v1":            "example.com/app:v1",
		"git@example.com:acme/app.git":             "git@example.com:acme/app.git",
		"oci://r.example:5000/app@sha256:0123":     "oci://r.example:5000/app@sha256:0123",
		"oci-layout:dir":                           "oci-layout:dir",
		"//ada:s3cret@example.com/a?s3cret":        "//example.com/a",
		"//ada:p/s3cret@exa mple/":                 "//…",
		"../app":                                   "../app",
		"":                                         "",
		"://s3cret@":                               "://…",
	} {
		if got := URL(raw); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`Get "https://u:s3cret@h.example/v2/?sig=s3cret": EOF`: `Get "https://h.example/v2/": EOF`,
		"see https://a?s3cret and http://u@b/c.":               "see https://a and http://b/c.",
		"ada:s3cret@r.example/app and u:s3cret@h":              "r.example/app and h",
		`push to "ada:s3cret@r.example/app": denied`:           `push to "r.example/app": denied`,
		"dial https://127.0.0.1:5000: connection refused":      "dial https://127.0.0.1:5000: connection refused",
		"r.example/app@sha256:0123: not found":                 "r.example/app@sha256:0123: not found",
		"nothing to hide":                                      "nothing to hide",
	} {
		if got := Text(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, seed := range []string{"example.com/a", "h", "[::1]:80/x", "exa mple", "h/a@b?c#d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		raw := "https://ada:s3cret@" + rest
		if strings.Contains(rest, "s3cret") {
			t.Skip()
		}
		for _, got := range []string{URL(raw), Text("push to " + raw)} {
			if strings.Contains(got, "s3cret") {
				t.Errorf("%q: %q", raw, got)
			}
		}
	})
}
