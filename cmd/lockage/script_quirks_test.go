package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lockage/lockage/internal/quirks"
)

// TestQuirks runs every verb over registries with one quirk each.
func TestQuirks(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("scripts start registries and git servers")
	}
	for _, name := range quirks.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := scriptParams()
			p.Files = []string{"../../testdata/quirks/verbs.txtar"}
			p.Setup = func(env *testscript.Env) error {
				prunes := "0"
				if name == "no-deletes" {
					prunes = "1"
				}
				env.Vars = append(env.Vars, "QUIRKS="+name, "PRUNES="+prunes)
				return setup(env)
			}
			testscript.Run(t, p)
		})
	}
}

// odd are the registries with quirks, by their address.
var odd sync.Map

// oddRegistry is one that scripts reach by other addresses too.
type oddRegistry struct {
	mu     sync.Mutex
	plain  string // the address of the same registry without quirks
	quirky []*quirks.Registry
}

// quirky returns what puts quirks before a registry's handler at an address, and gives the script's user the password, beside one of
// another team. The tokens come from the same server by another name, as blobs do.
func quirky(ts *testscript.TestScript, host string, names []string) func(http.Handler) http.Handler {
	o := &oddRegistry{}
	plain := &losable{kinds: map[string]int{}}
	server := httptest.NewServer(plain)
	ts.Defer(server.Close)
	o.plain = strings.TrimPrefix(server.URL, "http://")
	odd.Store(host, o)

	entry := func(user, password string) string {
		return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	}
	dir := filepath.Join(ts.Getenv("HOME"), ".docker")
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(os.WriteFile(filepath.Join(dir, "config.json"), fmt.Appendf(nil, `{"auths":{"%s/acm":{"auth":"%s"},"%s/acme":{"auth":"%s"},"%[1]s/other":{"auth":"%[2]s"}}}`,
		host, entry("eve", "wrong"), host, entry(quirks.User, quirks.Password)), 0o600))

	_, port, _ := strings.Cut(host, ":")
	return func(handler http.Handler) http.Handler {
		wrapped, err := quirks.New(handler, quirks.Options{Switches: names, Storage: "localhost:" + port, Tokens: "localhost:" + port})
		ts.Check(err)
		plain.replace(handler)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.quirky = append(o.quirky, wrapped)
		return wrapped
	}
}

// behind returns a reference to the same thing without quirks.
func behind(reference string) string {
	host, path, _ := strings.Cut(reference, "/")
	if known, ok := odd.Load(host); ok {
		o, _ := known.(*oddRegistry)
		return o.plain + "/" + path
	}
	return reference
}

// cmdWrongs prints what clients did that no client may do, and cmdFired the quirks that changed an answer.
func cmdWrongs(ts *testscript.TestScript, neg bool, args []string) {
	printQuirks(ts, neg || len(args) != 0, "wrongs", (*quirks.Registry).Wrongs)
}

func cmdFired(ts *testscript.TestScript, neg bool, args []string) {
	printQuirks(ts, neg || len(args) != 0, "fired", (*quirks.Registry).Fired)
}

func printQuirks(ts *testscript.TestScript, misused bool, usage string, of func(*quirks.Registry) []string) {
	refuse(ts, misused, usage)
	known, ok := odd.Load(ts.Getenv("REGISTRY"))
	refuse(ts, !ok, usage+": the registry has no quirks")
	o, _ := known.(*oddRegistry)
	o.mu.Lock()
	defer o.mu.Unlock()
	var all strings.Builder
	for _, one := range o.quirky {
		for _, line := range of(one) {
			fmt.Fprintln(&all, line)
		}
	}
	_, err := io.WriteString(ts.Stdout(), all.String()) // also if it is empty, so that it is the last stdout
	ts.Check(err)
}
