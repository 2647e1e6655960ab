package sign

import (
	"cmp"
	"context"
	"fmt"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"
)

// maxTimestamps bounds the timestamps of a signature that are read, as sigstore-go does: anybody can add some.
const maxTimestamps = 32

// clock adds a timestamp of an authority to what is signed. It stands among the logs so that an error names the authority.
type clock struct {
	url       string
	authority *sign.TimestampAuthority
}

// clocksOf returns the timestamp authorities of a signing config that are to be asked.
func clocksOf(services *root.SigningConfig, now time.Time) (clocks []clock, err error) {
	urls := services.TimestampAuthorityURLs()
	if len(urls) == 0 {
		return nil, nil
	}
	selected, err := root.SelectServices(urls, services.TimestampAuthorityURLsConfig(), sign.TimestampAuthorityAPIVersions, now)
	if err != nil {
		return nil, fmt.Errorf("timestamp authority: %w", err)
	}
	for _, c := range selected {
		clocks = append(clocks, clock{c.URL, sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: c.URL, Retries: serviceRetries})})
	}
	return clocks, nil
}

// GetTransparencyLogEntry implements [sign.Transparency].
func (c clock) GetTransparencyLogEntry(ctx context.Context, _ []byte, b *protobundle.Bundle) error {
	sig := b.GetMessageSignature().GetSignature()
	if e := b.GetDsseEnvelope(); e != nil {
		sig = e.GetSignatures()[0].GetSig()
	}
	stamp, err := c.authority.GetTimestamp(ctx, sig)
	if err != nil {
		return fmt.Errorf("timestamp authority %s: %w", c.url, err)
	}
	m := b.GetVerificationMaterial()
	if m.GetTimestampVerificationData() == nil {
		m.TimestampVerificationData = &protobundle.TimestampVerificationData{}
	}
	all := m.GetTimestampVerificationData()
	all.Rfc3161Timestamps = append(all.Rfc3161Timestamps, &protocommon.RFC3161SignedTimestamp{SignedTimestamp: stamp})
	return nil
}

// stamped is a signer whose statements get timestamps.
type stamped struct {
	Signer
	instance *Instance
	clocks   []clock
}

// Stamped returns a signer whose statements have timestamps of the instance's authorities: of a key it would be the signer alone who says when it
// signed. It is the signer as it is if a signing config names no authority, and for nil.
func (i *Instance) Stamped(signer Signer, now func() time.Time) (Signer, error) {
	if i == nil || !i.stamps {
		return signer, nil
	}
	services, err := i.services()
	if err != nil {
		return nil, err
	}
	clocks, err := clocksOf(services, now())
	if err != nil {
		return nil, fmt.Errorf("signing config: %w", err)
	}
	return stamped{signer, i, clocks}, nil
}

// Identity implements [Signer].
func (s stamped) Identity() Identity {
	id := s.Signer.Identity()
	id.Instance = s.instance
	return id
}

// SignStatement implements [Signer]. A timestamp that the trusted root does not prove is found now.
func (s stamped) SignStatement(ctx context.Context, statement []byte) ([]byte, error) {
	text, err := s.Signer.SignStatement(ctx, statement)
	if err != nil {
		return nil, err
	}
	var b protobundle.Bundle
	if err := protojson.Unmarshal(text, &b); err != nil {
		return nil, err
	}
	for _, c := range s.clocks {
		if err := c.GetTransparencyLogEntry(ctx, nil, &b); err != nil {
			return nil, err
		}
	}
	signed, err := bundle.NewBundle(&b)
	if err != nil {
		return nil, err
	}
	if s.instance.stamp(signed).IsZero() {
		return nil, fmt.Errorf("the timestamp of %s is not proven by the trusted root: name its certificates there", s.clocks[0].url)
	}
	return protojson.Marshal(&b)
}

// Time is when something was signed at the latest, and who says so.
type Time struct {
	time.Time
	Source string // the URL of a timestamp authority or log
	// Since is the time before which it was not signed: when the certificate began to be valid; zero for a key. A later timestamp can be put in the
	// place of one, and of a key nothing but the signer's word says how much later.
	Since time.Time
}

// stamp returns when a signature existed at the latest, as timestamp authorities of the instance prove it; zero if none does. What proves
// nothing is left out, and the earliest counts: anybody can have a timestamp added.
func (i *Instance) stamp(b *bundle.Bundle) (first Time) {
	if i == nil {
		return first
	}
	material, err := i.material()
	if err != nil {
		return first
	}
	stamps, err := b.Timestamps()
	if err != nil || len(stamps) > maxTimestamps {
		return first
	}
	content, err := b.SignatureContent()
	if err != nil {
		return first
	}
	for _, stamp := range stamps {
		for _, authority := range material.TimestampingAuthorities() {
			t, err := authority.Verify(stamp, content.Signature())
			if err == nil && (first.IsZero() || t.Time.Before(first.Time)) {
				first = Time{Time: t.Time.UTC(), Source: cmp.Or(t.URI, "a timestamp authority")}
			}
		}
	}
	return first
}
