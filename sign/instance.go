package sign

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// Instance is an instance of Sigstore: the trusted root that proves what was signed with its certificates, and the services that
// sign. It is safe for concurrent use.
type Instance struct {
	name     string // for messages
	id       string // of its files
	trusted  func() ([]byte, error)
	material func() (*root.TrustedRoot, error)
	services func() (*root.SigningConfig, error)
	verifier func() (*verify.Verifier, error)
	stamps   bool // its signing config names a timestamp authority
}

// MaxInstanceFile bounds a trusted root and a signing config that are read; those of the public instance have 7 KB and 2 KB.
const MaxInstanceFile = 1 << 20

// NewInstance reads the trusted root of an instance, and its signing config, nil for one that only verifies. Both are JSON in the formats
// of Sigstore's protobuf-specs.
func NewInstance(trustedRoot, signingConfig []byte) (*Instance, error) {
	if len(trustedRoot) > MaxInstanceFile || len(signingConfig) > MaxInstanceFile {
		return nil, fmt.Errorf("a trusted root and a signing config have at most %d bytes", MaxInstanceFile)
	}
	i := newInstance("the Sigstore instance of this pipeline", func() ([]byte, error) { return trustedRoot, nil }, func() (*root.SigningConfig, error) {
		return nil, errors.New("no signing config says where it signs: name one beside the trusted root, as sigstore.signingConfig")
	})
	material, err := i.material()
	if err == nil && (len(material.FulcioCertificateAuthorities()) > 0 || len(material.TimestampingAuthorities()) == 0) {
		_, err = i.verifier() // else it proves the times of what keys sign, and nothing else
	}
	if err != nil {
		return nil, err
	}
	i.id = string(digest.FromBytes(trustedRoot) + digest.FromBytes(signingConfig))
	if signingConfig != nil {
		services, err := root.NewSigningConfigFromJSON(signingConfig)
		if err != nil {
			return nil, fmt.Errorf("signing config: %w", err)
		}
		i.services = func() (*root.SigningConfig, error) { return services, nil }
		i.stamps = len(services.TimestampAuthorityURLs()) > 0
	}
	return i, nil
}

const (
	// publicCacheDays is how long the files of the public instance are used without asking its repository for newer ones.
	publicCacheDays = 1

	trustedRootTarget = "trusted_root.json" // its name in that repository
)

// PublicInstance returns Sigstore's public instance. Its files come from its TUF repository when something is verified or signed with a
// certificate, and are kept in the cache that cosign uses, ~/.sigstore/root.
func PublicInstance() *Instance {
	return publicInstance(tuf.DefaultOptions().WithCacheValidity(publicCacheDays))
}

// publicInstance returns the instance whose files are in a TUF repository.
func publicInstance(repository *tuf.Options) *Instance {
	client := sync.OnceValues(func() (*tuf.Client, error) {
		client, err := tuf.New(repository)
		if err != nil {
			return nil, fmt.Errorf("the public Sigstore instance is not reachable: %w; where it is not meant, name the trusted root of another one as sigstore.trustedRoot", err)
		}
		return client, nil
	})
	return newInstance("the public Sigstore instance", func() ([]byte, error) {
		c, err := client()
		if err != nil {
			return nil, err
		}
		return c.GetTarget(trustedRootTarget)
	}, func() (*root.SigningConfig, error) {
		c, err := client()
		if err != nil {
			return nil, err
		}
		return root.GetSigningConfig(c)
	})
}

func newInstance(name string, trusted func() ([]byte, error), services func() (*root.SigningConfig, error)) *Instance {
	i := &Instance{name: name, trusted: sync.OnceValues(trusted), services: sync.OnceValues(services)}
	i.material = sync.OnceValues(func() (*root.TrustedRoot, error) {
		text, err := i.trusted()
		if err != nil {
			return nil, err
		}
		material, err := root.NewTrustedRootFromJSON(text)
		if err != nil {
			return nil, fmt.Errorf("trusted root: %w", err)
		}
		return material, nil
	})
	i.verifier = sync.OnceValues(i.newVerifier)
	return i
}

// newVerifier asks for all that the trusted root can prove: an entry of the log and of the certificate log where it has such logs, and in
// any case a time, of a timestamp authority or of the log.
func (i *Instance) newVerifier() (*verify.Verifier, error) {
	material, err := i.material()
	if err != nil {
		return nil, err
	}
	if len(material.FulcioCertificateAuthorities()) == 0 {
		return nil, errors.New("trusted root: it has no certificate authority")
	}
	options := []verify.VerifierOption{verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate()}
	if len(material.RekorLogs()) > 0 {
		options = append(options, verify.WithTransparencyLog(1))
	} else if len(material.TimestampingAuthorities()) == 0 {
		return nil, errors.New("trusted root: it has neither a log nor a timestamp authority, and nothing proves when a certificate was used")
	}
	if len(material.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	return verify.NewVerifier(material, options...)
}

// Ready returns an error if the instance can prove nothing, since its trusted root cannot be read. A nil one has nothing to read.
func (i *Instance) Ready() error {
	if i == nil {
		return nil
	}
	_, err := i.material()
	return err
}

// Cosign returns the trusted root, in JSON, and the options with which cosign asks for as much as a [Verifier] does.
func (i *Instance) Cosign() (trustedRoot []byte, options []string, err error) {
	material, err := i.material()
	if err != nil {
		return nil, nil, err
	}
	if len(material.RekorLogs()) == 0 {
		options = append(options, "--insecure-ignore-tlog")
	}
	if len(material.CTLogs()) == 0 {
		options = append(options, "--insecure-ignore-sct")
	}
	if len(material.TimestampingAuthorities()) > 0 {
		options = append(options, "--use-signed-timestamps")
	}
	trustedRoot, err = i.trusted()
	return trustedRoot, options, err
}

// prove proves a bundle that was signed with a certificate of the instance, and returns whose it is and when that was.
func (i *Instance) prove(b *bundle.Bundle, about verify.ArtifactPolicyOption) (Author, Time, error) {
	verifier, err := i.verifier()
	if err != nil {
		return Author{}, Time{}, err
	}
	result, err := verifier.Verify(b, verify.NewPolicy(about, verify.WithoutIdentitiesUnsafe()))
	if err != nil {
		return Author{}, Time{}, fmt.Errorf("%s does not prove it: %w", i.name, err)
	}
	if result.Signature == nil || result.Signature.Certificate == nil {
		return Author{}, Time{}, errors.New("it was not signed with a certificate")
	}
	c := result.Signature.Certificate
	if c.SubjectAlternativeName == "" || c.Issuer == "" {
		return Author{}, Time{}, errors.New("its certificate names no subject or no issuer")
	}
	at := observed(result.VerifiedTimestamps)
	// The library takes one timestamp of each authority, the first.
	if stamp := i.stamp(b); !stamp.IsZero() && stamp.Before(at.Time) {
		at = stamp
	}
	content, err := b.VerificationContent()
	if err != nil {
		return Author{}, Time{}, err
	}
	at.Since = content.Certificate().NotBefore.UTC()
	return subjectOf(c.Issuer, c.SubjectAlternativeName), at, nil
}

// observed returns the earliest of the times that were proven: from then on the signature existed. Anybody can have a later one added.
func observed(times []verify.TimestampVerificationResult) Time {
	if len(times) == 0 {
		return Time{}
	}
	first := slices.MinFunc(times, func(a, b verify.TimestampVerificationResult) int { return a.Timestamp.Compare(b.Timestamp) })
	return Time{Time: first.Timestamp.UTC(), Source: cmp.Or(first.URI, first.Type)}
}
