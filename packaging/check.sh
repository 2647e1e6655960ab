#!/bin/sh
# check.sh: checks .goreleaser.yaml, makes a snapshot of the release twice, and compares all files of both, byte for byte.
set -eu
cd "$(dirname "$0")/.."

goreleaser check
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for run in first second; do
	goreleaser release --snapshot --clean --skip=publish,sign
	(cd dist && sha256sum ./*.tar.gz ./*.zip ./*.deb ./*.rpm ./*.cdx.json checksums.txt) >"$work/$run"
done
diff "$work/first" "$work/second"
cat "$work/second"
