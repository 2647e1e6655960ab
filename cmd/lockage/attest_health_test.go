package main

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestHealthScript runs a script beside those of TestScript, with a cluster.
func TestHealthScript(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("scripts start registries and git servers")
	}
	testscript.Run(t, testscript.Params{
		Files: []string{"testdata/attest-health.txtar"},
		Setup: setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"registry": cmdRegistry,
			"fixture":  cmdFixture,
			"identity": cmdIdentity,
			"stages":   cmdStages,
			"release":  cmdRelease,
			"exits":    cmdExits,
			"json":     cmdJSON,
			"json-env": cmdJSONEnv,
			"cluster":  cmdCluster,
			"expand":   cmdExpand,
		},
	})
}

// cmdCluster starts a Kubernetes API whose lists are the files DIR/RESOURCE.json, and lets $KUBECONFIG name it.
func cmdCluster(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 1, "cluster DIR")
	dir := ts.MkAbs(args[0])
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := os.ReadFile(filepath.Join(dir, filepath.Base(r.URL.Path)+".json"))
		if err != nil || r.Header.Get("Authorization") != "Bearer cluster-token" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(data)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS() // without TLS the client shows no token
	ts.Defer(server.Close)
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	file := ts.MkAbs("kubeconfig")
	writeFile(ts, file, fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %s, certificate-authority-data: %s}}]
users: [{name: u, user: {token: cluster-token}}]
contexts: [{name: test, context: {cluster: c, user: u}}]
current-context: test
`, server.URL, ca))
	ts.Setenv("KUBECONFIG", file)
}

// cmdExpand writes FROM to TO, with variables replaced.
func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 2, "expand FROM TO")
	writeFile(ts, ts.MkAbs(args[1]), os.Expand(strings.TrimSpace(ts.ReadFile(args[0])), ts.Getenv))
}
