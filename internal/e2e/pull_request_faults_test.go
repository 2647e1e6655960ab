package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lockage/lockage/internal/testworld"
)

// newFaultyForge passes requests on to Gitea, those of Git too.
func newFaultyForge(t *testing.T, g *giteaServer) *testworld.Server {
	t.Helper()
	target, err := url.Parse(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	return testworld.Serve(t, httputil.NewSingleHostReverseProxy(target))
}

// failAPI fails a request to the API, counted from now on, and forgets those before. If lost, the request is done, and its answer
// is lost; else it is not done, nor is any after it.
func failAPI(forge *testworld.Server, at int64, lost bool) {
	var asked atomic.Int64
	forge.Forget()
	forge.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			switch n := asked.Add(1); {
			case lost && n == at:
				next.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			case !lost && n >= at:
				panic(http.ErrAbortHandler)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// forgeFails cuts promotions off from the forge at each of their requests to it, and loses each answer, in turn. The next run
// ends as an undisturbed one, and what is live was approved. Without LOCKAGE_SOAK=1 it takes every fourth request, and others for
// answers.
func forgeFails(t *testing.T, w *reviewWorld) {
	ada := w.repo.Server.User(t, "ada")
	forge := newFaultyForge(t, w.repo.Server)
	w.command("gitops", "git", "remote", "set-url", "origin", strings.Replace(w.repo.As(w.repo.Server.Admin),
		strings.TrimPrefix(w.repo.Server.URL, "http://"), forge.Host, 1))
	every := int64(4)
	if os.Getenv("LOCKAGE_SOAK") == "1" {
		every = 1
	}
	requests := int64(1) // of a promotion: known when it lost an answer, and went on
	for i, lost := range []bool{true, false} {
		for at := 1 + 2*int64(i)%every; at <= requests; at += every {
			release := w.release()
			proposal := w.propose("test")
			w.repo.Approve(t, w.last("stage/test").Number, ada, proposal.Commit)

			failAPI(forge, at, lost)
			output, stderr, _ := w.try("gitops", w.bin, "promote", "test")
			asked := forge.Requests(" /api/")
			forge.Intercept(nil)
			requests = max(requests, int64(len(asked)))
			name := fmt.Sprintf("request %d of %d (lost: %t)", at, len(asked), lost)
			t.Log(name)
			again, stderrAgain, err := w.try("gitops", w.bin, "promote", "test", "--release", release)
			if err != nil {
				t.Fatalf("%s: the next run: %v\n%s%s\nafter\n%s%s", name, err, again, stderrAgain, output, stderr)
			}
			w.command("gitops", w.bin, "verify", "live:test", "--release", release)
			if history := w.command("gitops", w.bin, "history", "test", "-o", "wide"); strings.Count(history, "promoted "+release) != 1 {
				t.Errorf("%s: history\n%s", name, history)
			}
		}
	}
	if requests < 4 {
		t.Errorf("only %d requests to the forge", requests)
	}
}
