#!/bin/sh
# tools.sh NAME…: builds the judges of the end-to-end tests, and the linter, from the Go module proxy at pinned
# versions, once, into a cache outside the clone; prints the folder that holds them. A judge of a library that lockage
# links (helm, cosign, crane) is built at the version that go.mod names.
set -eu
cd "$(dirname "$0")"

cache=${LOCKAGE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/lockage-tools}
mkdir -p "$cache/bin"

version() { go list -m -f '{{.Version}}' "$1"; }

package() {
	case $1 in
	actionlint) echo "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12" ;;
	conftest) echo "github.com/open-policy-agent/conftest@v0.71.1" ;;
	cosign) echo "github.com/sigstore/cosign/v2/cmd/cosign@$(version github.com/sigstore/cosign/v2)" ;;
	cosign3) echo "github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3" ;;
	crane) echo "github.com/google/go-containerregistry/cmd/crane@$(version github.com/google/go-containerregistry)" ;;
	cyclonedx-gomod) echo "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.9.0" ;;
	fulcio) echo "github.com/sigstore/fulcio@v1.8.8" ;;
	gitea) echo "code.gitea.io/gitea@v1.26.0" ;; # built by gitea.sh; newer ones need a newer Go
	goreleaser) echo "github.com/goreleaser/goreleaser/v2@v2.14.0" ;;
	helm) echo "helm.sh/helm/v3/cmd/helm@$(version helm.sh/helm/v3)" ;;
	helm4) echo "helm.sh/helm/v4/cmd/helm@$(version helm.sh/helm/v4)" ;;
	oras) echo "oras.land/oras/cmd/oras@v1.3.6" ;;
	rekor-server) echo "github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix@v2.2.1" ;; # newer ones refuse DSSE
	timestamp-server) echo "github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server@v2.0.3" ;;
	registry) echo "github.com/distribution/distribution/v3/cmd/registry@v3.1.2" ;;
	vault-server) echo "github.com/hashicorp/vault@v1.14.2" ;; # built by vault.sh
	kustomize) echo "sigs.k8s.io/kustomize/kustomize/v5@v5.8.2" ;;
	# The code of readers of artifacts, built by reader.sh.
	admission-reader) echo "k8s.io/apiserver@$(version k8s.io/client-go)" ;;
	argocd-reader | kubectl-reader) echo "github.com/argoproj/argo-cd/v3@v3.1.0" ;;
	flux-reader) echo "github.com/fluxcd/source-controller@v1.8.0" ;;
	slsa-verifier) echo "github.com/slsa-framework/slsa-verifier/v2@v2.7.1" ;;
	# A cluster and its controllers, built by module.sh.
	etcd) echo "go.etcd.io/etcd/server/v3@v3.6.16" ;;
	kube-apiserver | kubectl) echo "k8s.io/kubernetes@v1.36.3" ;;
	kyverno) echo "github.com/kyverno/kyverno@v1.18.2" ;;
	kustomize-controller) echo "github.com/fluxcd/kustomize-controller@v1.9.6" ;;
	source-controller) echo "github.com/fluxcd/source-controller@v1.8.0" ;;
	golangci-lint) echo "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2" ;;
	*) echo "tools.sh: no such tool: $1" >&2; exit 2 ;;
	esac
}

# ours prints what of a tool's source is in this repository, shortened to a sum.
ours() {
	case $1 in
	*-reader | slsa-verifier) set -- reader.sh "testdata/readers/$1/main.go" ;;
	vault-server) set -- vault.sh testdata/vault/main.go ;;
	*) return ;;
	esac
	cat "$@" | cksum | sed 's/ .*//; s/^/+/'
}

build() { # TOOL PACKAGE FOLDER
	case $1 in
	*-reader | slsa-verifier) ./reader.sh "$1" "${2##*@}" "$3/$1" ;;
	etcd | kube-apiserver | kubectl | kustomize-controller | kyverno | source-controller) ./module.sh "$1" "${2##*@}" "$3/$1" ;;
	gitea) ./gitea.sh "${2##*@}" "$3/gitea" ;;
	vault-server) ./vault.sh "${2##*@}" "$3/vault-server" ;;
	*) GOBIN=$3 GOFLAGS= CGO_ENABLED=0 go install -trimpath -ldflags=-s "$2" ;;
	esac
	case $1 in
	cosign3) mv "$3/cosign" "$3/cosign3" ;;
	helm4) mv "$3/helm" "$3/helm4" ;;
	rekor-server) mv "$3/posix" "$3/rekor-server" ;;
	esac
}

for tool; do
	pkg=$(package "$tool")
	want=$cache/bin/$tool@${pkg##*@}$(ours "$tool")
	if [ ! -x "$want" ]; then
		echo "building $pkg" >&2
		tmp=$(mktemp -d "$cache/build.XXXXXX")
		build "$tool" "$pkg" "$tmp" >&2 || { rm -rf "$tmp"; echo "tools.sh: cannot build $pkg" >&2; exit 1; }
		mv "$tmp/$tool" "$want"
		rm -rf "$tmp"
	fi
	ln -sfn "${want##*/}" "$cache/bin/$tool"
done
echo "$cache/bin"
