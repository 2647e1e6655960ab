package live

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// episode is one promotion on the live ref: the consecutive versions that name its record, ignoring those without a record.
type episode struct {
	ledger.Version           // the newest of them
	first          git.Hash  // the oldest that shows unchanged what the newest names; "" for none
	began          time.Time // committer's time of the oldest that names the record
}

// episodes collects episodes from the versions of a place, the newest first.
type episodes struct {
	head *ledger.Version
	all  []episode
}

func (e *episodes) add(v ledger.Version) {
	if e.head == nil {
		e.head = &v
	}
	named := v.Metadata.Lockage.Record
	if named == "" {
		return
	}
	if n := len(e.all); n == 0 || e.all[n-1].Metadata.Lockage.Record != named {
		e.all = append(e.all, episode{Version: v})
	}
	last := &e.all[len(e.all)-1]
	if last.began = v.Time; v.Intact() && v.Metadata.Lockage == last.Metadata.Lockage {
		last.first = v.Commit
	}
}

// unpromoted returns what the head shows without a record; nil for nothing.
func (e *episodes) unpromoted() *ledger.Metadata {
	if e.head == nil || e.head.Metadata.Lockage.Record != "" {
		return nil
	}
	return &e.head.Metadata
}

// broken returns ErrBroken with a reason.
func (s Stage) broken(format string, args ...any) error {
	return fmt.Errorf("stage %s of pipeline %s: %w: %s", s.Stage, s.Pipeline, ErrBroken, fmt.Sprintf(format, args...))
}

// at describes the place of a promotion, for reasons.
func (s Stage) at(commit string) string {
	if commit == "" {
		return "the record"
	}
	return "commit " + commit + " of branch " + s.Place.Branch
}

// prove proves the record that an episode names, and that it is about what the episode shows.
func (s Stage) prove(ctx context.Context, e episode) (Promotion, error) {
	facts := e.Metadata.Lockage
	where := s.at(string(e.Commit))
	shown := e.Metadata.Digest()
	p, err := s.record(ctx, where, shown, facts.Record)
	if err != nil {
		return p, err
	}
	p.Commit = string(cmp.Or(e.first, e.Commit))
	if e.began.After(p.Since) {
		p.Since = e.began
	}
	if facts.Claim != p.Claim || facts.Content != p.To.Content {
		return p, s.broken("%s is forged: it shows %s of %s/%s with content %s, and its record %s promotes %s of %s/%s with content %s",
			where, facts.Release, facts.Pipeline, facts.Stage, facts.Content,
			facts.Record, p.Release, p.Pipeline, p.Stage, p.To.Content)
	}
	return p, nil
}

// record reads one record by the digest of its manifest, and proves it. Where describes what names it.
func (s Stage) record(ctx context.Context, where string, artifact, referrer digest.Digest) (Promotion, error) {
	if referrer.Validate() != nil || referrer.Algorithm() != digest.SHA256 {
		return Promotion{}, s.broken("%s is forged: it names %.100q as its record, which is not a sha256 digest", where, string(referrer))
	}
	verified, rejected, err := s.verify(ctx, artifact, ocispec.Descriptor{Digest: referrer})
	if err != nil {
		return Promotion{}, err
	}
	if len(verified) == 0 {
		reason := "it is not a signed statement"
		if len(rejected) > 0 {
			reason = rejected[0].Reason
		}
		return Promotion{}, s.broken("%s names %s as its record, which proves nothing about %s: %s", where, referrer, artifact, reason)
	}
	p, err := s.parse(verified[0])
	if err != nil {
		return p, s.broken("%s names %s as its record: %v", where, referrer, err)
	}
	return p, nil
}

// records returns the proven records of this stage's promotions that an artifact carries, and ignores what else is attached.
func (s Stage) records(ctx context.Context, artifact digest.Digest) ([]Promotion, error) {
	if artifact == "" {
		return nil, nil
	}
	all, err := s.Artifacts.Referrers(ctx, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: artifact}, "")
	if err != nil {
		return nil, fmt.Errorf("list the records of %s: %w", artifact, err)
	}
	// Anybody who could change the annotation could as well remove the record.
	others := func(d ocispec.Descriptor) bool {
		kind, ok := d.Annotations[sign.AnnotationPredicateType]
		return ok && kind != predicate.TypePromotion
	}
	verified, _, err := s.verify(ctx, artifact, slices.DeleteFunc(all, others)...)
	if err != nil {
		return nil, err
	}
	var promotions []Promotion
	for _, v := range verified {
		if p, err := s.parse(v); err == nil {
			promotions = append(promotions, p)
		}
	}
	return promotions, nil
}

// verify proves what the promoter signed of the given referrers.
func (s Stage) verify(ctx context.Context, artifact digest.Digest, referrers ...ocispec.Descriptor) ([]sign.Verified, []sign.Rejected, error) {
	bundles, err := sign.Read(ctx, s.Artifacts, artifact, referrers)
	if err != nil {
		return nil, nil, err
	}
	verified, rejected := s.Promoter.Verify(artifact, bundles)
	return verified, rejected, nil
}

// parse reads a record, which must be of this stage.
func (s Stage) parse(v sign.Verified) (Promotion, error) {
	r, err := predicate.ParsePromotion(v)
	if err != nil {
		return Promotion{}, err
	}
	claim := s.Claim
	claim.Release = r.Release
	if v.Claim() != claim || r.Claim != claim || v.SubjectName() != claim.Repository || r.Release == "" {
		return Promotion{}, fmt.Errorf("it promotes %s in stage %s of pipeline %s, repository %s", r.Release, r.Stage, r.Pipeline, r.Repository)
	}
	return Promotion{Promotion: r, Referrer: v.Bundle().Referrer, Key: v.KeyFingerprint(), Since: r.Time}, nil
}

// intact returns ErrBroken unless an episode's files are those that were promoted: at the head if the episode contains it,
// and at one of its commits if not, since edits that were repaired do not matter.
func (s Stage) intact(e episode, head *ledger.Version) error {
	edited := e.first == "" || head != nil && e.Commit == head.Commit && !e.Intact()
	if !edited {
		return nil
	}
	return s.broken("%s changed files in %s without a promotion; revert that commit, or push what should run through a promotion",
		s.at(string(e.Commit)), s.Place.Path)
}

// follows returns ErrBroken unless a promotion comes right after the one before it, which is nil for none.
func (s Stage) follows(p Promotion, before *Promotion) error {
	where := s.at(p.Commit)
	if before == nil {
		if p.Sequence == 1 {
			return nil
		}
		return s.broken("there is a gap: %s is promotion %d, and nothing before it is there; "+
			"the branch was rewritten, or the path of the mirror was changed", where, p.Sequence)
	}
	advice := ""
	if before.Commit != "" {
		advice = fmt.Sprintf("; set the branch back to commit %s, which is promotion %d, if nobody meant it", before.Commit, before.Sequence)
	}
	switch {
	case p.Sequence < before.Sequence:
		return s.broken("%s is a replay: it shows promotion %d again (record %s), after promotion %d%s",
			where, p.Sequence, p.Referrer, before.Sequence, advice)
	case p.Sequence == before.Sequence:
		return s.broken("there is a fork: %s and %s are both promotion %d, with the records %s and %s%s",
			where, s.at(before.Commit), p.Sequence, p.Referrer, before.Referrer, advice)
	case p.Sequence > before.Sequence+1:
		return s.broken("there is a gap: %s is promotion %d, and the one before it there is %d%s",
			where, p.Sequence, before.Sequence, advice)
	case p.Previous != before.Referrer:
		return s.broken("there is a fork: %s is promotion %d and follows on record %s, and the one before it there is %s%s",
			where, p.Sequence, p.Previous, before.Referrer, advice)
	}
	return nil
}

// newest returns the newest promotion that an artifact carries; nil for none. Of two with one number, which an interrupted
// and repeated run leaves behind, it returns the later one, provided that both follow on the same record.
func (s Stage) newest(ctx context.Context, artifact digest.Digest) (*Promotion, error) {
	carried, err := s.records(ctx, artifact)
	if err != nil {
		return nil, err
	}
	var newest *Promotion
	for _, p := range carried {
		switch {
		case newest == nil || p.Sequence > newest.Sequence:
			newest = &p
		case p.Sequence < newest.Sequence:
		case p.Previous != newest.Previous:
			return nil, s.broken("there is a fork: %s carries the records %s and %s, which are both promotion %d and follow on others",
				artifact, newest.Referrer, p.Referrer, p.Sequence)
		case cmp.Or(p.Time.Compare(newest.Time), cmp.Compare(p.Referrer, newest.Referrer)) > 0:
			newest = &p
		}
	}
	return newest, nil
}

// previous reads the promotion that another one names as the one before; nil for the first.
func (s Stage) previous(ctx context.Context, p Promotion) (*Promotion, error) {
	if p.Sequence == 1 {
		return nil, nil
	}
	where := fmt.Sprintf("the record %s of promotion %d", p.Referrer, p.Sequence)
	if p.From == nil {
		return nil, s.broken("%s does not say what was live before it", where)
	}
	before, err := s.record(ctx, where, p.From.Digest, p.Previous)
	if err != nil {
		return nil, err
	}
	return &before, nil
}
