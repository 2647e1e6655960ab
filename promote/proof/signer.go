package proof

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/shell"
	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/sign"
)

// unknown stands where somebody signed whom the policy commit does not name.
const unknown = "--key KEY"

// signer is somebody who is trusted, now or before.
type signer struct {
	by      *sign.Verifier
	options string // with which cosign verifies what it signs, but for the subject of a certificate
}

// signers adds the keys of identities, and the trusted root of today if one is known without a key.
func (p Promotion) signers(files map[string][]byte, ids evidence.Identities) ([]signer, error) {
	var signers []signer
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		for n, id := range ids[name] {
			s, err := p.signer(files, name, n, id)
			if err != nil {
				return nil, fmt.Errorf("identities.%s: %w", name, err)
			}
			signers = append(signers, s)
		}
	}
	return signers, nil
}

// signer adds what the n-th of those that an identity is known by is verified with.
func (p Promotion) signer(files map[string][]byte, name string, n int, id sign.Identity) (s signer, err error) {
	id.Name = name
	if id.Issuer == "" {
		file := fmt.Sprintf("keys/%s.pub", name)
		if n > 0 {
			file = fmt.Sprintf("keys/%s-former-%d.pub", name, n)
		}
		files[file], s.options = id.PublicKey.PEM(), "--insecure-ignore-tlog --key "+file
	} else {
		if id.Instance, err = p.Stage.Instance(); err != nil {
			return s, err
		}
		text, options, err := id.Instance.Cosign()
		if err != nil {
			return s, err
		}
		files[trustedRoot], s.options = text, strings.Join(options, " ")
	}
	s.by, err = sign.NewVerifier(id)
	return s, err
}

// optionsFor returns the options for what somebody signed.
func (s signer) optionsFor(by sign.Author) string {
	if by.Issuer == "" {
		return s.options
	}
	return strings.TrimSpace(fmt.Sprintf("%s --certificate-oidc-issuer %s --certificate-identity %s", s.options, quote(by.Issuer), quote(by.Subject)))
}

// quote makes one word of a text for a shell, in one line.
func quote(text string) string {
	return shell.Quote(terminal.Escape(text, ""))
}

// ofBundle returns the options that verify a bundle.
func ofBundle(signers []signer, about digest.Digest, bundle sign.Bundle) string {
	for _, s := range signers {
		if verified, _ := s.by.Verify(about, []sign.Bundle{bundle}); len(verified) > 0 {
			return s.optionsFor(verified[0].Author())
		}
	}
	return unknown
}

// ofImage returns the options that verify a signature in the older form.
func ofImage(signers []signer, image sign.ImageSignature) string {
	for _, s := range signers {
		if by, ok := s.by.SignerOfImage(image); ok {
			return s.optionsFor(by)
		}
	}
	return unknown
}
