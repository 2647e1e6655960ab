package sign

import (
	"bytes"
	"encoding/hex"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// Claimed returns the statement about an artifact in a bundle. No key is asked, since the one that signed it may be gone: it proves
// nothing, unless a verified statement names the bundle by its digest and its signer vouches for these bytes.
func Claimed(artifact digest.Digest, b Bundle) (Verified, error) {
	if err := checkDigest(artifact); err != nil {
		return Verified{}, err
	}
	parsed, author, err := parseBundle(b.JSON)
	if err != nil {
		return Verified{}, err
	}
	statement, err := parseStatement(parsed.GetDsseEnvelope().GetPayload(), artifact)
	if err != nil {
		return Verified{}, err
	}
	return statement.by(proof{subject: statement.Subject, author: author.Author}, b), nil
}

// Timed returns when a bundle about an artifact was signed at the latest, by any signer, as an instance of Sigstore of the verifier's identities
// proves; zero if none does.
func (v *Verifier) Timed(artifact digest.Digest, b Bundle) Time {
	raw, err := hex.DecodeString(artifact.Encoded())
	if err != nil {
		return Time{}
	}
	i := slices.IndexFunc(v.trusted, func(t trusted) bool { return t.Instance != nil })
	if i < 0 || bytes.Contains(b.JSON, []byte(`"publicKey":`)) && !bytes.Contains(b.JSON, []byte(`"rfc3161Timestamps":`)) {
		return Time{}
	}
	parsed, author, err := parseBundle(b.JSON)
	switch {
	case err != nil:
		return Time{}
	case author.Issuer == "":
		return v.trusted[i].Instance.stamp(parsed)
	}
	_, at, err := v.trusted[i].Instance.prove(parsed, verify.WithArtifactDigest("sha256", raw))
	if err != nil {
		return Time{}
	}
	return at
}
