package pipeline

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/lockage/lockage/internal/strictyaml"
)

// Names of the identities that have a signing role.
const (
	RoleHydrator = "hydrator" // «I rendered this»
	RolePromoter = "promoter" // «this may run in this stage»
)

// MaxFormer bounds how many identities one was before.
const MaxFormer = 8

// checkSigstore checks the files of a private instance.
func (e effective) checkSigstore(c *checker) {
	c.rule(e.doc, RepositoryPath, "sigstore", "trustedRoot")
	c.rule(e.doc, RepositoryPath, "sigstore", "signingConfig")
	if e.Sigstore.SigningConfig != "" && e.Sigstore.TrustedRoot == "" {
		c.add(e.doc.At("sigstore", "signingConfig").Pos, "sigstore.trustedRoot is missing: nobody could verify what is signed with this signing config")
	}
}

// checkSigners requires one kind of key for each role, and different keys for the roles.
func (e effective) checkSigners(c *checker) {
	for role, s := range map[string]*Signer{"hydrator": e.Sign.Hydrator, "promoter": e.Sign.Promoter} {
		if s != nil && (s.Key == "") == (s.Keyless == nil) {
			c.add(e.doc.At("sign", role).Pos, "sign.%s: write either key or keyless", role)
		}
	}
	h, p := e.Sign.Hydrator, e.Sign.Promoter
	if h != nil && p != nil && h.Key != "" && h.Key == p.Key {
		c.add(e.doc.At("sign", "promoter", "key").Pos, "sign: hydrator and promoter use one key: give each role its own")
	}
}

// checkIdentities checks who is trusted. The error is one of reading keys.
func (e effective) checkIdentities(files fs.FS, c *checker) error {
	for _, name := range slices.Sorted(maps.Keys(e.Identities)) {
		id, at := e.Identities[name], []any{"identities", name}
		for depth := 0; ; depth++ {
			e.checkIdentity(name, id, at, c)
			if id.Former == nil {
				break
			}
			if depth == MaxFormer {
				c.add(e.doc.At(at...).Pos, "identity %s: more than %d former ones", name, MaxFormer)
				break
			}
			id, at = *id.Former, append(slices.Clip(at), "former")
		}
	}
	for _, h := range e.Identities[RoleHydrator].andFormer() {
		for _, p := range e.Identities[RolePromoter].andFormer() {
			same, err := sameIdentity(h, p, files)
			if same {
				c.add(e.doc.At("identities", RolePromoter).Pos, "identities: hydrator and promoter are one identity: the one that renders must not promote, give each its own")
			}
			if same || err != nil {
				return err
			}
		}
	}
	return nil
}

// andFormer returns an identity and what it was before, each without the others.
func (id Identity) andFormer() (all []Identity) {
	for former := &id; former != nil && len(all) <= MaxFormer; {
		one := *former
		former, one.Former = one.Former, nil
		all = append(all, one)
	}
	return all
}

// checkIdentity checks what an identity is known by, at a place of the file.
func (e effective) checkIdentity(name string, id Identity, place []any, c *checker) {
	at, field := e.doc.At(place...).Pos, func(key string) []any { return append(slices.Clip(place), key) }
	c.rule(e.doc, keyFile, field("key")...)
	keyless := id.Issuer != "" || id.Subject != "" || id.SubjectRegexp != ""
	switch {
	case id.Key != "" && keyless, id.Key == "" && !keyless:
		c.add(at, "identity %s: write either key, or issuer and subject", name)
	case keyless && id.Issuer == "":
		c.add(at, "identity %s: issuer is missing: a subject means nothing without it", name)
	case keyless && (id.Subject == "") == (id.SubjectRegexp == ""):
		c.add(at, "identity %s: write exactly one of subject and subjectRegexp", name)
	}
	c.rule(e.doc, func(expr string) string {
		if _, err := regexp.Compile(expr); err != nil { // alone, so that it cannot leave the group that anchors it
			return "does not compile: " + err.Error()
		}
		if len(expr) > maxExpression {
			return fmt.Sprintf("has %d bytes, at most %d are read", len(expr), maxExpression)
		}
		return ""
	}, field("subjectRegexp")...)
	c.rule(e.doc, func(issuer string) string {
		if !strings.HasPrefix(issuer, "https://") && !strings.HasPrefix(issuer, "http://") {
			return "is not a URL: write one like https://token.actions.githubusercontent.com"
		}
		return ""
	}, field("issuer")...)
}

// maxExpression bounds subjectRegexp, as package sign does.
const maxExpression = 1 << 10

// sameSubject reports whether a subject that one identity names exactly is the other's too.
func sameSubject(a, b Identity) bool {
	if a.Issuer == "" || a.Issuer != b.Issuer {
		return false
	}
	if a.Subject == "" {
		a, b = b, a
	}
	if a.Subject == "" || b.Subject != "" {
		return a.Subject == b.Subject && a.SubjectRegexp == b.SubjectRegexp
	}
	expr, err := regexp.Compile(`\A(?:` + b.SubjectRegexp + `)\z`)
	return err == nil && expr.MatchString(a.Subject)
}

// sameIdentity compares two identities by their fields, and by content if both keys are files in the repository.
func sameIdentity(a, b Identity, files fs.FS) (bool, error) {
	if a == b {
		return a != (Identity{}), nil
	}
	if a.Issuer != "" || b.Issuer != "" {
		return sameSubject(a, b), nil
	}
	if RepositoryPath(a.Key) != "" || RepositoryPath(b.Key) != "" {
		return false, nil
	}
	keysA, err := readKeys(files, a.Key)
	if err != nil {
		return false, err
	}
	keysB, err := readKeys(files, b.Key)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(keysA, func(key string) bool { return slices.Contains(keysB, key) }), nil
}

// readKeys returns the keys of a file, as PEM text and as lines of OpenSSH, in one form. It returns none if the file does not exist
// or has none: the uses of the keys report that.
func readKeys(files fs.FS, name string) ([]string, error) {
	data, err := strictyaml.ReadFile(files, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	var keys []string
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		keys = append(keys, string(block.Bytes))
	}
	for line := range bytes.Lines(data) {
		parsed, _, _, _, err := ssh.ParseAuthorizedKey(line)
		if key, ok := parsed.(ssh.CryptoPublicKey); err == nil && ok {
			if der, err := x509.MarshalPKIXPublicKey(key.CryptoPublicKey()); err == nil {
				keys = append(keys, string(der))
			}
		}
	}
	return keys, nil
}
