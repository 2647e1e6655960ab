package live

import (
	"cmp"
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// walk visits the promotions on the live ref, the newest first, until visit returns false. The newest version of the place is
// foreign unless it has the tree of the newest promotion.
func (s Stage) walk(ctx context.Context, visit func(Promotion) bool) (State, error) {
	tips, err := s.Remote.Tips(ctx, s.Place.Branch)
	if err != nil {
		return State{}, err
	}
	return s.walkFrom(ctx, tips[s.Place.Branch], visit)
}

// walkFrom is walk with a head of the live ref, "" for none.
func (s Stage) walkFrom(ctx context.Context, head git.Hash, visit func(Promotion) bool) (State, error) {
	var state State
	c := chain{Stage: s, visit: visit}
	err := c.read(ctx, head)
	if err == nil && c.live == nil {
		err = c.decide(ctx, nil)
	}
	for err == nil && !c.done && c.carried != nil { // it goes on where it was before, under the name that the stage had there
		from := *c.carried
		c.carried, c.Claim, c.Place.Path = nil, from.Claim, from.Path
		err = c.read(ctx, git.Hash(from.Commit))
	}
	if err == nil && !c.done {
		err = c.end(ctx)
	}
	if state.Head, state.Refused = head, c.refused; c.live != nil && c.live.To.Digest == "" {
		state.Anew = c.live
	} else {
		state.Live = c.live
	}
	if top := c.top; top != nil {
		state.Tree = top.Tree
		if last := state.Newest(); last == nil || top.Tree != last.tree || state.Live == nil && top.Ours {
			state.Unpromoted = &top.Metadata
		}
	}
	return state, err
}

// chain finds the promotions that count among the versions of a place, the newest first.
type chain struct {
	Stage
	visit    func(Promotion) bool
	top      *ledger.Version   // the newest version of the first place
	live     *Promotion        // the newest one that counts
	previous digest.Digest     // once there is one: the record of the next
	done     bool              // there is no next, or nobody asks for it
	carried  *predicate.Origin // of the one that counted last: the next one is there

	// While none counts:
	seen    []Promotion // all records, by whomever
	from    int         // in seen: those before are decided
	waiting string      // the former key by which those from there on are, as far as they are proven; "" for none
	refused string      // why the newest one that was proven does not count
}

// maxPolicyCommits bounds the commits at which it is asked who the promoter was, of records that nobody proves.
const maxPolicyCommits = 50

// more reports whether versions of the place are left to read.
func (c *chain) more() bool { return !c.done && c.carried == nil }

// read adds the versions of a place up to a commit, as far as somebody asks.
func (c *chain) read(ctx context.Context, head git.Hash) error {
	return c.versions(ctx, head, func(v ledger.Version, records []Promotion) (bool, error) {
		c.top = cmp.Or(c.top, &v)
		err := c.add(ctx, v, records)
		return c.more(), err
	})
}

// add goes on with the next version.
func (c *chain) add(ctx context.Context, v ledger.Version, records []Promotion) error {
	p := c.find(v, records)
	if p == nil {
		return nil
	}
	if c.live != nil {
		c.count(*p)
		return nil
	}
	c.seen = append(c.seen, *p)
	if !p.proven() || p.signed.Former() && (c.waiting == "" || c.waiting == p.Key) {
		if p.proven() {
			c.waiting = p.Key
		}
		return nil
	}
	return c.decide(ctx, p)
}

// decide finds the newest promotion that counts, if there is one. Below is the newest one by another key than those that wait; nil
// for none.
func (c *chain) decide(ctx context.Context, below *Promotion) error {
	for i, p := range c.seen[c.from:] {
		if !p.proven() || below != nil && p.Record == below.Record && below.signed.Former() {
			continue
		}
		counts, why, err := c.counts(ctx, p, below)
		if err != nil {
			return err
		}
		if counts {
			c.take(c.from + i)
			return nil
		}
		c.refused = cmp.Or(c.refused, fmt.Sprintf("promotion %d (commit %.12s) does not count: %s", p.Sequence, p.Commit, why))
	}
	if below != nil {
		c.from, c.waiting = len(c.seen)-1, below.Key
	}
	return nil
}

// take makes one of those that were seen the newest promotion, and goes on from there.
func (c *chain) take(i int) {
	c.count(c.seen[i])
	for _, p := range c.seen[i+1:] {
		if c.more() && p.Record == c.previous {
			c.count(p)
		}
	}
}

// count visits a promotion that counts.
func (c *chain) count(p Promotion) {
	if c.live == nil {
		c.live = &p
	}
	c.previous, c.carried = p.Previous, p.Carried
	c.done = !c.visit(p) || p.Previous == ""
}

// counts reports whether a record counts by its key, and why not. Below is the newest promotion below it by another key; nil for
// none.
func (s Stage) counts(ctx context.Context, p Promotion, below *Promotion) (bool, string, error) {
	counts, why, err := s.Promoter.Count(ctx, s.PolicyRef, p.signed, p.Policy.File, p.Policy.Commit)
	if err != nil || !counts || !p.signed.Former() || below == nil {
		return counts, why, err
	}
	on, err := s.PolicyRef.IsAncestor(ctx, below.Policy.Commit, p.Policy.Commit)
	if !on {
		why = fmt.Sprintf("its key %.12s was put away, and policy commit %.12s, which it names, does not contain %.12s, by which promotion %d below was judged",
			p.Key, p.Policy.Commit, below.Policy.Commit, below.Sequence)
	}
	return on, why, err
}

// end returns ErrBroken if a promotion that has to be there is missing, or if none counts any more.
func (c *chain) end(ctx context.Context) error {
	broken := func(format string, args ...any) error {
		return fmt.Errorf("stage %s of pipeline %s: %w: branch %s: %s", c.Stage.Stage, c.Pipeline, ErrBroken, c.Place.Branch, fmt.Sprintf(format, args...))
	}
	again := fmt.Sprintf("`lockage repair %s --apply --reason TEXT` begins anew", c.today())
	if c.live != nil {
		return broken("record %s, which a promotion names as the one before it, is missing", c.previous)
	}
	if c.refused != "" {
		return broken("%s, and nothing else does: %s", c.refused, again)
	}
	asked := map[string]bool{} // policy commits: each may have to be fetched
	for _, p := range c.seen {
		if asked[p.Policy.Commit] = true; len(asked) > maxPolicyCommits {
			return broken("records by keys that prove nothing name more than %d commits of the policy ref: remove their commits from the branch, or %s", maxPolicyCommits, again)
		}
		by, trusted, err := c.once(ctx, p)
		if err != nil {
			return err
		}
		if trusted {
			return broken("promotion %d (commit %.12s) was signed by %s %s", p.Sequence, p.Commit, c.lost(p, by), again)
		}
	}
	return nil
}

// lost says of a promotion that the promoter once signed why it is not proven any more, and what proves it again.
func (c *chain) lost(p Promotion, by sign.Author) string {
	at := c.PolicyRef.Name()
	switch known, _ := c.Promoter.Trusts(sign.Identity{Issuer: by.Issuer, Subject: by.Subject}); {
	case known:
		return fmt.Sprintf("%s with a certificate that the trusted root of commit %.12s proves, and not the one at %s, and no promotion that this one proves follows it: if the services were replaced, put the former ones back beside the new ones in the file that sigstore.trustedRoot names; if they cannot be trusted,",
			by, p.Policy.Commit, at)
	case c.Promoter.KeyFile != "" && by.Issuer == "":
		return fmt.Sprintf("the key that was the promoter's at commit %.12s, which is not in %s at %s any more, and no promotion by another key follows it: if the key was replaced, put it back below the new one; if it was stolen,",
			p.Policy.Commit, c.Promoter.KeyFile, at)
	}
	return fmt.Sprintf("the promoter of commit %.12s, and identities.%s is %s at %s, without that as former, and no promotion by another one follows it: if it signs in another way now, write what it was known by before as former: there; if its key was stolen,",
		p.Policy.Commit, c.Promoter.Identity, c.Promoter.First(), at)
}

// once reports whether a promotion is signed by the one who was the promoter first at the policy commit that it names, as the trusted root of
// that commit proves, and who that is.
func (s Stage) once(ctx context.Context, p Promotion) (by sign.Author, trusted bool, err error) {
	key, why, err := s.Promoter.FirstProvenAt(ctx, s.PolicyRef, p.Policy.File, p.Policy.Commit)
	if err == nil && why == "" {
		err = key.Instance.Ready()
	}
	if err != nil || why != "" {
		return by, false, err
	}
	then, err := sign.NewVerifier(key)
	if err != nil {
		return by, false, err
	}
	verified, _ := then.Verify(p.Subject(), []sign.Bundle{p.signed.Bundle()})
	if len(verified) == 0 {
		return by, false, nil
	}
	return verified[0].Author(), true, nil
}

// proven reports whether a key of today signed the record.
func (p Promotion) proven() bool { return p.signed.Identity() != "" }

// find returns the promotion that a version is, by the records beside it; nil for a version that somebody else made, or that shows
// something else than what its record promotes. Once a promotion counts, that is the one that it names as the one before, whatever key signed
// it: what is below is as it was then, since each record names the commit that it follows. Until then it is one that is proven, or else any.
func (c *chain) find(v ledger.Version, records []Promotion) (found *Promotion) {
	for _, p := range records {
		if p.Parent != string(v.Parent) || p.Tree != string(v.Promoted) || c.live != nil && p.Record != c.previous {
			continue
		}
		if beside, err := p.Statements.Beside(p.Record); err != nil || beside != p.Beside {
			continue
		}
		if c.live == nil && c.prove(&p) {
			return &p
		}
		found = cmp.Or(found, &p)
	}
	if found != nil {
		found.Signed = c.Promoter.Timed(found.Subject(), found.signed.Bundle())
	}
	return found
}

// versions visits the versions of the stage's place up to a commit, with the records beside the files, see [Stage.records].
func (s Stage) versions(ctx context.Context, head git.Hash, visit func(ledger.Version, []Promotion) (more bool, err error)) error {
	return ledger.History(ctx, s.Remote, head, s.Place.Path, func(v ledger.Version) (bool, error) {
		statements, err := v.Statements(ctx, s.Remote)
		if err != nil {
			return false, err
		}
		records := s.records(statements.Bundles, v.Metadata.Digest(), predicate.Nothing)
		for i := range records {
			p := &records[i]
			p.Commit, p.Path, p.Metadata, p.Statements, p.tree = string(v.Commit), s.Place.Path, v.Metadata, statements, v.Tree
		}
		return visit(v, records)
	})
}

// records returns the records of this stage about artifacts, "" for none, whatever keys signed them. They prove nothing, see [Stage.prove].
func (s Stage) records(bundles []sign.Bundle, artifacts ...digest.Digest) (all []Promotion) {
	for _, b := range bundles {
		if !b.Says(predicate.TypePromotion) {
			continue
		}
		for _, artifact := range artifacts {
			if v, err := sign.Claimed(artifact, b); err == nil {
				if p, err := s.parse(v); err == nil {
					all = append(all, p)
				}
			}
		}
	}
	return all
}

// prove reports whether the promoter signed a record by a key of today, and notes when.
func (s Stage) prove(p *Promotion) bool {
	verified, _ := s.Promoter.Verify(p.Subject(), []sign.Bundle{p.signed.Bundle()})
	if len(verified) == 0 {
		return false
	}
	p.Key, p.Signed, p.signed = verified[0].KeyFingerprint(), verified[0].Time(), verified[0]
	return true
}
