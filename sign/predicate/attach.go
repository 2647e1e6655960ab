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

// Attach signs a statement and attaches it to its subject, unless stands says of one that the same key signed before, of the
// same type and about the same repository, that it says as much. It returns the digest of the manifest that
// attaches the statement, and whether that is new.
func Attach(ctx context.Context, store sign.Store, subject ocispec.Descriptor, signer sign.Signer, statement sign.Statement,
	stands func(sign.Verified) bool) (referrer digest.Digest, attached bool, err error) {
	own, err := sign.NewVerifier(signer.Identity())
	if err != nil {
		return "", false, err
	}
	before, _, err := sign.Verify(ctx, store, subject, own)
	if err != nil {
		return "", false, err
	}
	for _, v := range before {
		if v.PredicateType() == statement.PredicateType && v.SubjectName() == statement.Subject.Name && stands(v) {
			return v.Referrer(), false, nil
		}
	}
	desc, err := sign.Attest(ctx, store, subject, signer, statement)
	return desc.Digest, err == nil, err
}

// Stands tells whether a statement is this approval. The times may differ, and so may the comment where this one has none.
func (a Approval) Stands(v sign.Verified) bool {
	other, err := ParseApproval(v)
	if err != nil {
		return false
	}
	if a.Comment == "" {
		other.Comment = ""
	}
	other.Time = a.Time
	return other == a
}

// Stands tells whether a statement is this waiver, and expires no earlier.
func (w Waiver) Stands(v sign.Verified) bool {
	other, err := ParseWaiver(v)
	if err != nil || other.Expires.Before(w.Expires) {
		return false
	}
	other.Time, other.Expires = w.Time, w.Expires
	return other == w
}

// Stands tells whether a statement says that the same was healthy at a time not before since. One is enough for a stay: what
// waits for health counts from the first.
func (h Health) Stands(v sign.Verified, since time.Time) bool {
	other, err := ParseHealth(v)
	return err == nil && !other.Time.Before(since) &&
		other.Pipeline == h.Pipeline && other.Stage == h.Stage && other.Release == h.Release
}

// SamePredicate tells of statements whether they say what the given one does, white space in the predicate aside.
func SamePredicate(s sign.Statement) func(sign.Verified) bool {
	return func(v sign.Verified) bool {
		var a, b bytes.Buffer
		return json.Compact(&a, s.Predicate) == nil && json.Compact(&b, v.Predicate()) == nil && bytes.Equal(a.Bytes(), b.Bytes())
	}
}
