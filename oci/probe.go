package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ProbeStage is the name of the stage whose tags [Repository.Probe] writes.
const ProbeStage = "lockage-doctor"

// Probe is what a repository was found to do. An error is nil where it does what lockage needs.
type Probe struct {
	Push      error         // of an artifact; what follows was not tried then
	Referrer  error         // a signature cannot be attached
	API       bool          // the registry has the referrers API
	Moves     error         // a tag that names what is live, or a candidate, cannot be moved
	Immutable bool          // the tag of a hydration cannot be moved, as it should be
	Deletes   error         // of the manifests and tags that were written
	Clock     time.Duration // by how much the registry's clock is ahead; 0 if it does not show it
	Left      []string      // tags that were written and could not be deleted
}

// Probe tries what lockage does in a repository: it pushes two small artifacts, attaches statements of an artifact type, moves tags, and
// deletes all of that again. The tags are those of a stage [ProbeStage]; nonce makes the artifacts new ones.
func (r *Repository) Probe(ctx context.Context, artifactType, nonce string, now time.Time) (p Probe, err error) {
	var all []ocispec.Descriptor
	for _, n := range []string{"1", "2"} {
		desc, err := r.pushProbe(ctx, nonce+"-"+n)
		if p.Push = err; err != nil {
			return p, ctx.Err()
		}
		all = append(all, desc)
	}
	p.Clock = r.skew(ctx, now)
	p.Referrer = r.Attach(ctx, all[0], Referrer{ArtifactType: artifactType, Annotations: map[string]string{"n": "1"}})
	if p.Referrer == nil {
		p.Referrer = r.Attach(ctx, all[0], Referrer{ArtifactType: artifactType, Annotations: map[string]string{"n": "2"}})
	}
	outlive, err := r.ReferrersOutlive(ctx, all[0])
	if err != nil && p.Referrer == nil {
		return p, err
	}
	p.API = !outlive && err == nil
	image := digest.FromString(nonce)
	tags := TagsOf(ProbeStage, image, "git-"+image.Encoded()[:40], image)
	for _, tag := range []string{ProbeStage, tags.Candidate} {
		p.Moves = errors.Join(p.Moves, r.moves(ctx, tag, all))
	}
	p.Immutable = r.moves(ctx, tags.Hydration, all) != nil
	p.Left, p.Deletes = r.clean(ctx, all, []string{ProbeStage, tags.Candidate, tags.Hydration})
	return p, ctx.Err()
}

// pushProbe pushes a manifest with the media types of an artifact.
func (r *Repository) pushProbe(ctx context.Context, nonce string) (ocispec.Descriptor, error) {
	config := Blob{MediaType: ocispec.MediaTypeImageConfig, Data: []byte(`{"architecture":"unknown","os":"unknown"}`)}
	layer := Blob{MediaType: ocispec.MediaTypeImageLayerGzip, Data: []byte(nonce)}
	raw, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config.Descriptor(), Layers: []ocispec.Descriptor{layer.Descriptor()},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return r.PushManifest(ctx, ocispec.MediaTypeImageManifest, raw, config, layer)
}

// moves points a tag at one artifact after the other, and back.
func (r *Repository) moves(ctx context.Context, tag string, all []ocispec.Descriptor) error {
	for _, a := range append(all, all[0]) {
		if err := r.Tag(ctx, a, tag); err != nil {
			return err
		}
	}
	return nil
}

// clean deletes what a probe wrote.
func (r *Repository) clean(ctx context.Context, all []ocispec.Descriptor, tags []string) (left []string, failed error) {
	if failed = r.CheckDelete(ctx); failed == nil {
		for _, a := range all {
			referrers, err := r.Referrers(ctx, a, "")
			var digests []digest.Digest
			for _, d := range referrers {
				digests = append(digests, d.Digest)
			}
			if err == nil && len(digests) > 0 {
				err = r.DeleteReferrers(ctx, a.Digest, digests...)
			}
			if err == nil {
				err = r.DeleteManifest(ctx, a.Digest)
			}
			failed = errors.Join(failed, err)
		}
	}
	for _, tag := range tags {
		if named, err := r.Lookup(ctx, tag); err == nil && named != "" {
			left = append(left, tag)
		}
	}
	return left, failed
}

// skew returns by how much the registry's clock is ahead.
func (r *Repository) skew(ctx context.Context, now time.Time) time.Duration {
	remote, ok := r.backend.(*remoteRepository)
	if !ok {
		return 0
	}
	a, err := remote.do(ctx, call{method: http.MethodGet, url: remote.at("tags/list", pageQuery(1, "")), actions: toPull, limit: maxListSize})
	if err != nil {
		return 0
	}
	date, err := http.ParseTime(a.header.Get("Date"))
	if err != nil {
		return 0
	}
	return date.Sub(now)
}

// Beside reports which of the tags that cosign keeps beside a digest exist: sig, att, sbom.
func (r *Repository) Beside(ctx context.Context, d digest.Digest) (found []string, err error) {
	for _, kind := range []string{"sig", "att", "sbom"} {
		named, err := r.Lookup(ctx, fmt.Sprintf("%s.%s", FallbackTag(d), kind))
		if err != nil {
			return nil, err
		}
		if named != "" {
			found = append(found, kind)
		}
	}
	return found, nil
}
