package oci

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// pushTags pushes a manifest that the registry has to tags, the last one after the others.
func (r *remoteRepository) pushTags(ctx context.Context, desc ocispec.Descriptor, manifest []byte, tags []string) error {
	tags = r.pushTogether(ctx, desc, manifest, tags)
	if len(tags) == 0 {
		return nil
	}
	push := func(ctx context.Context, tag string) error {
		err := r.putManifest(ctx, desc, manifest, tag)
		return explain(err, "tag "+desc.Digest.String()+" as", r.id.name+":"+tag, r.host)
	}
	last := len(tags) - 1
	group, groupCtx := errgroup.WithContext(ctx)
	for _, tag := range tags[:last] {
		group.Go(func() error { return push(groupCtx, tag) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return push(ctx, tags[last])
}

// pushTogether pushes a manifest to several tags in one request, where the registry takes that (distribution-spec 1.2, «Pushing
// Manifests»), and returns the tags that it did not take.
func (r *remoteRepository) pushTogether(ctx context.Context, desc ocispec.Descriptor, manifest []byte, tags []string) []string {
	host := &r.known.tags
	if len(tags) == 1 || !host.try(len(tags)) {
		return tags
	}
	together := call{method: http.MethodPut, url: r.manifestURL(desc.Digest.String()), actions: toPush, header: map[string]string{"Content-Type": desc.MediaType}, body: manifest}
	together.url.RawQuery = url.Values{"tag": tags}.Encode()
	a, err := r.do(ctx, together)
	var taken []string
	if err == nil { // a registry that refuses it says why when it is asked for one tag
		for _, tag := range strings.Split(strings.Join(a.header.Values("OCI-Tag"), ","), ",") {
			taken = append(taken, strings.TrimSpace(tag))
		}
	}
	left := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return slices.Contains(taken, tag) })
	host.answered(len(left) < len(tags))
	return left
}

// tagging finds out whether a host takes several tags in one request.
type tagging struct {
	pushed atomic.Int64
	state  atomic.Int32
}

const (
	taggingUnknown int32 = iota
	taggingAsked
	taggingTogether
	taggingSingly

	// singleTags is how many tags are pushed one by one before the host is asked: the question costs a request.
	singleTags = 12
)

// try reports whether tags are to be pushed together. One caller asks an unknown host.
func (t *tagging) try(tags int) bool {
	if t.state.Load() == taggingTogether {
		return true
	}
	return t.pushed.Add(int64(tags)) > singleTags && t.state.CompareAndSwap(taggingUnknown, taggingAsked)
}

func (t *tagging) answered(together bool) {
	if together {
		t.state.Store(taggingTogether)
	} else {
		t.state.Store(taggingSingly)
	}
}
