package predicate

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/sign"
)

// Attach signs a statement and attaches it to its subject, unless the same key signed one of the same type, about the same
// repository, for which stated returns true. It returns the digest of the manifest that attaches the statement, and whether
// that is new.
func Attach(ctx context.Context, store sign.Store, subject ocispec.Descriptor, signer sign.Signer, statement sign.Statement,
	stated func(sign.Verified) bool) (referrer digest.Digest, attached bool, err error) {
	own, err := sign.NewVerifier(signer.Identity())
	if err != nil {
		return "", false, err
	}
	before, _, err := sign.Verify(ctx, store, subject, own)
	if err != nil {
		return "", false, err
	}
	for _, v := range before {
		if v.PredicateType() == statement.PredicateType && v.SubjectName() == statement.Subject.Name && stated(v) {
			return v.Referrer(), false, nil
		}
	}
	desc, err := sign.Attest(ctx, store, subject, signer, statement)
	return desc.Digest, err == nil, err
}

// StatedBy reports whether a statement is this approval. The times may differ, and so may the comment if this one has none.
func (a Approval) StatedBy(v sign.Verified) bool {
	other, err := Parse[Approval](v)
	if err != nil {
		return false
	}
	if a.Comment == "" {
		other.Comment = ""
	}
	other.Time = a.Time
	return other == a
}

// StatedBy reports whether a statement is this waiver and expires no earlier. The times may differ.
func (w Waiver) StatedBy(v sign.Verified) bool {
	other, err := Parse[Waiver](v)
	if err != nil || other.Expires.Before(w.Expires) {
		return false
	}
	other.Time, other.Expires = w.Time, w.Expires
	return other == w
}

// StatedBy reports whether a statement says that the same release was healthy in the stage at or after since. One such
// statement is enough for the time that a release is live: soak counts from the first.
func (h Health) StatedBy(v sign.Verified, since time.Time) bool {
	other, err := Parse[Health](v)
	return err == nil && !other.Time.Before(since) && other.Claim == h.Claim
}

// SamePredicate returns a function that reports whether a statement has the predicate of s, white space aside.
func SamePredicate(s sign.Statement) func(sign.Verified) bool {
	return func(v sign.Verified) bool {
		var a, b bytes.Buffer
		return json.Compact(&a, s.Predicate) == nil && json.Compact(&b, v.Predicate()) == nil && bytes.Equal(a.Bytes(), b.Bytes())
	}
}
