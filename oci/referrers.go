package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"

	"github.com/lockage/lockage/internal/retry"
)

const (
	// listAttempts bounds how often a referrer that does not show is looked for,
	// or added to the fallback index again.
	listAttempts = 12
	// firstSettle is the shortest time after which the fallback index is read again,
	// and settleFactor how many times longer that is than the update just made took:
	// a writer that had read the index before it was written has by then overwritten it.
	firstSettle  = 40 * time.Millisecond
	settleFactor = 3
	maxSettle    = 10 * time.Second
)

// referrers implements backend.
func (r *remoteRepository) referrers(ctx context.Context, subject ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	all, _, err := r.findReferrers(ctx, subject)
	return all, err
}

// findReferrers asks the referrers API, or reads the fallback tag of
// distribution-spec v1.1, «Unavailable Referrers API», and says which.
func (r *remoteRepository) findReferrers(ctx context.Context, subject ocispec.Descriptor) (all []ocispec.Descriptor, api bool, err error) {
	all, err = r.listReferrers(ctx, subject)
	switch statusOf(err) {
	case http.StatusNotFound:
		return nil, true, nil // no such repository, which only the API would say
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
		// Registries older than the API answer it with these too. Where the
		// capability is known by now, the answer means what it says.
		if r.repo.SetReferrersCapability(false) == nil {
			all, err = r.listReferrers(ctx, subject)
		}
	}
	if err != nil {
		return nil, false, err
	}
	// oras-go has found out by now, and keeps it to itself: but it refuses to be
	// told otherwise.
	return all, r.repo.SetReferrersCapability(true) == nil, nil
}

func (r *remoteRepository) listReferrers(ctx context.Context, subject ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var all []ocispec.Descriptor
	err := r.repo.Referrers(ctx, subject, "", func(page []ocispec.Descriptor) error {
		if all = append(all, page...); len(all) > MaxReferrers {
			return fmt.Errorf("more than %d referrers", MaxReferrers)
		}
		return nil
	})
	return all, err
}

// list implements backend. With the API the registry does the work, some of them a
// little later; some lose it to concurrent writers, and get the manifest again.
// Without it every client rewrites one index, and concurrent writers lose each
// other's entries: so the index is read again, after long enough for a writer in
// flight to have finished, and the entry added again when it is gone.
func (r *remoteRepository) list(ctx context.Context, subject, referrer ocispec.Descriptor, manifest []byte) error {
	thing := r.repo.Reference.String() + "@" + subject.Digest.String()
	wait := firstSettle
	for attempt := range listAttempts {
		all, api, err := r.findReferrers(ctx, subject)
		if err != nil {
			return explain(err, "list referrers of", thing, r.host)
		}
		switch {
		case contains(all, referrer):
			return nil
		case api && attempt == 0: // give it the time
		case api:
			if err := r.pushManifest(ctx, referrer, manifest); err != nil {
				return explain(err, "push again", thing, r.host)
			}
		default:
			took, err := r.addToIndex(ctx, subject, referrer)
			if err != nil {
				return explain(err, "push referrers index of", thing, r.host)
			}
			wait = max(wait, settleFactor*took)
		}
		// Apart from each other: writers that met once should not meet again.
		if err := retry.Sleep(ctx, time.Duration(float64(wait)*(1+r.client.jitter()))); err != nil {
			return err
		}
		wait = min(wait*3/2, maxSettle)
	}
	return errors.New("the registry accepted the referrer, and does not list it; run again, or check that the registry lets tags of the form sha256-<hex> move")
}

func contains(list []ocispec.Descriptor, d ocispec.Descriptor) bool {
	return slices.ContainsFunc(list, func(o ocispec.Descriptor) bool { return o.Digest == d.Digest })
}

// addToIndex adds referrer to the index under the fallback tag of subject and
// returns how long others could have read the index in between.
func (r *remoteRepository) addToIndex(ctx context.Context, subject, referrer ocispec.Descriptor) (time.Duration, error) {
	lock := r.indexLock(subject.Digest)
	lock.Lock()
	defer lock.Unlock()

	start := time.Now()
	tag := subject.Digest.Algorithm().String() + "-" + subject.Digest.Encoded()
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	desc, raw, err := r.manifest(ctx, tag)
	switch {
	case errors.Is(err, errdef.ErrNotFound):
	case err != nil:
		return 0, err
	case desc.MediaType != ocispec.MediaTypeImageIndex || desc.Digest == subject.Digest:
		// Some registries take the tag for the digest of the subject.
		return 0, fmt.Errorf("tag %s names no index but %s %s", tag, desc.MediaType, desc.Digest)
	default:
		if err := verify(desc, raw); err != nil {
			return 0, err
		}
		if err := json.Unmarshal(raw, &index); err != nil {
			return 0, fmt.Errorf("tag %s: %w", tag, err)
		}
	}
	if contains(index.Manifests, referrer) {
		return time.Since(start), nil
	}
	if len(index.Manifests) == MaxReferrers {
		return 0, fmt.Errorf("more than %d referrers", MaxReferrers)
	}
	index.Manifests = append(index.Manifests, referrer)
	if raw, err = json.Marshal(index); err != nil {
		return 0, err
	}
	// The index that it replaces stays behind untagged: registries refuse or forbid
	// deletes, and another writer may be reading it.
	desc = describe(ocispec.MediaTypeImageIndex, raw)
	if err := r.writer.Manifests().PushReference(ctx, desc, bytes.NewReader(raw), tag); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}

// indexLock keeps the writers of this process from overwriting each other.
func (r *remoteRepository) indexLock(subject digest.Digest) *sync.Mutex {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.indexing[subject] == nil {
		r.indexing[subject] = new(sync.Mutex)
	}
	return r.indexing[subject]
}
