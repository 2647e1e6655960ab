// Package copies copies artifacts to another repository, with all that was signed about them.
//
// # What is copied
//
// The artifact; the manifests that are attached to it, that is signatures, provenance, promotion records and other attestations; and
// the manifests that cosign keeps under tags of its digest (.sig, .att, .sbom). All of it is copied byte for byte, so that whatever was
// signed stays signed. Of more than [MaxReferrers] attached manifests those are copied that name a key that counts, and then others; one
// that names more, or larger, than can be copied is left out.
//
// # Order
//
// Artifact, attached manifests, cosign's tags; then all of that is read back from the destination and compared with its digests, and
// the artifact is verified there by the caller's rules; the tags come last. A run that stops between two writes leaves no tag on
// what is not whole and verified, and the next run sends only what is missing. Nothing is ever removed: what others attached to
// the copy stays, and is merged where one tag holds it all.
//
// # One file
//
// A destination that is one tar file is made beside it as a folder, which an unfinished run leaves for the next one, and replaces
// the file as a whole when all is verified. A file that has all of it, and nothing else, stays.
package copies

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

const (
	// MaxReferrers bounds the manifests attached to one artifact that are copied: anybody who may write to a registry can attach any
	// number.
	MaxReferrers = 500

	concurrency = 8 // artifacts in progress
	// attempts bounds how often a tag of cosign's is merged that others write to meanwhile.
	attempts = 4
)

// besides are the suffixes of tags under which cosign keeps what belongs to a digest.
var besides = []string{".sig", ".att", ".sbom"}

// Item is an artifact to copy.
type Item struct {
	Source string // as it was asked for, for people
	From   *oci.Repository
	Digest digest.Digest
	Tags   []string // of the copy; the last one is written last
	Keys   []string // fingerprints of those that count: what they signed is copied first
	// Verify are rules that the artifact is verified by at the destination; nil if none are known.
	Verify []Rule
}

// Rule verifies an artifact in a repository.
type Rule func(ctx context.Context, at *oci.Repository) (policy.Verdict, error)

// Action is what became of an artifact.
type Action string

// The actions.
const (
	Copied    Action = "copied"
	Unchanged Action = "unchanged" // all of it was there
	Denied    Action = "denied"    // it does not pass verification; no tag was written
	Failed    Action = "failed"
)

// Result is the outcome of one artifact.
type Result struct {
	Source    string         `json:"source"`
	Reference string         `json:"reference"` // of the copy
	Digest    digest.Digest  `json:"digest"`
	Tags      []string       `json:"tags"`
	Action    Action         `json:"action"`
	Referrers int            `json:"referrers"`         // attached manifests that the copy has from the source
	LeftOut   int            `json:"leftOut,omitempty"` // attached manifests that were not copied: too many or too large, or not whole
	Verified  bool           `json:"verified"`          // by the rules of a pipeline file; else its bytes were compared only
	Checks    policy.Verdict `json:"checks,omitempty"`  // of that verification
	Err       error          `json:"-"`
}

// Options are how artifacts are copied.
type Options struct {
	DryRun bool                  // write nothing; what is missing at the destination is verified at the source
	Step   func(progress string) // receives a line for each artifact
}

// Run copies artifacts to one repository, to, which client opened. The error concerns all of them, and comes without results if
// nothing was begun. Results are in the order of the items.
func Run(ctx context.Context, client *oci.Client, to *oci.Repository, items []Item, o Options) ([]Result, error) {
	if err := disjoint(items); err != nil {
		return nil, err
	}
	if !oci.IsArchive(to.Name()) {
		return all(ctx, to, to, items, o), nil
	}
	tags, err := to.Tags(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("%w; it is replaced only if it is an image layout", err)
	}
	if results := present(ctx, to, items, tags); results != nil {
		return results, nil
	}
	if o.DryRun {
		results := all(ctx, to, to, items, o)
		for i := range results {
			if results[i].Action == Unchanged { // the file is replaced as a whole
				results[i].Action = Copied
			}
		}
		return results, nil
	}
	file, err := filepath.Abs(to.Folder())
	if err != nil {
		return nil, err
	}
	// The same artifacts go on in the folder of the run that did not end.
	folder := file + ".partial-" + plan(items)
	partial, err := client.Repository("oci-layout:" + folder)
	if err != nil {
		return nil, err
	}
	results := all(ctx, partial, to, items, o)
	for _, r := range results {
		if r.Err != nil {
			return results, nil // the file stays as it was
		}
	}
	if err := oci.PackLayout(folder, file); err != nil {
		return results, fmt.Errorf("write %s: %w", file, err)
	}
	// No run may go on in a folder that a killed one removed in part.
	done := folder + ".done"
	if err := errors.Join(os.RemoveAll(done), os.Rename(folder, done)); err != nil {
		return results, err
	}
	return results, os.RemoveAll(done)
}

// present returns the results of an archive that has all of the artifacts, with their tags and no others; nil for any other.
func present(ctx context.Context, to *oci.Repository, items []Item, tags []string) []Result {
	wanted, has := map[string]bool{}, map[string]bool{}
	for _, i := range items {
		for _, tag := range i.Tags {
			wanted[tag] = true
		}
	}
	for _, tag := range tags {
		if !strings.HasPrefix(tag, digest.SHA256.String()+"-") { // what cosign keeps beside an artifact
			has[tag] = true
		}
	}
	if !maps.Equal(wanted, has) {
		return nil
	}
	results := all(ctx, to, to, items, Options{DryRun: true, Step: func(string) {}})
	if slices.ContainsFunc(results, func(r Result) bool { return r.Action != Unchanged }) {
		return nil
	}
	return results
}

// plan identifies what is copied.
func plan(items []Item) string {
	var lines []string
	for _, i := range items {
		lines = append(lines, i.Digest.String()+" "+strings.Join(i.Tags, " "))
	}
	return digest.FromString(strings.Join(lines, "\n")).Encoded()[:12]
}

// disjoint returns an error if two artifacts want one tag.
func disjoint(items []Item) error {
	wanted := map[string]Item{}
	for _, i := range items {
		for _, tag := range i.Tags {
			if other, ok := wanted[tag]; ok && other.Digest != i.Digest {
				return fmt.Errorf("tag %s is wanted by %s and by %s: copy them to different repositories", tag, other.Source, i.Source)
			}
			wanted[tag] = i
		}
	}
	return nil
}

// all copies artifacts to at, which people know by the name of shown.
func all(ctx context.Context, at, shown *oci.Repository, items []Item, o Options) []Result {
	results := make([]Result, len(items))
	var group errgroup.Group
	group.SetLimit(concurrency)
	for n, i := range items {
		group.Go(func() error {
			results[n] = one(ctx, at, i, o.DryRun)
			results[n].Reference = shown.Reference(reference(i))
			o.Step(fmt.Sprintf("%s: %s", i.Source, results[n].Action))
			return nil
		})
	}
	_ = group.Wait()
	return results
}

func reference(i Item) string {
	if len(i.Tags) > 0 {
		return i.Tags[len(i.Tags)-1]
	}
	return i.Digest.String()
}

// one copies an artifact.
func one(ctx context.Context, to *oci.Repository, i Item, dryRun bool) Result {
	c := &copying{Item: i, to: to, dryRun: dryRun}
	r := Result{Source: i.Source, Digest: i.Digest, Tags: append([]string{}, i.Tags...), Action: Unchanged}
	r.Err = c.content(ctx)
	r.Referrers, r.LeftOut = c.referrers, c.left
	at := to
	if dryRun && c.wrote.Load() {
		at = c.From
	}
	for _, verify := range i.Verify {
		if r.Err != nil {
			break
		}
		var checks policy.Verdict
		if checks, r.Err = verify(ctx, at); r.Err == nil {
			r.Err = checks.Err()
		}
		r.Checks = append(r.Checks, checks...)
	}
	r.Verified = r.Err == nil && len(i.Verify) > 0
	if r.Err == nil {
		r.Err = c.tag(ctx)
	}
	switch {
	case errors.Is(r.Err, policy.ErrDenied):
		r.Action = Denied
	case r.Err != nil:
		r.Action = Failed
	case c.wrote.Load():
		r.Action = Copied
	}
	return r
}

// copying is an artifact on its way.
type copying struct {
	Item
	to              *oci.Repository
	dryRun          bool
	wrote           atomic.Bool // or would have, in a dry run
	referrers, left int
}

// content copies all but the tags, and reads it back.
func (c *copying) content(ctx context.Context) error {
	if err := c.whole(ctx, c.Digest, func() error { return c.to.Copy(ctx, c.From, c.Digest) }); err != nil {
		return err
	}
	subject, err := c.From.Resolve(ctx, c.Digest.String())
	if err == nil {
		err = c.attached(ctx, subject)
	}
	for _, suffix := range besides {
		if err == nil {
			err = c.beside(ctx, oci.FallbackTag(c.Digest)+suffix)
		}
	}
	return err
}

// whole makes sure that the destination has a manifest and all that it names, and writes it if not.
func (c *copying) whole(ctx context.Context, manifest digest.Digest, write func() error) error {
	err := c.to.ReadBack(ctx, manifest)
	if !errors.Is(err, oci.ErrNotFound) {
		return err
	}
	if c.wrote.Store(true); c.dryRun {
		return nil
	}
	if err := write(); err != nil {
		return err
	}
	return c.to.ReadBack(ctx, manifest)
}

// attached copies what is attached to the artifact.
func (c *copying) attached(ctx context.Context, subject ocispec.Descriptor) error {
	listed, err := c.From.Referrers(ctx, subject, "")
	if err != nil {
		return err
	}
	sign.Rank(listed, c.Keys...)
	c.left = max(0, len(listed)-MaxReferrers)
	listed = listed[:len(listed)-c.left]
	there, err := c.to.Referrers(ctx, subject, "")
	if err != nil {
		return err
	}
	var missing []digest.Digest
	for _, d := range listed {
		known := slices.ContainsFunc(there, func(o ocispec.Descriptor) bool { return o.Digest == d.Digest })
		if known {
			if err = c.to.ReadBack(ctx, d.Digest); err == nil {
				c.referrers++
				continue
			}
		}
		fit, sourceErr := c.From.Copyable(ctx, d.Digest, subject.Digest)
		switch {
		case sourceErr != nil:
			return sourceErr
		case !fit:
			c.left++
			continue
		case known && !errors.Is(err, oci.ErrNotFound):
			return err
		}
		missing = append(missing, d.Digest)
	}
	c.referrers += len(missing)
	if len(missing) > 0 {
		c.wrote.Store(true)
	}
	if c.dryRun {
		return nil
	}
	if err := c.to.CopyReferrers(ctx, c.From, subject, missing...); err != nil {
		return err
	}
	for _, d := range missing {
		if err := c.to.ReadBack(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// beside copies the manifest that a tag of cosign's names, and keeps the layers that others put into the one at the destination.
func (c *copying) beside(ctx context.Context, tag string) error {
	source, raw, err := c.From.Manifest(ctx, tag)
	if errors.Is(err, oci.ErrNotFound) {
		return nil
	}
	var own ocispec.Manifest
	fit := false
	if err == nil {
		fit, err = c.From.Copyable(ctx, source.Digest, "")
	}
	if err == nil && fit {
		err = json.Unmarshal(raw, &own)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.From.Reference(tag), err)
	}
	if !fit {
		c.left++
		return nil
	}
	for range attempts {
		named, raw, err := c.to.Manifest(ctx, tag)
		if err != nil && !errors.Is(err, oci.ErrNotFound) {
			return err
		}
		var other ocispec.Manifest
		if err == nil && json.Unmarshal(raw, &other) != nil {
			return fmt.Errorf("%s names something else than signatures: delete the tag", c.to.Reference(tag))
		}
		if err == nil && named.Digest == source.Digest || len(without(own.Layers, other.Layers)) == 0 && err == nil {
			if err = c.to.ReadBack(ctx, named.Digest); !errors.Is(err, oci.ErrNotFound) {
				return err
			}
		}
		if c.wrote.Store(true); c.dryRun {
			return nil
		}
		if err := c.merge(ctx, tag, source, own, without(other.Layers, own.Layers)); err != nil {
			return err
		}
	}
	return fmt.Errorf("others keep writing to %s; run it again", c.to.Reference(tag))
}

// merge writes the source's manifest to a tag, with further layers that the destination has.
func (c *copying) merge(ctx context.Context, tag string, source ocispec.Descriptor, m ocispec.Manifest, further []ocispec.Descriptor) error {
	if err := c.to.Copy(ctx, c.From, source.Digest); err != nil {
		return err
	}
	if len(further) == 0 {
		return c.to.Tag(ctx, source, tag)
	}
	m.Layers = append(slices.Clone(m.Layers), further...)
	raw, err := json.Marshal(m)
	if err == nil {
		_, err = c.to.PushTagged(ctx, tag, source.MediaType, raw)
	}
	return err
}

// without returns the layers that others do not have.
func without(layers, others []ocispec.Descriptor) (left []ocispec.Descriptor) {
	same := func(a, b ocispec.Descriptor) bool {
		return a.Digest == b.Digest && maps.Equal(a.Annotations, b.Annotations)
	}
	for _, l := range layers {
		if !slices.ContainsFunc(others, func(o ocispec.Descriptor) bool { return same(l, o) }) {
			left = append(left, l)
		}
	}
	return left
}

// tag makes the tags of the copy name it, and reads them back.
func (c *copying) tag(ctx context.Context) error {
	var missing []string
	for _, tag := range c.Tags {
		named, err := c.to.Lookup(ctx, tag)
		if err != nil {
			return err
		}
		if named != c.Digest {
			missing = append(missing, tag)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if c.wrote.Store(true); c.dryRun {
		return nil
	}
	desc, err := c.to.Resolve(ctx, c.Digest.String())
	if err != nil {
		return err
	}
	if err := c.to.Tag(ctx, desc, missing...); err != nil {
		return err
	}
	for _, tag := range missing {
		if named, err := c.to.Lookup(ctx, tag); err != nil || named != c.Digest {
			return errors.Join(fmt.Errorf("%s names %s after it was pointed at %s: somebody else moves it, or the registry does not let it move", c.to.Reference(tag), named, c.Digest), err)
		}
	}
	return nil
}
