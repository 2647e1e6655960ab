package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// History yields all promotions of a stage, the newest first, each verified before it is yielded. An error is yielded last;
// it is ErrBroken if the registry has a promotion that the live ref lacks, see [Read].
func History(ctx context.Context, s Stage) iter.Seq2[Promotion, error] {
	return func(yield func(Promotion, error) bool) {
		more := true
		state, err := s.walk(ctx, func(p Promotion) bool {
			more = yield(p, nil)
			return more
		})
		if !more {
			return
		}
		if err == nil {
			err = s.Witness(ctx, &state)
		}
		if err != nil {
			yield(Promotion{}, err)
		}
	}
}

// HistoryOf is [History] at the state that [Read] has read: it asks nobody again, and reads only what is below the newest promotion.
func HistoryOf(ctx context.Context, s Stage, state State) iter.Seq2[Promotion, error] {
	return func(yield func(Promotion, error) bool) {
		newest := state.Newest()
		if newest == nil || !yield(*newest, nil) || newest.Previous == "" {
			return
		}
		below, more := false, true
		_, err := s.walkFrom(ctx, state.Head, func(p Promotion) bool {
			if below {
				more = yield(p, nil)
			}
			below = true
			return more
		})
		if err != nil && more {
			yield(Promotion{}, err)
		}
	}
}

// FormerNames returns the names that a stage had when an artifact was live there, other than today's, by its promotions, the newest
// first: what was never live there has none.
func FormerNames(history iter.Seq2[Promotion, error], artifact digest.Digest) ([]sign.Claim, error) {
	var names []sign.Claim
	since := 0 // that many of them, the artifact was live
	for p, err := range history {
		if err != nil {
			return nil, err
		}
		if p.Carried != nil {
			names = append(names, p.Carried.Claim)
		}
		if p.To.Digest == artifact {
			since = len(names)
		}
	}
	return names[:since], nil
}

// Spans returns when what was live, the oldest first, of promotions in a row, the newest first. The record of another content
// ends a span. Records of one content are one stay, which they do not interrupt.
func Spans(promotions []Promotion) []policy.Span {
	spans := make([]policy.Span, len(promotions))
	for i, p := range promotions {
		spans[i] = policy.Span{Artifact: p.To, From: p.When(), Claimed: p.Signed.IsZero()}
		if i > 0 {
			spans[i].Until = promotions[i-1].When()
		}
	}
	slices.Reverse(spans)
	return spans
}

// When returns the time of the promotion: that of the record's timestamp, or else the one that the promoter claims.
func (p Promotion) When() time.Time {
	if !p.Signed.IsZero() {
		return p.Signed.Time
	}
	return p.Time
}

// Starts returns since when the content of each promotion was live without a break, under however many releases: the time that
// soak counts from. The promotions are in a row, the newest first.
func Starts(promotions []Promotion, now time.Time) []time.Time {
	starts := policy.Starts(Spans(promotions), now)
	slices.Reverse(starts)
	return starts
}

// Continues reports whether a promotion left the content as it was: its start is that of an older one.
func (p Promotion) Continues() bool { return p.From != nil && p.From.Content == p.To.Content }

// since returns since when the content of what is live is live.
func since(ctx context.Context, s Stage, state State, now time.Time) (time.Time, error) {
	var promotions []Promotion
	for p, err := range HistoryOf(ctx, s, state) {
		if err != nil {
			return time.Time{}, err
		}
		if promotions = append(promotions, p); !p.Continues() {
			break
		}
	}
	return Starts(promotions, now)[0], nil
}

// Found is an artifact that a stage has or had.
type Found struct {
	Pipeline   *pipeline.Pipeline
	Declared   pipeline.Expanded // the stage, for the current release
	Release    string
	Digest     digest.Digest // of the artifact
	Entry      *ledger.Entry // if it is the candidate of the release; not proven
	Promotions []Promotion   // of it to the stage, the newest first
	Starts     []time.Time   // of each of them, see [Starts]
	Carried    bool          // the history was carried over since the newest of them
}

// finder looks for a digest in what the policy ref declares.
type finder struct {
	digest  digest.Digest
	files   fs.FS
	ref     verify.PolicyRef
	client  *oci.Client
	remotes verify.Remotes
	now     time.Time
}

// Find returns the stages that have a digest, or one that begins with it, as a candidate or had it live: that of an artifact, or of an image that the lock of the
// artifact's release names. It reads Git, and asks the registry only as a witness. An error concerns single stages, which it
// names, and comes with what was found.
func Find(ctx context.Context, d digest.Digest, pipelines []*pipeline.Pipeline, files fs.FS, ref verify.PolicyRef, client *oci.Client, remotes verify.Remotes, now time.Time) ([]Found, error) {
	f := finder{d, files, ref, client, remotes, now}
	type of struct {
		*pipeline.Pipeline
		stage string
	}
	var stages []of
	for _, p := range pipelines {
		for _, stage := range p.Order() {
			stages = append(stages, of{p, stage})
		}
	}
	found, errs := make([][]Found, len(stages)), make([]error, len(stages))
	var group errgroup.Group
	group.SetLimit(32)
	for i, s := range stages {
		group.Go(func() error {
			found[i], errs[i] = f.stage(ctx, s.Pipeline, s.stage)
			return nil
		})
	}
	_ = group.Wait()                                   // errs has the errors
	alike, names := map[string]int{}, map[int]string{} // the first stage of each error, which may differ in names
	for i, s := range stages {
		if errs[i] == nil {
			continue
		}
		key := strings.NewReplacer(s.Name, "{pipeline}", s.stage, "{stage}").Replace(errs[i].Error())
		if first, ok := alike[key]; ok {
			names[first] += ", " + s.Name + "/" + s.stage
			errs[i] = nil
			continue
		}
		alike[key], names[i] = i, s.Name+"/"+s.stage
	}
	for i, of := range names {
		errs[i] = fmt.Errorf("%s: %w", of, errs[i])
	}
	return slices.Concat(found...), errors.Join(errs...)
}

// stage finds what a stage has and had.
func (f finder) stage(ctx context.Context, p *pipeline.Pipeline, stage string) (found []Found, err error) {
	declared, _, err := p.ExpandCurrent(stage, f.files)
	if errors.Is(err, lock.ErrNoRelease) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	get := func(release string, artifact digest.Digest) *Found {
		i := slices.IndexFunc(found, func(f Found) bool { return f.Release == release && f.Digest == artifact })
		if i < 0 {
			i, found = len(found), append(found, Found{Pipeline: p, Declared: declared, Release: release, Digest: artifact})
		}
		return &found[i]
	}
	entries, err := verify.Entries(ctx, declared, f.remotes)
	for _, e := range entries {
		if f.is(e.Digest) || f.is(e.Image) || f.locked(p, e.Release) {
			get(e.Release, e.Digest).Entry = &e
		}
	}
	if err != nil || !Promotes(declared) {
		return found, err
	}
	s, err := Open(ctx, f.files, f.ref, declared, f.client, f.remotes)
	if err != nil {
		return found, err
	}
	var promotions []Promotion
	for t, broken := range History(ctx, s) {
		if err = broken; err == nil {
			promotions = append(promotions, t)
		}
	}
	starts, carried := Starts(promotions, f.now), false
	for i, t := range promotions {
		if f.is(t.To.Digest) || f.locked(p, t.To.Release) {
			of := get(t.To.Release, t.To.Digest)
			of.Carried = of.Carried || carried && of.Promotions == nil
			of.Promotions, of.Starts = append(of.Promotions, t), append(of.Starts, starts[i])
		}
		carried = carried || t.Carried != nil
	}
	return found, err
}

// is reports whether a digest is the one that is looked for, or begins with it.
func (f finder) is(d digest.Digest) bool { return strings.HasPrefix(string(d), string(f.digest)) }

// locked reports whether the digest is that of an image of a release. A lock that is not there any more names none.
func (f finder) locked(p *pipeline.Pipeline, release string) bool {
	l, err := p.LockOf(f.files, release)
	return err == nil && slices.ContainsFunc(l.Images(), func(image lock.NamedImage) bool { return f.is(image.Digest) })
}
