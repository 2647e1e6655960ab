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

// refuseKeyless reports keyless signing, which is read and checked but not supported yet.
func (p *Pipeline) refuseKeyless(c *checker) {
	docs := []*strictyaml.Node{p.doc}
	if stages := p.doc.Get("stages"); stages != nil {
		docs = append(docs, stages.Items...)
	}
	for _, doc := range docs {
		for _, role := range []string{RoleHydrator, RolePromoter} {
			signer := doc.Find("sign", role)
			if signer == nil {
				continue
			}
			for _, e := range signer.Entries {
				if e.Key == "keyless" && !e.Value.IsNull() {
					c.add(e.KeyPos, "sign.%s.keyless is not supported yet: remove it", role)
				}
			}
		}
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
		id, at := e.Identities[name], e.doc.At("identities", name).Pos
		c.rule(e.doc, keyFile, "identities", name, "key")
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
			if _, err := regexp.Compile("^(?:" + expr + ")$"); err != nil {
				return "does not compile: " + err.Error()
			}
			return ""
		}, "identities", name, "subjectRegexp")
		c.rule(e.doc, func(issuer string) string {
			if !strings.HasPrefix(issuer, "https://") && !strings.HasPrefix(issuer, "http://") {
				return "is not a URL: write one like https://token.actions.githubusercontent.com"
			}
			return ""
		}, "identities", name, "issuer")
	}
	same, err := sameIdentity(e.Identities[RoleHydrator], e.Identities[RolePromoter], files)
	if same {
		c.add(e.doc.At("identities", RolePromoter).Pos, "identities: hydrator and promoter are one identity: the one that renders must not promote, give each its own")
	}
	return err
}

// sameIdentity compares two identities by their fields, and by content if both keys are files in the repository.
func sameIdentity(a, b Identity, files fs.FS) (bool, error) {
	if a == b {
		return a != (Identity{}), nil
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
