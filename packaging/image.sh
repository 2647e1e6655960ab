#!/bin/sh
# image.sh REPOSITORY:TAG PROGRAM_AMD64 [PROGRAM_ARM64]: builds the container image from scratch and pushes it, without a container
# engine. The same program gives the same digest. Prints REPOSITORY@DIGEST. It needs crane and GNU tar.
#
# The image holds the program, which brings certificate authorities and time zones, and an empty /tmp. It runs as a user without rights.
set -eu
reference=$1
shift

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
arch=amd64
for program; do
	root=$work/$arch
	mkdir -p "$root/tmp"
	cp "$program" "$root/lockage"
	chmod 0755 "$root/lockage" && chmod 1777 "$root/tmp"
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=ustar -C "$root" -cf "$work/$arch.tar" lockage tmp
	crane append --oci-empty-base --platform "linux/$arch" --new_layer "$work/$arch.tar" --new_tag "$reference-$arch" >/dev/null
	crane mutate "$reference-$arch" --tag "$reference-$arch" --set-platform "linux/$arch" \
		--entrypoint /lockage --user 65532:65532 --workdir /work --env HOME=/tmp --env PATH=/ \
		--label org.opencontainers.image.title=lockage --label "org.opencontainers.image.version=${reference##*:}" >"$work/$arch.digest"
	arch=arm64
done
if [ -f "$work/arm64.digest" ]; then
	crane index append --manifest "$(cat "$work/amd64.digest")" --manifest "$(cat "$work/arm64.digest")" --tag "$reference"
else
	crane index append --manifest "$(cat "$work/amd64.digest")" --tag "$reference"
fi
