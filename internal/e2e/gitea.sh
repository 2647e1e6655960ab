#!/bin/sh
# gitea.sh VERSION FILE: builds Gitea from the Go module proxy into FILE, one program with everything in it: templates and
# options are embedded, and the database is SQLite in pure Go, which Gitea itself has from 1.27 on. The front end is
# not built, so pages have no styles; the API, Git over HTTP and the container registry are whole.
set -eu
version=$1
out=$(realpath "$2")
sqlite=v1.53.0

src=$(mktemp -d)
trap 'rm -rf "$src"' EXIT
trap 'exit 1' HUP INT TERM
cd "$src"
module=$(GOFLAGS= go mod download -json "code.gitea.io/gitea@$version" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",\{0,1\}$/\1/p')
cp -r "$module/." .
chmod -R u+w .

cat >sqlite.go <<'GO'
package main

import (
	"database/sql"
	"database/sql/driver"
	"strings"

	"code.gitea.io/gitea/modules/setting"
	"modernc.org/sqlite"
)

// pureSQLite answers to the name of the driver that Gitea expects, which needs cgo, and reads its data source names.
type pureSQLite struct{ driver sqlite.Driver }

func (p *pureSQLite) Open(name string) (driver.Conn, error) {
	file, _, _ := strings.Cut(name, "?")
	return p.driver.Open(file + "?_txlock=immediate&_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
}

func init() {
	sql.Register("sqlite3", &pureSQLite{})
	setting.EnableSQLite3 = true
	setting.SupportedDatabaseTypes = append(setting.SupportedDatabaseTypes, "sqlite3")
}
GO

export CGO_ENABLED=0 GOFLAGS=-mod=mod
go get "modernc.org/sqlite@$sqlite"
go generate -tags bindata ./modules/migration ./modules/options ./modules/public ./modules/templates
go build -tags bindata -buildvcs=false -trimpath -ldflags "-s -w -X main.Version=${version#v}" -o "$out" .
