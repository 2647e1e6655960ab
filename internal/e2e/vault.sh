#!/bin/sh
# vault.sh VERSION FILE: builds a server of HashiCorp's Vault, testdata/vault, into FILE, in a copy of its module: core, API, tokens, policies
# and the transit engine as they are, with storage in memory. What reaches for clouds is taken out, half of some 1,400 packages: seals in
# other key services, the search for peers, a sink of metrics, and helpers of tests.
set -eu
version=$1
out=$(realpath "$2")
main=$(realpath testdata/vault/main.go)

src=$(mktemp -d)
trap 'rm -rf "$src"' EXIT
trap 'exit 1' HUP INT TERM
cd "$src"
export CGO_ENABLED=0 GOFLAGS=-mod=mod GOWORK=off
dir=$(go mod download -json "github.com/hashicorp/vault@$version" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",\{0,1\}$/\1/p')
cp -r "$dir/." .
chmod -R u+w .
mkdir lockage
cp "$main" lockage/

rm -f vault/testing*.go vault/test_cluster_*.go vault/*_testing.go vault/*_testing_util*.go http/testing.go
cat >vault/handler.go <<'END'
package vault

import "net/http"

type HandlerHandler interface {
	Handler(*HandlerProperties) http.Handler
}
END
sed -i -e '/WrapperTypeAliCloudKms:/,/WrapperTypePkcs11:/{/WrapperTypePkcs11:/!d}' \
	-e '/^func GetAliCloudKMSFunc/,/^func createSecureRandomReader/{/^func createSecureRandomReader/!d}' \
	-e '/wrappers\/[b-z]/d' -e '/wrappers\/alicloudkms/d' -e '/wrappers\/awskms/d' -e '/wrappers\/azurekeyvault/d' \
	-e '/hashicorp\/errwrap"/d' -e '/sdk\/logical"/d' internalshared/configutil/kms.go
sed -i -e '/Configure the stackdriver sink/,/^\t}$/d' -e '/cloud.google.com/d' -e '/go-metrics-stackdriver/d' \
	-e '/google.golang.org\/api\/option/d' -e '/^\t"context"$/d' internalshared/configutil/telemetry.go
# Operations to create, beside those to update, that the toolkit of this release refuses.
sed -i '/"managed-keys\/"/s/logical.CreateOperation, //' vault/logical_system_helpers.go
sed -i '/logical.CreateOperation:/,/^\t\t\t},/d' builtin/logical/transit/path_cache_config.go
mkdir -p discover/provider/k8s
echo 'module github.com/hashicorp/go-discover' >discover/go.mod
cat >discover/discover.go <<'END'
package discover

import "log"

type (
	Provider interface{}
	Discover struct{}
	Option   func(*Discover) error
)

var Providers map[string]Provider

func New(...Option) (*Discover, error) { return &Discover{}, nil }

func WithProviders(map[string]Provider) Option { return nil }

func (*Discover) Addrs(string, *log.Logger) ([]string, error) { return nil, nil }
END
printf 'package k8s\n\ntype Provider struct{}\n' >discover/provider/k8s/provider.go

# The parts of the repository that are modules of their own are fetched at their releases.
sed -i -E '/=> \.{1,2}\//d' go.mod
go mod edit -replace github.com/hashicorp/go-discover=./discover
go build -trimpath -buildvcs=false -ldflags=-s -o "$out" ./lockage
