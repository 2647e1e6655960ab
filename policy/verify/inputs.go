package verify

import (
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// ImageOf returns the release's own image, by repository and digest, that a provenance names; "" for none.
func ImageOf(p sign.Provenance) (repository string, d digest.Digest) {
	image := p.Dependency(dependencyImage)
	return strings.TrimPrefix(image.URI, "oci://"), digestOf(image)
}

// TaggedOf returns the digest that the tags of an artifact name by its provenance: that of its packaged chart or image; "" for neither.
func TaggedOf(p sign.Provenance) digest.Digest {
	if chart := digest.Digest(p.Revision(policy.DependencySource)); chart.Validate() == nil {
		return chart
	}
	_, image := ImageOf(p)
	return image
}

// InputsOf returns the input digest that a provenance states; "" for none.
func InputsOf(p sign.Provenance) digest.Digest { return digestOf(p.Dependency(dependencyInputs)) }

func digestOf(d sign.ResourceDescriptor) digest.Digest {
	hex := d.Digest[digest.SHA256.String()]
	if hex == "" {
		return ""
	}
	return digest.NewDigestFromEncoded(digest.SHA256, hex)
}
