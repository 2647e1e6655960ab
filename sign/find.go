package sign

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	kjson "sigs.k8s.io/json"

	"github.com/lockage/lockage/oci"
)

const (
	// MaxBundleSize bounds a bundle that is read. Those of this package have some 2 KB; a bill of materials can have
	// megabytes.
	MaxBundleSize = 4 << 20

	// MaxBundles bounds the bundles of a digest that are read: anybody who may write to a registry can attach any number.
	MaxBundles = 200

	findConcurrency = 8
)

// Bundle is a Sigstore bundle, or what claims to be one. Nothing in it is proven.
type Bundle struct {
	Referrer digest.Digest // of the manifest that attaches it; "" if it was not read from a registry
	JSON     []byte        // nil if Problem is set
	Problem  string        // why it could not be read as a bundle; empty if it could

	predicateType, key string        // of a bundle that was signed or looked at here; key is a hint
	about              digest.Digest // the artifact that it was then about; "" if it was not
	fresh              bool          // it was signed here: nobody has it yet
}

// Digest returns the digest of the bundle's bytes, which identifies the statement in registries and in Git alike.
func (b Bundle) Digest() digest.Digest { return digest.FromBytes(b.JSON) }

// Payload returns the digest of the signed statement alone: anybody can put it into other bytes, with what is not signed. It is "" for
// what is not a bundle.
func (b Bundle) Payload() digest.Digest {
	parsed, _, err := parseBundle(b.JSON)
	if err != nil {
		return ""
	}
	return digest.FromBytes(parsed.GetDsseEnvelope().GetPayload())
}

// Says reports whether the statement may be of a predicate type: false is certain, and true for a reader to find out. Most
// bundles beside the one that somebody looks for are passed over so, without decoding what they state.
func (b Bundle) Says(predicateType string) bool {
	payload, ok := b.payload()
	return !ok || bytes.Contains(payload, []byte(predicateType)) || bytes.IndexByte(payload, '\\') >= 0
}

// payload returns the statement of a bundle that is written as here; false for any other.
func (b Bundle) payload() ([]byte, bool) {
	encoded, ok := only(b.JSON, "payload")
	if !ok {
		return nil, false
	}
	payload, err := base64.StdEncoding.AppendDecode(nil, encoded)
	return payload, err == nil
}

// only returns the text of the only field of a name in JSON without escapes and spaces.
func only(text []byte, name string) ([]byte, bool) {
	key := []byte(`"` + name + `":`)
	_, rest, ok := bytes.Cut(text, append(key, '"'))
	value, _, ended := bytes.Cut(rest, []byte(`"`))
	return value, ok && ended && bytes.Count(text, key[:len(key)-1]) == 1 && bytes.IndexByte(text, '\\') < 0
}

// glance notes what a bundle says of itself, if it is written as here and about an artifact. That is enough to find it again, and
// proves nothing.
func (b *Bundle) glance(artifact digest.Digest) {
	var statement struct {
		PredicateType string `json:"predicateType"`
		Subject       []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	payload, ok := b.payload()
	hint, hinted := only(b.JSON, "hint")
	if b.about == artifact || !ok || !hinted || kjson.UnmarshalCaseSensitivePreserveInts(payload, &statement) != nil ||
		len(statement.Subject) != 1 || statement.Subject[0].Digest[artifact.Algorithm().String()] != artifact.Encoded() {
		return
	}
	b.predicateType, b.key, b.about = statement.PredicateType, string(hint), artifact
}

// Find reads the bundles attached to a digest, first those that say to be signed by one of the keys, which are fingerprints.
// No bundle is not an error, but a registry that fails is one. Of very many bundles it reads some: the last one returned says
// how many it did not.
func Find(ctx context.Context, store Reader, subject ocispec.Descriptor, keys ...string) ([]Bundle, error) {
	return FindBeside(ctx, store, subject, nil, keys...)
}

// FindBeside is [Find] that does not read what is known of the subject: that is returned if it is attached.
func FindBeside(ctx context.Context, store Reader, subject ocispec.Descriptor, known []Bundle, keys ...string) ([]Bundle, error) {
	referrers, err := store.Referrers(ctx, subject, BundleMediaType)
	if err != nil {
		return nil, fmt.Errorf("list the signatures of %s: %w", subject.Digest, err)
	}
	var attached []Bundle
	for _, b := range known {
		for _, b.Referrer = range Referrers(subject, []Bundle{b}) {
			is := func(d ocispec.Descriptor) bool { return d.Digest == b.Referrer }
			if slices.ContainsFunc(referrers, is) {
				attached, referrers = append(attached, b), slices.DeleteFunc(slices.Clone(referrers), is)
			}
		}
	}
	others, err := Read(ctx, store, subject.Digest, referrers, keys...)
	return append(attached, others...), err
}

// Read is [Find] among the given referrers of an artifact.
func Read(ctx context.Context, store Reader, artifact digest.Digest, referrers []ocispec.Descriptor, keys ...string) ([]Bundle, error) {
	descs := slices.DeleteFunc(slices.Clone(referrers), func(d ocispec.Descriptor) bool {
		return d.ArtifactType != "" && d.ArtifactType != ocispec.MediaTypeEmptyJSON && d.ArtifactType != BundleMediaType
	})
	Rank(descs, keys...)
	unread := descs[min(len(descs), MaxBundles):]
	descs = descs[:len(descs)-len(unread)]
	bundles := make([]Bundle, len(descs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(findConcurrency)
	for i, desc := range descs {
		group.Go(func() (err error) {
			bundles[i], err = readBundle(ctx, store, desc)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read the signatures of %s: %w", artifact, err)
	}
	bundles = slices.DeleteFunc(bundles, func(b Bundle) bool { return b.Referrer == "" })
	if len(unread) > 0 {
		problem := fmt.Sprintf("%d more signatures and attestations are attached, and %d are read; delete those that nobody needs", len(unread), MaxBundles)
		bundles = append(bundles, Bundle{Referrer: unread[0].Digest, Problem: problem})
	}
	return bundles, nil
}

// Rank sorts referrers by what their annotations claim, which proves nothing: what of very many is read is read from the beginning.
// First come those of the keys, which are fingerprints.
func Rank(referrers []ocispec.Descriptor, keys ...string) {
	hints := make([]string, len(keys))
	for i, key := range keys {
		sum, _ := hex.DecodeString(key)
		hints[i] = base64.StdEncoding.EncodeToString(sum)
	}
	slices.SortStableFunc(referrers, func(a, b ocispec.Descriptor) int { return cmp.Compare(plausible(b, hints), plausible(a, hints)) })
}

// plausible orders what is read by annotations that honest writers make: those of a key that is asked for come first, then those
// of other programs, which name no key.
func plausible(d ocispec.Descriptor, hints []string) int {
	hint, named := d.Annotations[annotationKey]
	_, typed := d.Annotations[AnnotationPredicateType]
	switch {
	case named && slices.Contains(hints, hint):
		return 2
	case typed && !named:
		return 1
	}
	return 0
}

// readBundle reads one referrer. It returns a zero bundle for another kind of referrer, and an error only if the registry
// failed.
func readBundle(ctx context.Context, store Reader, desc ocispec.Descriptor) (Bundle, error) {
	problem := func(format string, args ...any) (Bundle, error) {
		return Bundle{Referrer: desc.Digest, Problem: fmt.Sprintf(format, args...)}, nil
	}
	_, raw, err := store.Manifest(ctx, desc.Digest.String())
	if errors.Is(err, oci.ErrNotFound) {
		return problem("it is listed but its manifest is gone")
	} else if oci.Unfit(err) {
		return problem("its manifest cannot be read: %v", err)
	} else if err != nil {
		return Bundle{}, err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return problem("its manifest cannot be read: %v", err)
	}
	if len(manifest.Layers) != 1 || manifest.Layers[0].MediaType != BundleMediaType {
		if desc.ArtifactType == BundleMediaType {
			return problem("its manifest does not have exactly one layer with a bundle")
		}
		return Bundle{}, nil
	}
	layer := manifest.Layers[0]
	if err := checkDigest(layer.Digest); err != nil || layer.Size < 0 {
		return problem("its manifest has a bad descriptor")
	}
	if layer.Size > MaxBundleSize {
		return problem("the bundle has %d bytes, at most %d are read", layer.Size, MaxBundleSize)
	}
	text, err := store.Blob(ctx, layer)
	if errors.Is(err, oci.ErrNotFound) {
		return problem("its bundle is gone")
	} else if oci.Unfit(err) {
		return problem("its manifest names a bundle that cannot be read: %v", err)
	} else if err != nil {
		return Bundle{}, err
	}
	return Bundle{Referrer: desc.Digest, JSON: text}, nil
}
