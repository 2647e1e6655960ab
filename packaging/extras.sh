#!/bin/sh
# extras.sh VERSION: makes what packages have beside the program, in dist-extras: completions and manual pages.
set -eu
cd "$(dirname "$0")/.."

out=dist-extras
rm -rf "$out"
mkdir -p "$out/completions" "$out/man"
CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -X main.release=$1" -o "$out/lockage" ./cmd/lockage
for shell in bash zsh fish; do
	"$out/lockage" completion "$shell" >"$out/completions/lockage.$shell"
done
"$out/lockage" man "$out/man"
gzip -n9 "$out"/man/*
rm "$out/lockage"
