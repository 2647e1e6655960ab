package sign

import (
	"encoding/base64"
	"encoding/hex"

	"github.com/opencontainers/go-digest"
)

// Claimed returns the statement about an artifact in a bundle. No key is asked, since the one that signed it may be gone: it proves
// nothing, unless a verified statement names the bundle by its digest and its signer vouches for these bytes.
func Claimed(artifact digest.Digest, b Bundle) (Verified, error) {
	if err := checkDigest(artifact); err != nil {
		return Verified{}, err
	}
	parsed, hint, err := parseBundle(b.JSON)
	if err != nil {
		return Verified{}, err
	}
	statement, err := parseStatement(parsed.GetDsseEnvelope().GetPayload(), artifact)
	if err != nil {
		return Verified{}, err
	}
	by := proof{subject: statement.Subject}
	if sum, err := base64.StdEncoding.DecodeString(hint); err == nil {
		by.fingerprint = hex.EncodeToString(sum)
	}
	return statement.by(by, b), nil
}
