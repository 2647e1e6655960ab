#!/bin/sh
# sbom.sh PROGRAM DOCUMENT TIME VERSION: writes the bill of materials of a program, CycloneDX in JSON, with the time of the commit.
set -eu
cyclonedx-gomod bin -json -std -noserial -version "$4" -output "$2" "$1"
sed -i 's/^\( *"timestamp": \)"[^"]*"/\1"'"$3"'"/' "$2"
