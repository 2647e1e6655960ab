#!/bin/sh
# sbom.sh PROGRAM DOCUMENT TIME: writes the bill of materials of a program, CycloneDX in JSON, with the time of the commit.
set -eu
cyclonedx-gomod bin -json -std -noserial -output - "$1" |
	sed 's/^\( *"timestamp": \)"[^"]*"/\1"'"$3"'"/' >"$2"
