package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/sign"
)

// maxSkew is how far another clock may be ahead of ours.
const maxSkew = 5 * time.Minute

// signers are the identities that a gate trusts.
type signers struct {
	names   []string
	known   []sign.Identity // each under the first of its names
	unknown []string        // names without a known key or subject
}

// signers looks up names. About the artifact of another stage, an identity is who has that name there: its key may
// depend on the stage. stage is empty for this one.
func (f Facts) signers(names []string, stage string) signers {
	s := signers{names: names}
	for _, name := range names {
		id, known := f.Identities[name]
		if theirs, ok := f.Identities[stage+"/"+name]; stage != "" && ok {
			id, known = theirs, true
		}
		if !known {
			s.unknown = append(s.unknown, name)
			continue
		}
		id.Name = name
		s.known = append(s.known, id)
	}
	return s
}

// trusts returns the name by which somebody who signed is trusted.
func (s signers) trusts(who sign.Author) (name string, ok bool) {
	i := slices.IndexFunc(s.known, func(id sign.Identity) bool { return id.Made(who) })
	if i < 0 {
		return "", false
	}
	return s.known[i].Name, true
}

func (s signers) String() string {
	if len(s.names) == 0 {
		return "nobody"
	}
	return strings.Join(s.names, " or ")
}

// count tallies the statements of a type about a subject by those who are trusted. judge returns what a statement shows, which
// follows its signer's name, or why it does not count.
func (s signers) count(about Subject, predicateType string, judge func(sign.Verified) (string, error)) (counted tally, notes remarks) {
	for _, v := range about.Statements {
		if v.PredicateType() != predicateType {
			continue
		}
		name, ok := s.trusts(v.Author())
		if !ok {
			notes.add("one by %s does not count here", signer(v))
			continue
		}
		who := by(name, v.Author())
		shown, err := judge(v)
		if err != nil {
			notes.add("the one by %s does not count: %s", who, plain(err.Error()))
			continue
		}
		counted.add(v.KeyFingerprint(), who+shown, v.Bundle().Digest())
	}
	return counted, notes
}

// tally counts distinct signers and keeps what each of them showed first.
type tally struct {
	shown    []string
	evidence []digest.Digest
	keys     map[string]bool
}

// add counts a signer, by its fingerprint, once.
func (t *tally) add(key, shown string, evidence digest.Digest) {
	if t.keys[key] {
		return
	}
	if t.keys == nil {
		t.keys = make(map[string]bool)
	}
	t.keys[key] = true
	t.shown = append(t.shown, shown)
	if evidence != "" {
		t.evidence = append(t.evidence, evidence)
	}
}

func (t *tally) count() int { return len(t.keys) }

// pass is the result of enough of them.
func (t *tally) pass(format string, args ...any) GateResult {
	result := pass(format, args...)
	result.Evidence = t.evidence
	return result
}

// progress counts the signers towards those that are wanted.
func (t *tally) progress(want int) string {
	if t.count() == 0 {
		return "none"
	}
	return fmt.Sprintf("%d of %d, by %s", t.count(), want, t.String())
}

func (t *tally) String() string { return strings.Join(t.shown, ", ") }

// remarks are things worth saying once each, at the end of a reason.
type remarks []string

// maxRemarks bounds how many of them a reason has.
const maxRemarks = 5

func (r *remarks) add(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(*r, text) {
		*r = append(*r, text)
	}
}

func (r remarks) String() string {
	var b strings.Builder
	for i, text := range r {
		if i == maxRemarks {
			fmt.Fprintf(&b, "; and %d more", len(r)-maxRemarks)
			break
		}
		b.WriteString("; " + text)
	}
	return b.String()
}

// unproven adds names that nothing can be proven of, and what is attached to a subject and proves nothing.
func (r *remarks) unproven(by signers, s Subject) {
	for _, name := range by.unknown {
		r.add("no key of %s is known", name)
	}
	for _, rejected := range s.Rejected[:min(len(s.Rejected), maxRemarks)] {
		r.add("not counted: %s", plain(rejected.Reason))
	}
}

// by names who signed: the name by which it is trusted, and the key or the subject.
func by(name string, who sign.Author) string {
	return fmt.Sprintf("%s (%s)", name, plain(who.String()))
}

// signedAt returns when a statement was signed, and whose word that is: a timestamp authority's or a log's, which cannot be claimed, or
// else the signer's own.
func signedAt(v sign.Verified, claimed time.Time) (when time.Time, whose string) {
	if proven := v.Time(); !proven.IsZero() {
		return proven.Time, ", as " + plain(proven.Source) + " says"
	}
	return claimed, " by its own account"
}

// earliest returns a time before which a statement was not made: a timestamp proves that it existed by then, and somebody who has a later one put
// in its place makes it no younger. It is the claimed time, between the time before which it was not signed and that of its timestamp.
func earliest(v sign.Verified, claimed time.Time) time.Time {
	proven := v.Time()
	if !proven.IsZero() && proven.Before(claimed) {
		claimed = proven.Time
	}
	if proven.Since.After(claimed) {
		return proven.Since
	}
	return claimed
}

// as names who signed by all of the key's fingerprint, or by the subject.
func as(who sign.Author) string {
	if who.Issuer == "" {
		return "key " + who.Fingerprint()
	}
	return plain(who.String())
}

// signer names who signed a statement that the gate does not trust.
func signer(v sign.Verified) string { return by(v.Identity(), v.Author()) }

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// atLeast is a count as declared: 1 where it is not.
func atLeast(n *int) int {
	if n == nil {
		return 1
	}
	return max(*n, 1)
}

// at writes a time for people.
func at(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// span writes a duration for people: 2h, 1h30m, 40s, 6.1s. What is declared is seldom finer.
func span(d time.Duration) string {
	switch {
	case d >= time.Minute:
		d = d.Truncate(time.Second)
	case d >= time.Second:
		d = d.Truncate(100 * time.Millisecond)
	default:
		d = d.Truncate(time.Millisecond)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
