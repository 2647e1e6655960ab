package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
)

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
// artifact's release names. It reads Git, and asks the registry only as a witness. An error that is [ErrBroken] concerns single stages,
// and comes with what was found.
func Find(ctx context.Context, d digest.Digest, pipelines []*pipeline.Pipeline, files fs.FS, ref verify.PolicyRef, client *oci.Client, remotes verify.Remotes, now time.Time) ([]Found, error) {
	f := finder{d, files, ref, client, remotes, now}
	type result struct {
		found []Found
		err   error
	}
	var results []*result
	var group errgroup.Group
	group.SetLimit(findConcurrency)
	for _, p := range pipelines {
		for _, stage := range p.Order() {
			r := &result{}
			results = append(results, r)
			group.Go(func() error {
				if r.found, r.err = f.stage(ctx, p, stage); r.err != nil {
					r.err = fmt.Errorf("%s/%s: %w", p.Name, stage, r.err)
				}
				return nil
			})
		}
	}
	_ = group.Wait() // the results hold the errors
	var found []Found
	var errs []error
	for _, r := range results {
		found = append(found, r.found...)
		errs = append(errs, r.err)
	}
	return found, errors.Join(errs...)
}

const findConcurrency = 32

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
