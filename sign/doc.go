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
// [NewImageSignature] and [AttachImages] write the older form beside it, for readers that know no bundles: a «simple signing»
// payload under the tag sha256-<hex>.sig, in cosign's layout, beside the signatures of other keys. cosign and Flux ignore it once any bundle is
// attached to the digest.
//
// Many readers take any statement by a trusted key as «this key signed that», whatever its predicate says. So never sign
// a negative statement about a digest («rejected», «rolled back from») with a key that is trusted for deployment.
//
// # What is proven
//
// [Verified] and [VerifiedImage] have unexported fields: outside of this package only the zero value can be made, and it
// proves nothing. Each comes from a signature by somebody whom the caller named ([Identity]), over a statement whose subject
// is the artifact asked for. A bundle copied from another digest, a statement of another type, a signature by an unknown
// key or subject is not an error: it is [Rejected] with a reason, since anybody who can write to a
// registry can put it there. Only a registry that does not answer is an error. Of very many bundles some are read, those with
// the annotations of honest writers first. Hints and annotations in the registry prove nothing.
//
// # Keys
//
// Key files as cosign writes them, the same text in an environment variable (env://NAME), unencrypted PEM (PKCS #8,
// SEC 1, PKCS #1), and keys of OpenSSH in files or held by the agent: ECDSA on P-256, P-384 and P-521, RSA of at least 2048
// bits and Ed25519, with SHA-256 as `cosign verify --key` assumes. SCHEME://REST is a key in a key service, which a program
// signs with, or the service's client in builds with its tag, see openService; pkcs11:… is one on a token, in builds with pkcs11key. A key's identity is its fingerprint: SHA-256 of the DER of its SubjectPublicKeyInfo.
//
// # Certificates
//
// [Keyless] signs without a key of its own: an [Instance] of Sigstore certifies one for some minutes, as that of whom a token names.
// Such an identity is the issuer and the subject of certificates, or an expression that matches whole subjects. A signature
// is proven offline, by the trusted root of the instance and what the bundle holds: an entry of the log if the root has a log, and a
// time at which the certificate was valid, of a timestamp authority or of the log. That time is the one of [Verified], and nobody
// can claim another. Package idtoken finds tokens.
//
// Specifications: in-toto Attestation Framework v1, DSSE v1.0.2, Sigstore bundle v0.3, SLSA provenance v1, OCI
// distribution 1.1 (referrers), containers/image signature(5).
package sign
