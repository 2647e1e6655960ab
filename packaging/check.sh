#!/bin/sh
# check.sh: checks .goreleaser.yaml, makes a snapshot of the release of this commit twice, and compares all files of both, byte for
# byte. It works in a clone: without a remote, goreleaser does not read the commit's time.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone -q "$(dirname "$0")/.." "$work/clone"
cd "$work/clone"

goreleaser check
for run in first second; do
	goreleaser release --snapshot --clean --skip=publish,sign
	(cd dist && sha256sum ./*.tar.gz ./*.zip ./*.deb ./*.rpm ./*.cdx.json checksums.txt) >"$work/$run"
done
diff "$work/first" "$work/second"
cat "$work/second"
