package git

import (
	"bytes"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// The parsers of outside bytes have to end, within bounds, with a value or an
// error.

func FuzzAdvertisement(f *testing.F) {
	f.Add([]byte("001e# service=git-upload-pack\n0000000eversion 2\n0015agent=git/2.39.5\n000cls-refs\n0000"))
	f.Add([]byte("003f1234567890123456789012345678901234567890 HEAD\x00symref=HEAD:x\n0000"))
	f.Add([]byte("0011ERR go away\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := readAdvertisement(newPktReader(bytes.NewReader(data))); err == nil && a.caps == nil {
			t.Error("neither value nor error")
		}
	})
}

func FuzzLsRefs(f *testing.F) {
	f.Add([]byte("00521234567890123456789012345678901234567890 HEAD symref-target:refs/heads/main\n0000"))
	f.Fuzz(func(t *testing.T, data []byte) {
		refs, err := readLsRefs(bytes.NewReader(data))
		for _, ref := range refs {
			if err == nil && ref.id.IsZero() && !bytes.Contains(data, []byte(strings.Repeat("0", 40))) {
				t.Errorf("%v has no id", ref)
			}
		}
	})
}

func FuzzPack(f *testing.F) {
	f.Add([]byte("000dpackfile\n0006\x01P0000"), true)
	f.Add([]byte("0008NAK\n0006\x01P0000"), false)
	f.Fuzz(func(t *testing.T, data []byte, v2 bool) {
		a := &advertisement{caps: map[string][]string{"side-band-64k": {""}}}
		if v2 {
			a.version = 2
		}
		r, err := openPack(bytes.NewReader(data), request{}, a)
		if err != nil {
			return
		}
		pack, err := io.ReadAll(r)
		if err == nil && len(pack) > len(data) {
			t.Error("the pack is larger than the reply")
		}
		_, _, _ = measurePack(bytes.NewReader(pack))
	})
}

func FuzzMeasurePack(f *testing.F) {
	f.Add([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x01\x31x\x9c\x03\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, size, err := measurePack(bytes.NewReader(data)); err == nil && (n < 0 || size < 0) {
			t.Errorf("%d objects of %d bytes", n, size)
		}
	})
}

func FuzzTree(f *testing.F) {
	f.Add([]byte("100644 a\x0012345678901234567890" + "40000 b\x0012345678901234567890"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := parseTree(data, plumbing.ZeroHash, address{})
		if err != nil {
			return
		}
		for _, e := range tree.entries {
			if got, ok := tree.find(e.name); !ok || got != e {
				t.Errorf("%q is not found", e.name)
			}
			if tree.bad == "" && !goodName(e.name) {
				t.Errorf("%q passes", e.name)
			}
		}
	})
}

func FuzzLoose(f *testing.F) {
	f.Add([]byte("x\x9cK\xca\xc9OR0`\x00\x00\x09\xb0\x01\xf0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if obj, err := decodeLoose(bytes.NewReader(data)); err == nil && len(obj.data) > MaxObjectBytes {
			t.Error("above the limit")
		}
	})
}

func FuzzConfigList(f *testing.F) {
	f.Add([]byte("http.https://example.com/.extraheader\nA: b\x00core.bare\x00"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		conf := parseConfigList(data)
		u := &url.URL{Scheme: "https", Host: "example.com"}
		conf.forURL("http", "extraheader", u)
		conf.fetchURL("https://example.com/a")
		conf.subsections("remote", "url")
	})
}

func FuzzNetrc(f *testing.F) {
	f.Add([]byte("machine h login a password b\nmacdef x\n y\n\ndefault login c password d"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if user := parseNetrc(data, "h", ""); user != nil {
			if password, _ := user.Password(); password == "" || !bytes.Contains(data, []byte(password)) {
				t.Errorf("password %q is not in the file", password)
			}
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"https://a:s3cret@h/p", "git@h:p", "[::1]:p", "a@b@c:d", "C:\\x", "file:///p", "https://a:s3cret/x@h", ":", "@:", "x://"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		a, err := parseAddress(raw, "/")
		if err == nil && a.url != nil && a.url.Scheme != "ssh" && a.url.User != nil {
			t.Errorf("%q keeps its user", raw)
		}
		if strings.HasPrefix(raw, "https://a:s3cret@") && err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error for %q holds the password: %v", raw, err)
		}
	})
}

func TestMatchURL(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("https://git.example.com/acme/app.git")
	if err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string]bool{
		"https://git.example.com": true, "https://git.example.com/": true, "https://git.example.com:443/acme": true,
		"https://*.example.com": true, "HTTPS://GIT.example.com/acme/": true, "https://git.example.com/acm": false,
		"http://git.example.com": false, "https://example.com": false, "https://*.com": false, "https://git.example.com:444": false,
		"https://someone@git.example.com": false, "https://git.example.com.evil.org": false, "https://evil.org/git.example.com": false,
	} {
		if _, got := matchURL(pattern, u); got != want {
			t.Errorf("matchURL(%q) = %v", pattern, got)
		}
	}
}

func FuzzReport(f *testing.F) {
	f.Add([]byte("0030\x01000eunpack ok\n0019ok refs/heads/main\n00000000"))
	f.Add([]byte("0015\x02hook says no\n\x1b[0000"))
	req := packp.NewReferenceUpdateRequest()
	if err := req.Capabilities.Set(capability.Sideband64k); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		report, output, err := readReport(bytes.NewReader(data), req)
		if err == nil && report == nil || len(output) > maxPrinted {
			t.Error("neither report nor error, or too many words")
		}
		if err == nil {
			if text := rejection(report, output); text != nil && strings.ContainsAny(text.Error(), "\x1b\n\r") {
				t.Errorf("%q is not fit to be printed", text)
			}
		}
	})
}

// TestTwoEntries has a tree in which one name means two files: git takes the last, and other programs the first.
func TestTwoEntries(t *testing.T) {
	t.Parallel()
	twice := []entry{{raw: ModeFile, name: "a"}, {raw: ModeFile, name: "b"}, {raw: ModeFile, name: "a"}}
	if _, err := parseRawTree(encodeTree(twice[:2]), plumbing.ZeroHash, address{}); err != nil {
		t.Error(err)
	}
	if _, err := parseRawTree(encodeTree(twice), plumbing.ZeroHash, address{}); err == nil || !strings.Contains(err.Error(), `two entries "a"`) {
		t.Errorf("a name twice: %v", err)
	}
}

func FuzzRawTree(f *testing.F) {
	f.Add([]byte("100644 a\x0012345678901234567890" + "40000 b\x0012345678901234567890"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseRawTree(data, plumbing.ZeroHash, address{})
		if err != nil {
			return
		}
		again, err := parseRawTree(encodeTree(entries), plumbing.ZeroHash, address{})
		if err != nil || len(again) != len(entries) {
			t.Errorf("%d entries became %d: %v", len(entries), len(again), err)
		}
	})
}
