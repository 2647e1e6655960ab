package oci

import (
	"strings"
	"testing"
)

func TestSplitReference(t *testing.T) {
	t.Parallel()
	const d = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
	for reference, want := range map[string][2]string{
		"ghcr.io/acme/app":                    {"ghcr.io/acme/app", ""},
		"ghcr.io/acme/app:production":         {"ghcr.io/acme/app", "production"},
		"ghcr.io/acme/app@" + d:               {"ghcr.io/acme/app", d},
		"ghcr.io/acme/app:production@" + d:    {"ghcr.io/acme/app", d},
		"localhost:5000/app":                  {"localhost:5000/app", ""},
		"localhost/app:x":                     {"localhost/app", "x"},
		"[::1]:5000/app:x":                    {"[::1]:5000/app", "x"},
		"oci-layout:out":                      {"oci-layout:out", ""},
		"oci-layout:out:production":           {"oci-layout:out", "production"},
		"oci-layout:../a/out:production@" + d: {"oci-layout:../a/out", d},
		"oci-layout:/a/b@" + d:                {"oci-layout:/a/b", d},
	} {
		name, rest, err := SplitReference(reference)
		if err != nil || name != want[0] || rest != want[1] {
			t.Errorf("%s: %q, %q, %v", reference, name, rest, err)
		}
	}
	for reference, want := range map[string]string{
		"app:x":                         "does not begin with the host",
		"acme/app":                      "docker.io/acme/app",
		"ghcr.io/Acme/app":              "lower-case",
		"ghcr.io/acme/app:":             "invalid tag",
		"ghcr.io/acme/app:a b":          "invalid tag",
		"ghcr.io/acme/app@sha256:12":    "digest",
		"https://me:SECRET@ghcr.io/a:x": "without a scheme",
		"me:SECRET@ghcr.io/acme/app":    "",
		"oci-layout:":                   "directory is missing",
		"":                              "does not begin with the host",
	} {
		_, _, err := SplitReference(reference)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", reference, err, want)
		}
		if strings.HasPrefix(reference, "me:") || strings.HasPrefix(reference, "https:") {
			if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("%s: error %v", reference, err)
			}
		}
	}
}

func TestPlainHTTPIsForLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]:5000": true, "[::1]": true,
		"localhost.example": false, "registry.localhost:80": false, "127.0.0.1.example": false, "10.0.0.1:5000": false,
		"ghcr.io": false, "0.0.0.0:5000": false, "[::2]:80": false, "127.0.0.1.nip.io:5000": false,
	} {
		r := open(t, host+"/app", Options{})
		if got := (r.backend.(*remoteRepository).id.base.Scheme == "http"); got != want {
			t.Errorf("%s: plain HTTP %v", host, got)
		}
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	c := NewClient(Options{})
	for name, want := range map[string][2]string{
		"ghcr.io/acme/app": {"ghcr.io/acme/app:t", "ghcr.io/acme/app@sha256:x"},
		"oci-layout:out":   {"oci-layout:out:t", "oci-layout:out@sha256:x"},
	} {
		r, err := c.Repository(name)
		if err != nil {
			t.Fatal(err)
		}
		if r.Name() != name || r.Reference("t") != want[0] || r.Reference("sha256:x") != want[1] {
			t.Errorf("%s: %s %s", r.Name(), r.Reference("t"), r.Reference("sha256:x"))
		}
		if again, err := c.Repository(name); err != nil || again != r {
			t.Errorf("%s opened twice", name)
		}
	}
}

func FuzzSplitReference(f *testing.F) {
	f.Add("ghcr.io/acme/app:x")
	f.Add("oci-layout:a:b@sha256:c")
	f.Fuzz(func(t *testing.T, s string) {
		name, rest, err := SplitReference(s)
		if err != nil || rest == "" {
			return
		}
		r, err := NewClient(Options{}).Repository(name)
		if err != nil {
			t.Fatalf("%q: name %q: %v", s, name, err)
		}
		again, restAgain, err := SplitReference(r.Reference(rest))
		if err != nil || again != name || restAgain != rest {
			t.Errorf("%q: %q %q, again %q %q, %v", s, name, rest, again, restAgain, err)
		}
	})
}
