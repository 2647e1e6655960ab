#!/bin/sh
# reader.sh NAME VERSION FILE: builds a program around the code of a reader of artifacts, testdata/readers/NAME, into FILE. It is
# built in a copy of the reader's module, whose own go.mod and go.sum name the versions of everything else, so that what judges is
# what that reader's release does. The API server's code is built by our go.mod instead, and shares what lockage is built of.
set -eu
name=$1 version=$2
out=$(realpath "$3")
main=$(realpath "testdata/readers/$name/main.go")
ours=$(realpath ../..)
place=lockage
case $name in
argocd-reader) module=github.com/argoproj/argo-cd/v3 ;;
flux-reader) module=github.com/fluxcd/source-controller ;;
admission-reader) module=k8s.io/apiserver ;;
kubectl-reader) module=github.com/argoproj/argo-cd/v3 ;; # whose dependencies hold kubectl's loader
slsa-verifier) module=github.com/slsa-framework/slsa-verifier/v2 place=verifiers/lockage ;; # its parent may import what is internal
*) echo "reader.sh: no such reader: $name" >&2; exit 2 ;;
esac

src=$(mktemp -d)
trap 'rm -rf "$src"' EXIT
trap 'exit 1' HUP INT TERM
cd "$src"
export CGO_ENABLED=0 GOFLAGS=
if [ "$name" = admission-reader ]; then
	cp "$ours/go.mod" "$ours/go.sum" .
	export GOFLAGS=-mod=mod
	go get "$module@$version"
else
	dir=$(go mod download -json "$module@$version" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",\{0,1\}$/\1/p')
	cp -r "$dir/." .
	chmod -R u+w .
fi
mkdir -p "$place"
cp "$main" "$place/"

if [ "$name" = flux-reader ]; then
	# The API is a module of its own in the same repository, which a copy of this one does not hold.
	sed -i '/^replace .*\/api => /d' go.mod
	export GOFLAGS=-mod=mod
	# Only the reconciler of OCIRepository is built, a third less.
	cd internal/controller
	rm -f ./*_test.go bucket_* gitrepository_* helm*
	cp "${main%/*}/controller/"* .
	cd ../..
fi
go build -trimpath -buildvcs=false -ldflags=-s -o "$out" "./$place"
