#!/bin/sh
# token.sh signs with a key on a PKCS #11 token: SoftHSM, which it installs where it may. The build needs a C compiler.
set -eu
cd "$(dirname "$0")/../.."
if ! command -v softhsm2-util >/dev/null; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "token.sh: install softhsm2 (Debian, Ubuntu: apt-get install softhsm2)" >&2
		exit 1
	fi
	apt-get -qq update >&2 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends softhsm2 >&2
fi
CGO_ENABLED=1 go test -count=1 -vet=off -tags pkcs11key -run '^TestToken$' ./sign
