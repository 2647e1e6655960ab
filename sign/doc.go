// Package sign makes statements about artifacts, signs them, attaches them in the registry, finds them again and verifies
// them.
//
// # What is written
//
// [Sign] signs a statement, and [Attach] writes it as a referrer of the artifact that it is about: an in-toto Statement v1
// about exactly that digest, in a DSSE envelope, in a Sigstore bundle v0.3 that names the key by a hint and holds no time
// stamp and no log entry. The digest of the bundle's bytes identifies a statement. This package makes two kinds of
// statements: the signature ([PredicateSignature], an empty predicate, and a [Claim] in the subject's
// annotations) and SLSA provenance v1 ([Provenance]).
//
// [SignImage] writes the older form beside it, for readers that know no bundles: a «simple signing» payload under the tag
// sha256-<hex>.sig, in cosign's layout, beside the signatures of other keys. Write bundles first and this form last: cosign
// and Flux ignore it once any bundle is attached to the digest.
//
// Many readers take any statement by a trusted key as «this key signed that», whatever its predicate says. So never sign
// a negative statement about a digest («rejected», «rolled back from») with a key that is trusted for deployment.
//
// # What is proven
//
// [Verified] and [VerifiedImage] have unexported fields: outside of this package only the zero value can be made, and it
// proves nothing. Each comes from a signature by a key that the caller named ([Identity]), over a statement whose subject
// is the artifact asked for. A bundle copied from another digest, a statement of another type, a signature by a
// certificate or by an unknown key is not an error: it is [Rejected] with a reason, since anybody who can write to a
// registry can put it there. Only a registry that does not answer is an error. Of very many bundles some are read, those with
// the annotations of honest writers first. Hints and annotations in the registry prove nothing.
//
// # Keys
//
// Key files as cosign writes them, the same text in an environment variable (env://NAME), and unencrypted PEM (PKCS #8,
// SEC 1, PKCS #1): ECDSA on P-256, P-384 and P-521, RSA of at least 2048 bits and Ed25519, with SHA-256 as `cosign verify
// --key` assumes. Key services, hardware tokens and keyless signing are refused as not supported yet; each would be a
// [Signer] in a file of its own and a case in [Open]. A key's identity is its fingerprint: SHA-256 of the DER of its
// SubjectPublicKeyInfo.
//
// Specifications: in-toto Attestation Framework v1, DSSE v1.0.2, Sigstore bundle v0.3, SLSA provenance v1, OCI
// distribution 1.1 (referrers), containers/image signature(5).
package sign
