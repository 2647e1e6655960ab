package sign

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// Named returns the statement about an artifact in a bundle that a verified statement names by its digest. The signer of that one
// vouches for these bytes: no key is asked, since the one that signed them may be gone.
func Named(name, artifact digest.Digest, b Bundle) (Verified, error) {
	if b.Digest() != name {
		return Verified{}, fmt.Errorf("the bundle %s is not the one that is named, %s", b.Digest(), name)
	}
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
