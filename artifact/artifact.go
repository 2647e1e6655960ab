// Package artifact names things: the tags under which a stage's artifact stands in its repository, and the
// annotations by which its manifest describes itself.
//
// For stage S, release git-C and image sha256:X there are four tags:
//
//	S.img-sha256-X.<12 hex of the input digest>   one hydration; never moved
//	S.img-sha256-X                                the newest hydration of this image
//	S.git-C                                       the candidate of this release; promotion resolves this one
//	S                                             what is live; only promotion and rollback move it
//
// Stage names hold no dot, so that no tag of one stage is a prefix of another's, and no tag begins like the fallback
// tag of the referrers API.
package artifact

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Annotations of an artifact's manifest, beside those of the image specification: what it says of itself. Nothing
// rests on them alone.
const (
	Pipeline      = "dev.lockage.pipeline"
	Stage         = "dev.lockage.stage"
	Release       = "dev.lockage.release"
	Image         = "dev.lockage.image"
	InputDigest   = "dev.lockage.input-digest"
	ContentDigest = "dev.lockage.content-digest"
)

// inputDigits is how much of the input digest a hydration's tag shows. The manifest has all of it.
const inputDigits = 12

// Tags are the tags that hydration writes.
type Tags struct {
	Hydration string // this hydration, never moved
	Image     string // the newest hydration of the image
	Candidate string // the candidate of the release
}

// TagsOf names the tags for an image, a release and an input digest in a stage.
func TagsOf(stage string, image digest.Digest, release string, input digest.Digest) Tags {
	img := fmt.Sprintf("%s.img-%s-%s", stage, image.Algorithm(), image.Encoded())
	return Tags{
		Hydration: HydrationPrefix(img) + input.Encoded()[:inputDigits],
		Image:     img,
		Candidate: Candidate(stage, release),
	}
}

// HydrationPrefix begins the tags of all hydrations of the image that the tag names.
func HydrationPrefix(imageTag string) string { return imageTag + "." }

// Candidate is the tag of a release's candidate for a stage.
func Candidate(stage, release string) string { return stage + "." + release }

// StageOf tells which stage a tag belongs to. A tag that belongs to none gives "".
func StageOf(tag string) string {
	stage, rest, dotted := strings.Cut(tag, ".")
	if dotted && !strings.HasPrefix(rest, "git-") && !strings.HasPrefix(rest, "img-sha256-") {
		return ""
	}
	return stage
}
