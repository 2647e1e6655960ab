package oci

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/retry"
)

const (
	// listAttempts bounds how often a missing referrer is looked for, or added to the fallback index again.
	listAttempts = 12
	// indexWait is the shortest pause before the fallback index is read again, and indexFactor its ratio to the time of the
	// last update: a writer that had read the index before has overwritten it by then.
	indexWait    = 40 * time.Millisecond
	indexFactor  = 3
	maxIndexWait = 10 * time.Second
)

// referrers implements backend. The first question finds out whether the registry has the referrers API, and others wait for it.
func (r *remoteRepository) referrers(ctx context.Context, subject ocispec.Descriptor, artifactType string) (all []ocispec.Descriptor, err error) {
	did, waiting := r.known.asking.do(ctx, func() { all, err = r.listOf(ctx, subject, artifactType) })
	if !did && waiting == nil {
		all, err = r.listOf(ctx, subject, artifactType)
	}
	return all, cmp.Or(err, waiting)
}

func (r *remoteRepository) listOf(ctx context.Context, subject ocispec.Descriptor, artifactType string) ([]ocispec.Descriptor, error) {
	all, _, err := r.findReferrers(ctx, subject, artifactType)
	return all, err
}

// findReferrers asks the referrers API (api), or reads the fallback tag (distribution-spec, «Unavailable Referrers API»). It may return
// referrers of other types.
func (r *remoteRepository) findReferrers(ctx context.Context, subject ocispec.Descriptor, artifactType string) (all []ocispec.Descriptor, api bool, err error) {
	var unknown error // why the registry may not know the path
	if !r.lacksReferrers() {
		all, err = r.askReferrers(ctx, subject, artifactType)
		switch {
		case err == nil:
			r.api.Store(true)
			return all, true, nil
		case statusOf(err) == http.StatusNotFound && hasCode(err, "NAME_UNKNOWN"):
			return nil, true, nil // no such repository, which only the API reports
		case r.api.Load() || !lacksAPI(err):
			return nil, r.api.Load(), err
		}
		unknown = err
	}
	_, index, err := r.readIndex(ctx, subject.Digest)
	if unknownPath(unknown) && (err == nil || errors.Is(err, errNoIndex) || hasCode(err, "MANIFEST_UNKNOWN")) {
		r.known.noReferrers.Store(true) // the repository is there
	}
	if err != nil && !isNotFound(err) && !errors.Is(err, errNoIndex) {
		return nil, false, err
	}
	r.fallback.Store(true)
	return index.Manifests, false, nil
}

// lacksReferrers reports whether the registry, or this repository of it, is known to lack the referrers API.
func (r *remoteRepository) lacksReferrers() bool {
	return r.fallback.Load() || r.known.noReferrers.Load() && !r.api.Load()
}

// unknownPath reports whether the registry does not know the path that was asked for: what it lacks of a repository has a code. Some answer
// so for a repository that does not exist.
func unknownPath(err error) bool {
	var failed *refused
	return errors.As(err, &failed) && failed.status == http.StatusNotFound &&
		!slices.ContainsFunc(failed.errors, func(e registryError) bool { return e.Code != "" })
}

func hasCode(err error, code string) bool {
	var failed *refused
	return errors.As(err, &failed) && failed.has(code)
}

// errNoAPI is returned if something else answers to the path of the referrers API.
var errNoAPI = errors.New("the answer is not a list of referrers")

// lacksAPI reports whether a registry may answer so because it does not know the referrers API: it takes the request for another one,
// or one that nobody may make.
func lacksAPI(err error) bool {
	switch statusOf(err) {
	case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented,
		http.StatusUnauthorized, http.StatusForbidden:
		return true
	}
	return errors.Is(err, errNoAPI)
}

// askReferrers asks the referrers API.
func (r *remoteRepository) askReferrers(ctx context.Context, subject ocispec.Descriptor, artifactType string) ([]ocispec.Descriptor, error) {
	query := url.Values{}
	if artifactType != "" {
		query.Set("artifactType", artifactType)
	}
	all := []ocispec.Descriptor{}
	at := r.at("referrers/"+subject.Digest.String(), query)
	for range maxPages {
		a, err := r.do(ctx, call{method: http.MethodGet, url: at, actions: toPull, limit: maxListSize})
		if err != nil {
			return nil, err
		}
		if mediaType(a.header) != ocispec.MediaTypeImageIndex && mediaTypeOf(a.body) != ocispec.MediaTypeImageIndex {
			return nil, errNoAPI
		}
		var index ocispec.Index
		if err := json.Unmarshal(a.body, &index); err != nil {
			return nil, fmt.Errorf("the list of referrers: %w", err)
		}
		all = append(all, index.Manifests...)
		if err := tooMany(len(all)); err != nil {
			return nil, err
		}
		if at, err = a.next(); err != nil || at == nil {
			return all, err
		}
	}
	return nil, fmt.Errorf("the registry has sent %d pages of referrers, and names another page", maxPages)
}

func tooMany(referrers int) error {
	if referrers > MaxReferrers {
		return fmt.Errorf("more than %d referrers", MaxReferrers)
	}
	return nil
}

// attach implements backend. It pushes one manifest after the other: some registries lose one of two referrers that are written to
// one subject at a time.
func (r *remoteRepository) attach(ctx context.Context, subject ocispec.Descriptor, alone bool, referrers []packed) error {
	for _, p := range referrers {
		if p.listed && !alone {
			continue
		}
		err := r.pushManifest(ctx, p.desc, p.manifest)
		if status := statusOf(err); !alone && status >= http.StatusBadRequest && status < http.StatusInternalServerError {
			if err = pushBlobs(ctx, r, p); err == nil {
				err = r.pushManifest(ctx, p.desc, p.manifest)
			}
		}
		if err != nil {
			return err
		}
	}
	switch {
	case !alone || !r.lacksReferrers() && !r.api.Load():
		return r.list(ctx, subject, referrers)
	case r.api.Load():
		return nil // the registry lists them
	}
	index := emptyIndex()
	for _, p := range referrers {
		index.Manifests = append(index.Manifests, p.desc)
	}
	return explain(r.pushIndex(ctx, index, FallbackTag(subject.Digest)), "push referrers index of", r.thing(subject), r.host)
}

// pushBlobs stores all that a referrer names.
func pushBlobs(ctx context.Context, b backend, p packed) error {
	for _, blob := range p.blobs {
		if err := b.pushBlob(ctx, blob.Descriptor(), blob.Data); err != nil {
			return err
		}
	}
	return nil
}

func (r *remoteRepository) thing(subject ocispec.Descriptor) string {
	return r.id.name + "@" + subject.Digest.String()
}

// list returns when all referrers are listed. With the API the registry lists them, maybe later; some lose one to concurrent writers,
// and get the manifest again. Without it concurrent writers overwrite each other's entries of one index: it is read again
// after a pending writer must have finished, and a lost entry is added again.
func (r *remoteRepository) list(ctx context.Context, subject ocispec.Descriptor, referrers []packed) error {
	thing, wait := r.thing(subject), indexWait
	for attempt := range listAttempts {
		took, listed, err := r.listOnce(ctx, subject, referrers, attempt == 0)
		if err != nil || listed {
			return explain(err, "list referrers of", thing, r.host)
		}
		wait = max(wait, indexFactor*took)
		// The jitter separates writers that collided once.
		if err := retry.Sleep(ctx, time.Duration(float64(wait)*(1+r.client.jitter()))); err != nil {
			return err
		}
		wait = min(wait*3/2, maxIndexWait)
	}
	return errors.New("the registry accepted the referrer, but does not list it; run again, or check that the registry allows tags of the form sha256-<hex> to move")
}

func contains(list []ocispec.Descriptor, d ocispec.Descriptor) bool {
	return slices.ContainsFunc(list, func(o ocispec.Descriptor) bool { return o.Digest == d.Digest })
}

// listOnce reports whether all referrers are listed. If not, it puts that right, unless the registry was not asked before and does that by
// itself, and returns how long others could have read the index in between.
func (r *remoteRepository) listOnce(ctx context.Context, subject ocispec.Descriptor, referrers []packed, first bool) (time.Duration, bool, error) {
	defer r.lockIndex(subject.Digest)()
	start := time.Now()
	index := emptyIndex()
	api := false
	var err error
	if !r.lacksReferrers() {
		index.Manifests, api, err = r.findReferrers(ctx, subject, "")
	}
	if err == nil && !api && len(index.Manifests) == 0 { // the tag may name no index
		_, index, err = r.readIndex(ctx, subject.Digest)
	}
	if err != nil && !isNotFound(err) {
		return 0, false, err
	}
	missing := slices.DeleteFunc(slices.Clone(referrers), func(p packed) bool { return contains(index.Manifests, p.desc) })
	if len(missing) == 0 {
		return 0, true, nil
	}
	for _, p := range missing {
		index.Manifests = append(index.Manifests, p.desc)
		err = nil
		if p.listed {
			err = pushBlobs(ctx, r, p)
		}
		if err == nil && (p.listed || api && !first) {
			err = r.pushManifest(ctx, p.desc, p.manifest)
		}
		if err != nil {
			return 0, false, err
		}
	}
	if api {
		return 0, false, nil
	}
	// The replaced index stays untagged: registries may refuse deletes, and another writer may be reading it.
	if err = tooMany(len(index.Manifests)); err == nil {
		err = r.pushIndex(ctx, index, FallbackTag(subject.Digest))
	}
	return time.Since(start), false, err
}

// errNoIndex is returned if the fallback tag names something else: some registries take it for the subject's digest.
var errNoIndex = errors.New("it is not an index")

// readIndex returns the index under the fallback tag of subject, an empty one with an error.
func (r *remoteRepository) readIndex(ctx context.Context, subject digest.Digest) (ocispec.Descriptor, ocispec.Index, error) {
	index := emptyIndex()
	tag := FallbackTag(subject)
	desc, raw, err := r.manifest(ctx, tag)
	switch {
	case err != nil:
	case desc.MediaType != ocispec.MediaTypeImageIndex || desc.Digest == subject:
		err = fmt.Errorf("tag %s names %s %s: %w", tag, desc.MediaType, desc.Digest, errNoIndex)
	default:
		if err = verify(desc, raw); err == nil && json.Unmarshal(raw, &index) != nil {
			index, err = emptyIndex(), fmt.Errorf("tag %s names %s, which cannot be read: %w", tag, desc.Digest, errNoIndex)
		}
	}
	return desc, index, err
}

func emptyIndex() ocispec.Index {
	return ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}
}

func (r *remoteRepository) pushIndex(ctx context.Context, index ocispec.Index, tag string) error {
	raw, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return r.putManifest(ctx, describe(ocispec.MediaTypeImageIndex, raw), raw, tag)
}

// lockIndex keeps the writers of this process from overwriting each other's index.
func (r *remoteRepository) lockIndex(subject digest.Digest) (unlock func()) {
	lock, _ := r.indexing.LoadOrStore(subject, new(sync.Mutex))
	writers, _ := lock.(*sync.Mutex)
	writers.Lock()
	return writers.Unlock
}

// FallbackTag returns the tag under which registries without the referrers API list the referrers of subject.
func FallbackTag(subject digest.Digest) string {
	return subject.Algorithm().String() + "-" + subject.Encoded()
}

// delist rewrites the index under the fallback tag, or deletes it with the last entry, and deletes the index that it
// replaces. A registry with the API has an index only if an older client wrote one.
func (r *remoteRepository) delist(ctx context.Context, subject digest.Digest, gone []digest.Digest) error {
	defer r.lockIndex(subject)()
	tag := FallbackTag(subject)
	desc, index, err := r.readIndex(ctx, subject)
	if errors.Is(err, errNoIndex) {
		return nil // it lists nothing
	}
	if err != nil {
		return err
	}
	before := len(index.Manifests)
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool { return slices.Contains(gone, d.Digest) })
	switch {
	case len(index.Manifests) == before && before > 0:
		return nil
	case len(index.Manifests) > 0:
		if err := r.pushIndex(ctx, index, tag); err != nil {
			return err
		}
	default:
		if err := r.deleteTag(ctx, tag); err != nil && !isNotFound(err) && !errors.Is(err, ErrDeleteRefused) {
			return err
		}
	}
	return r.deleteManifest(ctx, desc.Digest)
}

func (r *remoteRepository) outlive(ctx context.Context, subject ocispec.Descriptor) (bool, error) {
	_, api, err := r.findReferrers(ctx, subject, "")
	return !api, err
}
