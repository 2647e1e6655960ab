#!/bin/sh
# check.sh: checks .goreleaser.yaml, makes a snapshot of the release of this commit twice, and compares all files of both, byte for
# byte. Then it looks for what release.sh, an archive and a package need. It works in a clone: without a remote, goreleaser does not read
# the commit's time.
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

# has ARCHIVE lists what is in the list on standard input and not in the list of the archive's files.
has() {
	while read -r file; do
		grep -q "$file\$" "$work/files" || { echo "$1 has no $file" >&2 && return 1; }
	done
}
grep -o 'dist/[^ )]*' packaging/release.sh | while read -r program; do test -x "$program"; done
tar -tzf dist/lockage_*_linux_amd64.tar.gz >"$work/files"
printf '%s\n' lockage LICENSE README.md CHANGELOG.md completions/lockage.bash completions/lockage.zsh completions/lockage.fish man/lockage.1.gz man/lockage-promote.1.gz |
	has "the archive"
if command -v dpkg-deb >"$work/files"; then
	dpkg-deb -c dist/lockage_*_linux_amd64.deb >"$work/files"
	printf '%s\n' bin/lockage share/doc/lockage/copyright completions/lockage man1/lockage.1.gz | has "the package"
fi
tar -xzf dist/lockage_*_linux_amd64.tar.gz -C "$work" lockage
"$work/lockage" version
