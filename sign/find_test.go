package sign

import (
	"bytes"
	"encoding/base64"
	"testing"

	"github.com/opencontainers/go-digest"
)

// A bundle is passed over only if it certainly states something else, however it is written.
func TestSays(t *testing.T) {
	t.Parallel()
	statement := NewSignature(digest.FromString("artifact"), claim("production"))
	bundle, err := Sign(t.Context(), newKey(t), statement)
	if err != nil {
		t.Fatal(err)
	}
	_, by, err := parseBundle(bundle.JSON)
	if err != nil || by.hint == "" {
		t.Fatal(by, err)
	}
	escaped := base64.StdEncoding.EncodeToString([]byte(`{"predicateType":"https:\/\/sigstore.dev\/cosign\/sign\/v1"}`))
	for name, test := range map[string]struct {
		text []byte
		says bool
	}{
		"own":               {bundle.JSON, false},
		"spaces":            {bytes.Replace(bundle.JSON, []byte(`"payload":`), []byte(`"payload": `), 1), true},
		"escaped name":      {bytes.Replace(bundle.JSON, []byte(`"payload":`), []byte(`"p\u0061yload":`), 1), true},
		"two":               {bytes.Replace(bundle.JSON, []byte(`"payload":`), []byte(`"payload":"AA==","payload":`), 1), true},
		"escaped statement": {[]byte(`{"dsseEnvelope":{"payload":"` + escaped + `"}}`), true},
		"not base64":        {[]byte(`{"dsseEnvelope":{"payload":"?"}}`), true},
		"no end":            {[]byte(`{"dsseEnvelope":{"payload":"AAAA`), true},
		"nothing":           {nil, true},
	} {
		b := Bundle{JSON: test.text}
		if got := b.Says("https://example.com/other"); got != test.says {
			t.Errorf("%s: other: %v", name, got)
		}
		if name == "own" && !b.Says(PredicateSignature) {
			t.Errorf("%s: not its own type", name)
		}
	}
}

// A bundle that was verified about one artifact is not taken as a referrer of another.
func TestReferrersOfVerified(t *testing.T) {
	t.Parallel()
	key, subject := newKey(t), artifact("one")
	bundle, err := Sign(t.Context(), key, NewSignature(subject.Digest, claim("production")))
	if err != nil {
		t.Fatal(err)
	}
	verified, _ := verifierOf(t, map[string]*Key{"hydrator": key}).Verify(subject.Digest, []Bundle{{JSON: bundle.JSON}})
	if len(verified) != 1 {
		t.Fatal("not verified")
	}
	for _, b := range []Bundle{bundle, verified[0].Bundle(), {JSON: bundle.JSON}} {
		if got := Referrers(subject, []Bundle{b}); len(got) != 1 || got[0] != Referrers(subject, []Bundle{bundle})[0] {
			t.Errorf("referrers %v", got)
		}
		if got := Referrers(artifact("two"), []Bundle{b}); len(got) != 0 {
			t.Errorf("referrers of another artifact: %v", got)
		}
	}
}
