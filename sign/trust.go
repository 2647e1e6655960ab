package sign

import (
	"slices"
	"strings"
)

// Trusts tells whether statements signed by a key can be verified: whether an identity of the verifier has it.
func (v *Verifier) Trusts(key PublicKey) bool {
	return slices.ContainsFunc(v.trusted, func(t trusted) bool { return t.fingerprint == key.Fingerprint() })
}

// IsFile tells whether a reference to a signing key is the path of a file.
func IsFile(ref string) bool {
	scheme, rest, _ := strings.Cut(ref, ":")
	return !strings.HasPrefix(rest, "//") && scheme != "pkcs11" && ref != ""
}
