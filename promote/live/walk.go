package live

import (
	"cmp"
	"context"
	"fmt"
	"slices"

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
	var top *ledger.Version
	c := chain{Stage: s, visit: visit}
	err := ledger.History(ctx, s.Remote, head, s.Place.Path, func(v ledger.Version) (bool, error) {
		if top == nil {
			top = &v
		}
		err := c.add(ctx, v)
		return c.more(), err
	})
	if err == nil && c.live == nil {
		err = c.decide(ctx, nil)
	}
	for err == nil && !c.done && c.carried != nil {
		err = c.follow(ctx)
	}
	if err == nil && !c.done {
		err = c.end(ctx)
	}
	if state.Head, state.Refused = head, c.refused; c.live != nil && c.live.To.Digest == "" {
		state.Anew = c.live
	} else {
		state.Live = c.live
	}
	if top != nil {
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

// more reports whether versions of the place are left to read.
func (c *chain) more() bool { return !c.done && c.carried == nil }

// follow goes on where the history was before it was carried over, under the name that the stage had there.
func (c *chain) follow(ctx context.Context) error {
	from := *c.carried
	c.carried, c.Claim, c.Place.Path = nil, from.Claim, from.Path
	return ledger.History(ctx, c.Remote, git.Hash(from.Commit), from.Path, func(v ledger.Version) (bool, error) {
		err := c.add(ctx, v)
		return c.more(), err
	})
}

// add goes on with the next version.
func (c *chain) add(ctx context.Context, v ledger.Version) error {
	statements, err := v.Statements(ctx, c.Remote)
	if err != nil {
		return err
	}
	if c.live != nil {
		if p := c.find(v, statements, c.named); p != nil {
			c.count(*p)
		}
		return nil
	}
	p := c.find(v, statements, c.proven)
	if p == nil {
		p = c.find(v, statements, c.claimed)
	}
	if p == nil {
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
	for _, p := range c.seen {
		trusted, err := c.once(ctx, p)
		if err != nil {
			return err
		}
		if trusted && c.Promoter.KeyFile == "" {
			return broken("promotion %d (commit %.12s) was signed by the promoter of commit %.12s, and identities.%s is %s at %s, without that as former, and no promotion by another one follows it: if it signs in another way now, write what it was known by before as former: there; if its key was stolen, %s",
				p.Sequence, p.Commit, p.Policy.Commit, c.Promoter.Identity, c.Promoter.First(), c.PolicyRef.Name(), again)
		}
		if trusted {
			return broken("promotion %d (commit %.12s) was signed by the key that was the promoter's at commit %.12s, which is not in %s at %s any more, and no promotion by another key follows it: if the key was replaced, put it back below the new one; if it was stolen, %s",
				p.Sequence, p.Commit, p.Policy.Commit, c.Promoter.KeyFile, c.PolicyRef.Name(), again)
		}
	}
	return nil
}

// once reports whether a promotion is signed by the key that was the promoter's first at the policy commit that it names.
func (c *chain) once(ctx context.Context, p Promotion) (bool, error) {
	key, why, err := c.Promoter.FirstAt(ctx, c.PolicyRef, p.Policy.File, p.Policy.Commit)
	if err != nil || why != "" {
		return false, err
	}
	if key.Issuer != "" && key.Instance == nil {
		return false, nil // nothing proves certificates any more
	}
	then, err := sign.NewVerifier(key)
	if err != nil {
		return false, err
	}
	verified, _ := then.Verify(p.Subject(), p.Statements.Bundles)
	return slices.ContainsFunc(verified, func(v sign.Verified) bool { return v.Bundle().Digest() == p.Record }), nil
}

// proven reports whether a key of today signed the record.
func (p Promotion) proven() bool { return p.signed.Identity() != "" }

// find returns the promotion that a version is, by the records among its statements; nil for a version that somebody else made, or
// that shows something else than what its record promotes. What is below a promotion is as it was then: its record names the
// commit that it follows.
func (c *chain) find(v ledger.Version, statements ledger.Statements, records func(artifact digest.Digest, bundles []sign.Bundle) []Promotion) *Promotion {
	for _, artifact := range []digest.Digest{v.Metadata.Digest(), predicate.Nothing} {
		if artifact == "" {
			continue
		}
		for _, p := range records(artifact, statements.Bundles) {
			if p.Parent == string(v.Parent) && p.Tree == string(v.Promoted) {
				p.Commit, p.Path, p.Metadata, p.Statements, p.tree = string(v.Commit), c.Place.Path, v.Metadata, statements, v.Tree
				return &p
			}
		}
	}
	return nil
}

// proven returns the records of this stage that the promoter signed by a key of today.
func (s Stage) proven(artifact digest.Digest, bundles []sign.Bundle) []Promotion {
	verified, _ := s.Promoter.Verify(artifact, slices.DeleteFunc(slices.Clone(bundles), func(b sign.Bundle) bool {
		return !b.Says(predicate.TypePromotion) // signatures are checked of what says that it is a record
	}))
	var promotions []Promotion
	for _, v := range verified {
		if p, err := s.parse(v); err == nil {
			promotions = append(promotions, p)
		}
	}
	return promotions
}

// named returns the record that the promotion above names, whatever key signed it.
func (c *chain) named(artifact digest.Digest, bundles []sign.Bundle) []Promotion {
	i := slices.IndexFunc(bundles, func(b sign.Bundle) bool { return b.Digest() == c.previous })
	if i < 0 {
		return nil
	}
	return c.claimed(artifact, bundles[i:i+1])
}

// claimed returns all records, whatever keys signed them. They prove nothing.
func (s Stage) claimed(artifact digest.Digest, bundles []sign.Bundle) []Promotion {
	var promotions []Promotion
	for _, b := range bundles {
		if !b.Says(predicate.TypePromotion) {
			continue
		}
		v, err := sign.Claimed(artifact, b)
		if err != nil {
			continue
		}
		if p, err := s.parse(v); err == nil {
			p.Signed = s.Promoter.Timed(artifact, b)
			promotions = append(promotions, p)
		}
	}
	return promotions
}
