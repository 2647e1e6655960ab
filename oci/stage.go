package oci

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Annotations of an artifact's manifest, beside those of the image specification. No decision rests on them alone.
const (
	AnnotationPipeline      = "dev.lockage.pipeline"
	AnnotationStage         = "dev.lockage.stage"
	AnnotationRelease       = "dev.lockage.release"
	AnnotationImage         = "dev.lockage.image"
	AnnotationInputDigest   = "dev.lockage.input-digest"
	AnnotationContentDigest = "dev.lockage.content-digest"
)

// Revision returns the org.opencontainers.image.revision of what was made from a Git commit, or from a packaged chart with the digest
// sha256:<64 hex>.
func Revision(source string) string {
	if strings.Contains(source, ":") {
		return source
	}
	return "sha1:" + source
}

// inputDigits is how much of the input digest a hydration's tag shows. The manifest has all of it.
const inputDigits = 12

// StageTags are the tags under which hydration publishes a stage's artifact. For stage S, release git-C (or git-C-M) and image sha256:X,
// with the tag that promotion moves, they are:
//
//	S.img-sha256-X.<12 hex of the input digest>   one hydration; never moved
//	S.img-sha256-X                                the newest hydration of this image
//	S.git-C                                       the candidate of this release; promotion resolves this one
//	S                                             the live artifact; only promotion and rollback move it
//
// A release of a packaged chart, chart-V-D, has the tags S.chart-sha256-X of the archive's digest in place of the image's. Without an
// image, the hydration's tag is S.git-C.<12 hex of the input digest>, and no tag of an image exists.
//
// Stage names hold no dot, so no tag of one stage is a prefix of another's, and no tag begins like the fallback tag of the
// referrers API.
type StageTags struct {
	Hydration string // this hydration, never moved
	Image     string // the newest hydration of the image or packaged chart; "" without one
	Candidate string // the candidate of the release
}

// TagsOf returns the tags of a release and an input digest in a stage. tagged is the digest of the release's image, or of the chart that it
// is; "" for none.
func TagsOf(stage string, tagged digest.Digest, release string, input digest.Digest) StageTags {
	tags := StageTags{Candidate: CandidateTag(stage, release)}
	if tagged != "" {
		kind := "img"
		if strings.HasPrefix(release, "chart-") {
			kind = "chart"
		}
		tags.Image = fmt.Sprintf("%s.%s-%s-%s", stage, kind, tagged.Algorithm(), tagged.Encoded())
	}
	tags.Hydration = cmp.Or(tags.Image, tags.Candidate) + "." + input.Encoded()[:inputDigits]
	return tags
}

// All returns the tags in the order in which they are written, the candidate's last.
func (t StageTags) All() []string {
	return slices.DeleteFunc([]string{t.Hydration, t.Image, t.Candidate}, func(tag string) bool { return tag == "" })
}

// CandidateTag returns the tag of a release's candidate for a stage.
func CandidateTag(stage, release string) string { return stage + "." + release }

// StageOfTag returns the stage that a tag belongs to, or "".
func StageOfTag(tag string) string {
	stage, rest, dotted := strings.Cut(tag, ".")
	if dotted && !strings.HasPrefix(rest, "git-") && !strings.HasPrefix(rest, "img-sha256-") && !strings.HasPrefix(rest, "chart-") {
		return ""
	}
	return stage
}
