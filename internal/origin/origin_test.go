package origin

import (
	"net/url"
	"testing"
)

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"https://a.example/x", "https://a.example/y?z", true},
		{"https://a.example", "https://A.Example:443", true},
		{"HTTPS://a.example:443", "https://a.example", true},
		{"http://127.0.0.1", "http://127.0.0.1:80", true},
		{"https://[::1]:443", "https://[::1]", true},
		{"https://a.example", "https://a.example:80", false},
		{"https://a.example", "http://a.example", false},
		{"https://a.example:443", "http://a.example:443", false},
		{"https://a.example", "https://b.example", false},
		{"https://a.example", "https://a.example.", false},
		{"https://a.example:8443", "https://a.example", false},
	} {
		if Same(parse(t, c.a), parse(t, c.b)) != c.same || Same(parse(t, c.b), parse(t, c.a)) != c.same {
			t.Errorf("%s and %s: want %v", c.a, c.b, c.same)
		}
	}
}

func TestSafe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		safe     bool
	}{
		{"https://a.example", "https://b.example", true},
		{"http://127.0.0.1:1", "https://b.example", true},
		{"http://127.0.0.1:1", "http://LOCALHOST:2", true},
		{"https://a.example", "http://a.example", false},
		{"https://127.0.0.1:1", "http://127.0.0.1:2", false},
		{"http://127.0.0.1:1", "http://b.example", false},
		{"https://a.example", "file:///etc/passwd", false},
		{"https://a.example", "ftp://a.example", false},
	} {
		if Safe(parse(t, c.from), parse(t, c.to)) != c.safe {
			t.Errorf("from %s to %s: want %v", c.from, c.to, c.safe)
		}
	}
}
