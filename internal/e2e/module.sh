#!/bin/sh
# module.sh NAME VERSION FILE: builds a program whose go.mod has replace directives, which `go install` refuses, into FILE, in a copy of
# its module. What it replaces by folders of its own repository, which the copy does not hold, is fetched at the version that it names.
set -eu
name=$1 version=$2
out=$(realpath "$3")
siblings= place=.
case $name in
etcd) module=go.etcd.io/etcd/server/v3 ;;
kube-apiserver | kubectl) module=k8s.io/kubernetes place=cmd/$name siblings=v0${version#v1} ;;
kustomize-controller | source-controller) module=github.com/fluxcd/$name ;;
kyverno) module=github.com/kyverno/kyverno place=cmd/cli/kubectl-kyverno ;;
*) echo "module.sh: no such program: $name" >&2; exit 2 ;;
esac

src=$(mktemp -d)
trap 'rm -rf "$src"' EXIT
trap 'exit 1' HUP INT TERM
cd "$src"
export CGO_ENABLED=0 GOFLAGS=-mod=mod GOWORK=off
dir=$(go mod download -json "$module@$version" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",\{0,1\}$/\1/p')
cp -r "$dir/." .
chmod -R u+w .
rm -rf vendor
if [ "$siblings" ]; then
	sed -i -E "s#^([[:space:]]*(k8s.io/[a-z-]+) => )\./.*#\1\2 $siblings#" go.mod
else
	sed -i -E '/=> \.{1,2}\//d' go.mod
fi
go build -trimpath -buildvcs=false -ldflags=-s -o "$out" "./$place"
