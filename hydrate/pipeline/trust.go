package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lockage/lockage/internal/strictyaml"
)

// checkSigners asks for one kind of key a role, and for two keys.
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

// checkIdentities judges who is trusted. The error is one of reading keys.
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
				return "is no URL: write one like https://token.actions.githubusercontent.com"
			}
			return ""
		}, "identities", name, "issuer")
	}
	same, err := sameIdentity(e.Identities["hydrator"], e.Identities["promoter"], files)
	if same {
		c.add(e.doc.At("identities", "promoter").Pos, "identities: hydrator and promoter are one identity: who renders must not promote, give each its own")
	}
	return err
}

// sameIdentity compares two identities as far as the repository tells: by name,
// and by content where both keys are files in it.
func sameIdentity(a, b Identity, files fs.FS) (bool, error) {
	if a == b {
		return a != (Identity{}), nil
	}
	if repositoryPath(a.Key) != "" || repositoryPath(b.Key) != "" {
		return false, nil
	}
	keyA, err := readKey(files, a.Key)
	if err != nil || keyA == nil {
		return false, err
	}
	keyB, err := readKey(files, b.Key)
	if err != nil || keyB == nil {
		return false, err
	}
	return bytes.Equal(keyA, keyB), nil
}

// readKey returns nil where there is no such file: whoever uses the key says so.
func readKey(files fs.FS, name string) ([]byte, error) {
	data, err := readFile(files, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	return bytes.TrimSpace(data), nil
}

// checkGates judges the gates of a stage.
func (e effective) checkGates(p *Pipeline, c *checker) {
	for i, g := range e.Gates {
		node := e.doc.Find("gates", i)
		if node == nil || node.Kind != strictyaml.Map {
			continue
		}
		set := slices.DeleteFunc(slices.Clone(node.Entries), func(entry strictyaml.Entry) bool { return entry.Value.IsNull() })
		if len(set) != 1 {
			c.add(node.Pos, "a gate has exactly one condition, this one has %d: write one list item each", len(set))
		}
		if g.Soak != nil {
			e.checkStage(p, c, g.Soak.Stage, "gates", i, "soak", "stage")
			c.rule(e.doc, duration, "gates", i, "soak", "for")
		}
		if a := g.Attestation; a != nil {
			c.rule(e.doc, matches(predicate, "is no predicate type: write a URI"), "gates", i, "attestation", "type")
			c.rule(e.doc, duration, "gates", i, "attestation", "maxAge")
			c.rule(e.doc, notEmpty, "gates", i, "attestation", "where")
			c.rule(e.doc, func(subject string) string {
				if subject == "artifact" || subject == "image" || strings.HasPrefix(subject, "stage:") {
					return ""
				}
				return "is not known: write artifact, image or stage:NAME"
			}, "gates", i, "attestation", "subject")
			if name, ok := strings.CutPrefix(a.Subject, "stage:"); ok {
				e.checkStage(p, c, name, "gates", i, "attestation", "subject")
			}
			e.checkBy(c, a.By, a.Count, "gates", i, "attestation")
		}
		if g.Approval != nil {
			e.checkBy(c, g.Approval.By, g.Approval.Count, "gates", i, "approval")
		}
		if g.Image != nil {
			e.checkBy(c, g.Image.By, nil, "gates", i, "image")
		}
		if g.Window != nil {
			e.checkWindow(c, g.Window, i)
		}
		c.rule(e.doc, repositoryPath, "gates", i, "file")
		c.rule(e.doc, repositoryPath, "gates", i, "rego")
		c.rule(e.doc, notEmpty, "gates", i, "cel")
	}
}

func (e effective) checkWindow(c *checker, w *Window, i int) {
	if len(w.Allow) == 0 && len(w.Deny) == 0 {
		c.add(e.doc.At("gates", i, "window").Pos, "window: write allow, deny or both")
	}
	c.rule(e.doc, matches(weekly, "is no weekly time: write one like Mon-Thu 09:00-16:00"), "gates", i, "window", "allow")
	c.rule(e.doc, func(span string) string {
		from, to, _ := strings.Cut(span, "/")
		if weekly.MatchString(span) || isDay(from) && isDay(to) && from <= to {
			return ""
		}
		return "is neither days such as 2026-12-20/2027-01-03 nor a weekly time such as Mon-Thu 09:00-16:00"
	}, "gates", i, "window", "deny")
	c.rule(e.doc, matches(timezone, "is no time zone: write one like America/Los_Angeles"), "gates", i, "window", "timezone")
}

// checkStage reports a stage that does not exist.
func (e effective) checkStage(p *Pipeline, c *checker, name string, path ...any) {
	n := e.doc.Find(path...)
	if _, ok := p.Stage(name); !ok && n.IsString() && !c.unexpanded[n.Pos] {
		c.add(n.Pos, "%s: there is no stage %q", pathName(path), name)
	}
}

// checkBy reports identities that nobody declared, and counts below one.
func (e effective) checkBy(c *checker, by []string, count *int, path ...any) {
	list := e.doc.Find(append(slices.Clip(path), "by")...)
	if list == nil || list.Kind != strictyaml.List {
		return
	}
	if len(by) == 0 {
		c.add(list.Pos, "%s.by is empty: name who is trusted", pathName(path))
	}
	for i, name := range by {
		if _, ok := e.Identities[name]; !ok && list.At(i).IsString() && !c.unexpanded[list.At(i).Pos] {
			c.add(list.At(i).Pos, "identity %q is not declared: add it to identities", name)
		}
	}
	if count != nil && *count < 1 {
		c.add(e.doc.At(append(slices.Clip(path), "count")...).Pos, "%s.count is %d: at least 1", pathName(path), *count)
	}
}

func isDay(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}
