package oci

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry"

	"github.com/lockage/lockage/internal/redact"
)

const layoutPrefix = "oci-layout:"

// SplitReference splits "NAME:TAG", "NAME@DIGEST" or "NAME:TAG@DIGEST" into the name of a repository and a tag or digest,
// which is empty if reference has neither. A digest takes precedence over a tag.
func SplitReference(reference string) (name, tagOrDigest string, err error) {
	if strings.Contains(reference, "://") {
		return "", "", checkName(reference)
	}
	if strings.HasPrefix(reference, "sha256:") {
		return "", "", fmt.Errorf("%q is a digest without its repository: write REPOSITORY@DIGEST", reference)
	}
	name, tagOrDigest, hasDigest := strings.Cut(reference, "@")
	// A colon before the last slash belongs to a port or a drive letter, the first one of a layout to its prefix.
	start := strings.LastIndex(name, "/") + 1
	if strings.HasPrefix(name, layoutPrefix) {
		start = max(start, len(layoutPrefix))
	}
	tag := ""
	if i := strings.LastIndex(name[start:], ":"); i >= 0 {
		name, tag = name[:start+i], name[start+i+1:]
		if err := checkTag(tag); err != nil {
			return "", "", fmt.Errorf("reference %q: %w", redact.URL(reference), err)
		}
	}
	if !hasDigest {
		tagOrDigest = tag
	} else if err := digest.Digest(tagOrDigest).Validate(); err != nil {
		return "", "", fmt.Errorf("reference %q: %w: write @sha256: and all 64 lower-case hex digits", redact.URL(reference), err)
	}
	return name, tagOrDigest, checkName(name)
}

// SplitArtifact splits the reference of an artifact as [SplitReference] does: it has a tag or a digest.
func SplitArtifact(reference string) (name, tagOrDigest string, err error) {
	if name, tagOrDigest, err = SplitReference(reference); err == nil && tagOrDigest == "" {
		err = fmt.Errorf("%s names a repository; add :TAG or @DIGEST", name)
	}
	return name, tagOrDigest, err
}

// checkName returns an error unless name is valid for a repository.
func checkName(name string) error {
	if dir, ok := strings.CutPrefix(name, layoutPrefix); ok {
		if dir == "" {
			return fmt.Errorf("repository %q: the directory is missing; write %sDIR", name, layoutPrefix)
		}
		return nil
	}
	if strings.Contains(name, "://") {
		return fmt.Errorf("repository %q: write HOST[:PORT]/PATH, without a scheme", redact.URL(name))
	}
	host, path, ok := strings.Cut(name, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return fmt.Errorf("repository %q does not begin with the host of a registry; write HOST/PATH, for instance docker.io/%s", redact.URL(name), redact.URL(name))
	}
	ref := registry.Reference{Registry: host, Repository: path}
	if strings.Contains(host, "@") || ref.ValidateRegistry() != nil {
		return fmt.Errorf("repository %q: invalid host; write HOST[:PORT]/PATH, without a user", redact.URL(name))
	}
	if ref.ValidateRepository() != nil {
		return fmt.Errorf("repository %q: invalid path %q; lower-case letters, digits and separators are allowed", redact.URL(name), redact.URL(path))
	}
	return nil
}

// checkTag follows the grammar of tags in the distribution specification.
func checkTag(tag string) error {
	if err := (registry.Reference{Reference: tag}).ValidateReferenceAsTag(); err != nil {
		return fmt.Errorf("invalid tag %q: up to 128 letters, digits, '_', '.' and '-' are allowed", tag)
	}
	return nil
}

func checkTags(tags []string) error {
	for _, tag := range tags {
		if err := checkTag(tag); err != nil {
			return err
		}
	}
	return nil
}

// checkTagOrDigest returns an error unless s is a valid tag or digest.
func checkTagOrDigest(s string) (isDigest bool, err error) {
	if s == "" {
		return false, errors.New("a tag or digest is missing")
	}
	if strings.Contains(s, ":") {
		if err := digest.Digest(s).Validate(); err != nil {
			return false, fmt.Errorf("digest %q: %w", s, err)
		}
		return true, nil
	}
	return false, checkTag(s)
}
