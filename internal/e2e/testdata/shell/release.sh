#!/usr/bin/env bash
# What teams put together from upstream's programs today, and what lockage is measured beside: each stage is rendered, pushed,
# signed, and committed to its branch; then verified, pulled, judged by its policies, and tagged.
#
#	release.sh hydrate|promote STAGES PROCESSES
#
# in a folder with source.git, gitops.git, and in keys/ the keys. COMMIT is the locked one, PREFIX the repository of the
# artifacts. With PLAIN_KEY set, openssl signs with an unencrypted key, which cosign cannot read; else cosign signs.
set -euo pipefail

hydrate() { # STAGE
	local stage=$1 dir=stages/$1 digest
	mkdir -p "$dir/manifests"
	helm template web source/chart --namespace "web-$stage" --kube-version 1.34 --include-crds --values "gitops/values/$stage.yaml" \
		>"$dir/manifests/manifests.yaml"
	digest=$(cd "$dir" && oras push --plain-http --format 'go-template={{.digest}}' "$PREFIX/$stage:git-$COMMIT" manifests)
	sign "$PREFIX/$stage@$digest"
	git init -q "$dir/branch"
	cd "$dir/branch"
	if git fetch -q --depth 1 ../../../gitops.git "stage/$stage" 2>/dev/null; then git reset -q --hard FETCH_HEAD; fi
	mkdir -p deploy
	cp ../manifests/manifests.yaml deploy/
	git add deploy
	git commit -q -m "git-$COMMIT" -m "$digest"
	git push -q ../../../gitops.git "HEAD:refs/heads/stage/$stage"
}

sign() { # REFERENCE
	if [ -z "${PLAIN_KEY:-}" ]; then
		cosign sign --yes --tlog-upload=false --key keys/hydrator.key "$1" 2>/dev/null
		return
	fi
	local payload=$dir/payload
	cosign generate "$1" >"$payload"
	openssl dgst -sha256 -sign keys/hydrator.key "$payload" | base64 -w0 >"$payload.sig"
	cosign attach signature --payload "$payload" --signature "$payload.sig" "$1" 2>/dev/null
}

promote() { # STAGE
	local ref=$PREFIX/$1:git-$COMMIT
	cosign verify --insecure-ignore-tlog --key keys/hydrator.pub "$ref" >/dev/null 2>&1
	oras pull --plain-http --no-tty -o "live/$1" "$ref" >/dev/null
	conftest test --quiet --policy gitops/policy --policy gitops/conftest "live/$1/manifests/manifests.yaml" >/dev/null
	crane tag --insecure "$ref" live
}

if [ $# = 2 ]; then # one stage
	"$1" "$2"
	exit
fi
if [ "$1" = hydrate ]; then
	git clone -q --depth 1 "file://$PWD/source.git" source
	[ "$(git -C source rev-parse HEAD)" = "$COMMIT" ]
	git clone -q --depth 1 "file://$PWD/gitops.git" gitops
fi
seq -f 's%03g' "$2" | xargs -P "$3" -n 1 bash "$0" "$1"
