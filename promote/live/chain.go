package live

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

const timeFormat = time.RFC3339

// annotationPredicate is by what Sigstore's bundles say in the registry of what kind they are. It is trusted for nothing but
// to pass over other kinds: whoever could change it could as well remove the record.
const annotationPredicate = "dev.sigstore.bundle.predicateType"

// episode is the time of one promotion on the live ref: the versions in a row that name its record, if one leaves those
// without a record aside.
type episode struct {
	mirror.Version           // the newest of them
	first          git.Hash  // the oldest that shows what the newest says, untouched; "" for none
	began          time.Time // committer's time of the oldest that names the record
}

func (e *episode) extend(v mirror.Version) {
	if v.Intact() && v.Metadata.Lockage == e.Metadata.Lockage {
		e.first = v.Commit
	}
	e.began = v.Time
}

// episodes collects them from the versions of a place, the newest first.
type episodes struct {
	head *mirror.Version
	all  []episode
}

func (e *episodes) add(v mirror.Version) {
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
	e.all[len(e.all)-1].extend(v)
}

// broken is an error about the stage, for people.
func (s Stage) broken(format string, args ...any) error {
	return fmt.Errorf("stage %s of pipeline %s: %w: %s", s.Claim.Stage, s.Claim.Pipeline, ErrBroken, fmt.Sprintf(format, args...))
}

// at says where a promotion stands, for reasons.
func (s Stage) at(commit string) string {
	if commit == "" {
		return "the record"
	}
	return "commit " + commit + " of branch " + s.Place.Branch
}

func numbered(sequence int) string {
	if sequence == 0 {
		return "no promotion"
	}
	return fmt.Sprintf("promotions up to %d", sequence)
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
	claimed := sign.Claim{Pipeline: facts.Pipeline, Stage: facts.Stage, Release: facts.Release}
	claimed.Repository, _, _ = strings.Cut(facts.Artifact, "@")
	if claimed != p.Claim || facts.Content != p.To.Content {
		return p, s.broken("%s is forged: it shows %s of %s/%s with content %s, and its record %s promotes %s of %s/%s with content %s",
			where, claimed.Release, claimed.Pipeline, claimed.Stage, facts.Content,
			facts.Record, p.Release, p.Pipeline, p.Stage, p.To.Content)
	}
	return p, nil
}

// record reads one record by the digest of its manifest, and proves it. Where names what names it.
func (s Stage) record(ctx context.Context, where string, artifact, referrer digest.Digest) (Promotion, error) {
	if referrer.Validate() != nil || referrer.Algorithm() != digest.SHA256 {
		return Promotion{}, s.broken("%s is forged: it names %.100q as its record, which is no sha256 digest", where, string(referrer))
	}
	verified, rejected, err := s.attached(ctx, artifact, ocispec.Descriptor{Digest: referrer})
	if err != nil {
		return Promotion{}, err
	}
	if len(verified) == 0 {
		reason := "it is no signed statement"
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

// records are the proven records of this stage's promotions that an artifact carries. Anybody may attach anything else.
func (s Stage) records(ctx context.Context, artifact digest.Digest) ([]Promotion, error) {
	if artifact == "" {
		return nil, nil
	}
	// Who it is listed for is told by its digest alone.
	all, err := s.Repository.Referrers(ctx, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: artifact}, "")
	if err != nil {
		return nil, fmt.Errorf("list the records of %s: %w", artifact, err)
	}
	var candidates []ocispec.Descriptor
	for _, desc := range all {
		if kind, told := desc.Annotations[annotationPredicate]; !told || kind == predicate.TypePromotion {
			candidates = append(candidates, desc)
		}
	}
	verified, _, err := s.attached(ctx, artifact, candidates...)
	if err != nil {
		return nil, err
	}
	var promotions []Promotion
	for _, v := range verified {
		if v.PredicateType() != predicate.TypePromotion {
			continue
		}
		if p, err := s.parse(v); err == nil {
			promotions = append(promotions, p)
		}
	}
	return promotions, nil
}

// only is a repository in which an artifact has these referrers and no others.
type only struct {
	sign.Reader
	referrers []ocispec.Descriptor
}

// Referrers implements [sign.Reader].
func (o only) Referrers(context.Context, ocispec.Descriptor, string) ([]ocispec.Descriptor, error) {
	return o.referrers, nil
}

// attached proves what it can of what is attached to an artifact.
func (s Stage) attached(ctx context.Context, artifact digest.Digest, referrers ...ocispec.Descriptor) ([]sign.Verified, []sign.Rejected, error) {
	if len(referrers) == 0 {
		return nil, nil, nil
	}
	return sign.Verify(ctx, only{s.Repository, referrers}, ocispec.Descriptor{Digest: artifact}, s.Promoter)
}

// parse reads a record, which must be one of this stage.
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
	return Promotion{Promotion: r, Referrer: v.Referrer(), Key: v.KeyFingerprint(), Since: r.Time}, nil
}

// intact is ErrBroken unless an episode's files are those that were promoted: at the head, where it is the head, and else
// at any of its commits, since what was edited and mended is no matter any more.
func (s Stage) intact(e episode, head *mirror.Version) error {
	edited := e.first == "" || head != nil && e.Commit == head.Commit && !e.Intact()
	if !edited {
		return nil
	}
	return s.broken("%s changed files in %s without a promotion; revert that commit, or push what should run through a promotion",
		s.at(string(e.Commit)), s.Place.Path)
}

// follows is ErrBroken unless a promotion comes right after the one before it; nil for none.
func (s Stage) follows(p Promotion, before *Promotion) error {
	where := s.at(p.Commit)
	if before == nil {
		if p.Sequence == 1 {
			return nil
		}
		return s.broken("there is a gap: %s is promotion %d, and nothing before it is there; "+
			"the branch was rewritten, or the path of the mirror was changed", where, p.Sequence)
	}
	way := fmt.Sprintf("; set the branch back to commit %s, which is promotion %d, if nobody meant it", before.Commit, before.Sequence)
	if before.Commit == "" {
		way = ""
	}
	switch {
	case p.Sequence < before.Sequence:
		return s.broken("%s is a replay: it shows promotion %d again (record %s), after promotion %d%s",
			where, p.Sequence, p.Referrer, before.Sequence, way)
	case p.Sequence == before.Sequence:
		return s.broken("there is a fork: %s and %s are both promotion %d, with the records %s and %s%s",
			where, s.at(before.Commit), p.Sequence, p.Referrer, before.Referrer, way)
	case p.Sequence > before.Sequence+1:
		return s.broken("there is a gap: %s is promotion %d, and the one before it there is %d%s",
			where, p.Sequence, before.Sequence, way)
	case p.Previous != before.Referrer:
		return s.broken("there is a fork: %s is promotion %d and follows on record %s, and the one before it there is %s%s",
			where, p.Sequence, p.Previous, before.Referrer, way)
	}
	return nil
}

// newest is the newest promotion that an artifact carries; nil for none. Of two with one number, which a run that was cut
// short and repeated leaves behind, it is the later one, provided that both follow on the same.
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
