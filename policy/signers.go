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
	keys    map[string]string // fingerprint to name
	keyless []string          // names without a known key
}

// signers looks up names. About the artifact of another stage, an identity is who has that name there: its key may
// depend on the stage. stage is empty for this one.
func (f Facts) signers(names []string, stage string) signers {
	s := signers{names: names, keys: make(map[string]string)}
	for _, name := range names {
		key := f.Keys[name]
		if theirs := f.Keys[stage+"/"+name]; stage != "" && theirs != "" {
			key = theirs
		}
		if key == "" {
			s.keyless = append(s.keyless, name)
			continue
		}
		if _, taken := s.keys[key]; !taken {
			s.keys[key] = name
		}
	}
	return s
}

// trusts returns the name by which a key is trusted. No key is trusted by none.
func (s signers) trusts(fingerprint string) (name string, ok bool) {
	name, ok = s.keys[fingerprint]
	return name, ok && fingerprint != ""
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
		name, ok := s.trusts(v.KeyFingerprint())
		if !ok {
			notes.add("one by %s does not count here", signer(v))
			continue
		}
		who := by(name, v.KeyFingerprint())
		shown, err := judge(v)
		if err != nil {
			notes.add("the one by %s does not count: %s", who, plain(err.Error()))
			continue
		}
		counted.add(v.KeyFingerprint(), who+shown, v.Bundle().Digest())
	}
	return counted, notes
}

// tally counts distinct keys and keeps what each of them showed first.
type tally struct {
	shown    []string
	evidence []digest.Digest
	keys     map[string]bool
}

// add counts a key, once.
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

// progress counts the keys towards those that are wanted.
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
	for _, name := range by.keyless {
		r.add("no key of %s is known", name)
	}
	for _, rejected := range s.Rejected[:min(len(s.Rejected), maxRemarks)] {
		r.add("not counted: %s", plain(rejected.Reason))
	}
}

// by names who signed: the name by which it is trusted, and the key.
func by(name, fingerprint string) string {
	return fmt.Sprintf("%s (key %s)", name, prefix(fingerprint))
}

// signer names who signed a statement that the gate does not trust.
func signer(v sign.Verified) string { return by(v.Identity(), v.KeyFingerprint()) }

// prefix is enough of a fingerprint for people to recognise it.
func prefix(fingerprint string) string { return fingerprint[:min(len(fingerprint), 12)] }

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
