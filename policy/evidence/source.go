package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
)

// source reads who signed the locked commit, or the locked chart.
func (c *collector) source(ctx context.Context) error {
	if c.Lock.Packaging.Kind == lock.Packaged {
		return c.chart(ctx)
	}
	remote, err := c.Sources.Remote(ctx, c.Declared.SourceRepo)
	if err != nil {
		return fmt.Errorf("source repository: %w", err)
	}
	signer, err := remote.Signer(ctx, git.Hash(c.Lock.GitCommit))
	if errors.Is(err, git.ErrUnsigned) {
		c.facts.Source.Unsigned = err.Error()
		return nil
	}
	if err != nil {
		return fmt.Errorf("source repository: %w", err)
	}
	key, err := sign.NewPublicKey(signer)
	if err != nil {
		c.facts.Source.Unsigned = err.Error()
		return nil
	}
	by := sign.Identity{PublicKey: key}.Author()
	c.signedBy(by, c.keys.Holders(by)...)
	return nil
}

// signedBy notes who signed the source.
func (c *collector) signedBy(by sign.Author, names ...string) {
	if c.facts.Source.By = by; c.facts.Source.Signers == nil {
		c.facts.Source.Signers = map[string]sign.Author{}
	}
	for _, name := range names {
		c.facts.Source.Signers[name] = by
	}
}

// chartOf returns the chart that a lock is of; "" for none.
func chartOf(l lock.Lock) string {
	if l.Packaging.Kind != lock.Packaged {
		return ""
	}
	return l.Chart.String()
}

// chart reads who signed the artifact of a registry that has the locked archive. Charts of other repositories have no such signature.
func (c *collector) chart(ctx context.Context) error {
	chart := c.Lock.Chart
	unsigned := func(format string, args ...any) error {
		c.facts.Source.Unsigned = fmt.Sprintf(format, args...)
		return nil
	}
	name, registry := strings.CutPrefix(chart.URL(), "oci://")
	if !registry {
		return unsigned("cosign signs charts in registries, at oci:// URLs, and no others")
	}
	holders, err := trusting(func(known []sign.Identity) []sign.Identity { return known }, c.keys)
	if err != nil {
		return err
	}
	if holders == nil {
		return unsigned("no identity has a key")
	}
	repository, err := c.Client.Repository(name)
	if err != nil {
		return err
	}
	tag := strings.ReplaceAll(chart.Version, "+", "_")
	desc, raw, err := repository.Manifest(ctx, tag)
	if errors.Is(err, oci.ErrNotFound) {
		return unsigned("%s does not exist any more", repository.Reference(tag))
	}
	if err != nil {
		return err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(raw, &manifest); err != nil || !slices.ContainsFunc(manifest.Layers, func(l ocispec.Descriptor) bool { return l.Digest == chart.Digest }) {
		return unsigned("%s has another archive now than %s", repository.Reference(tag), chart.Digest)
	}
	if err := c.chartSigners(ctx, repository, desc, holders); err != nil {
		return err
	}
	if c.facts.Source.Signers == nil {
		return unsigned("no signature by an identity is attached to %s", repository.Reference(desc.Digest.String()))
	}
	return nil
}

// chartSigners notes which of those who hold keys signed an artifact, in either form.
func (c *collector) chartSigners(ctx context.Context, repository *oci.Repository, desc ocispec.Descriptor, holders *sign.Verifier) error {
	bundles, err := c.attached(ctx, repository, desc.Digest)
	if err != nil {
		return err
	}
	statements, _ := holders.Verify(desc.Digest, bundles)
	for _, s := range statements {
		if s.PredicateType() == sign.PredicateSignature && s.Digest() == desc.Digest {
			c.signedBy(s.Author(), c.keys.Holders(s.Author())...)
		}
	}
	signatures, _, err := sign.VerifyImage(ctx, repository, subjectOf(desc.Digest), holders)
	for _, s := range signatures {
		if s.Digest() == desc.Digest {
			c.signedBy(s.Author(), c.keys.Holders(s.Author())...)
		}
	}
	return err
}
