package chartrepo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci"
)

// Media types of a chart in a registry (helm.sh/docs/topics/registries); the last one is that of early versions of Helm.
const (
	configMediaType      = "application/vnd.cncf.helm.config.v1+json"
	layerMediaType       = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	legacyLayerMediaType = "application/tar+gzip"
)

// pull fetches the chart of a tag.
func (f *Fetcher) pull(ctx context.Context, repository, tag string) ([]byte, error) {
	repo, err := f.registries.Repository(repository)
	if err != nil {
		return nil, err
	}
	desc, raw, err := repo.Manifest(ctx, tag)
	if errors.Is(err, oci.ErrNotFound) {
		return nil, missing(repo.Reference(tag) + ": " + oci.ErrNotFound.Error())
	}
	if err != nil {
		return nil, err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", repo.Reference(tag), err)
	}
	if manifest.Config.MediaType != configMediaType {
		return nil, fmt.Errorf("%s is not a Helm chart: its config is %q", repo.Reference(desc.Digest.String()), manifest.Config.MediaType)
	}
	for _, layer := range manifest.Layers {
		if layer.MediaType != layerMediaType && layer.MediaType != legacyLayerMediaType {
			continue
		}
		if layer.Size > MaxArchiveBytes {
			return nil, fmt.Errorf("the archive has %d bytes, at most %d are read", layer.Size, MaxArchiveBytes)
		}
		return repo.Blob(ctx, layer)
	}
	return nil, fmt.Errorf("%s has no layer with a chart", repo.Reference(desc.Digest.String()))
}

// tags lists the versions that the tags of a chart's repository name.
func (f *Fetcher) tags(ctx context.Context, repository string) ([]string, error) {
	repo, err := f.registries.Repository(repository)
	if err != nil {
		return nil, err
	}
	tags, err := repo.Tags(ctx, "")
	for i, tag := range tags {
		tags[i] = strings.ReplaceAll(tag, "_", "+")
	}
	return tags, err
}
