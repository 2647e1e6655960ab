#!/bin/sh
# release.sh: what the release workflow does for the tag in $TAG, with the token in $GITHUB_TOKEN.
set -eu
cd "$(dirname "$0")/.."

tools=$(internal/e2e/tools.sh goreleaser cyclonedx-gomod cosign crane)
PATH=$tools:$PATH
export PATH

goreleaser release --clean

echo "$GITHUB_TOKEN" | crane auth login ghcr.io --username "$GITHUB_ACTOR" --password-stdin
image=$(packaging/image.sh "ghcr.io/lockage/lockage:${TAG#v}" dist/lockage_linux_amd64_v1/lockage dist/lockage_linux_arm64_v8.0/lockage)
cosign sign --yes "$image"
