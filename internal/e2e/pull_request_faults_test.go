package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// faultyForge passes requests on to Gitea, Git's too, and fails chosen ones of those to its API.
type faultyForge struct {
	proxy *httputil.ReverseProxy

	mu    sync.Mutex
	at    int  // the request to fail; 0 for none
	lost  bool // it is done, and its answer is lost; else it is not done, nor is any after it
	asked []string
}

func newFaultyForge(t *testing.T, g *giteaServer) (*faultyForge, string) {
	t.Helper()
	target, err := url.Parse(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := &faultyForge{proxy: httputil.NewSingleHostReverseProxy(target)}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, server.URL
}

func (f *faultyForge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/api/") {
		f.proxy.ServeHTTP(w, r)
		return
	}
	f.mu.Lock()
	f.asked = append(f.asked, r.Method+" "+r.URL.Path)
	n, at, lost := len(f.asked), f.at, f.lost
	f.mu.Unlock()
	switch {
	case at > 0 && lost && n == at:
		f.proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case at > 0 && !lost && n >= at:
		panic(http.ErrAbortHandler)
	}
	f.proxy.ServeHTTP(w, r)
}

// fail chooses the request, counted from now on, and forgets those before.
func (f *faultyForge) fail(at int, lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.lost, f.asked = at, lost, nil
}

func (f *faultyForge) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// forgeFails cuts promotions off from the forge at each of their requests to it, and loses each answer, in turn. The next run
// ends as an undisturbed one, and what is live was approved.
func forgeFails(t *testing.T, w *reviewWorld) {
	ada := w.repo.Server.User(t, "ada")
	forge, address := newFaultyForge(t, w.repo.Server)
	w.command("gitops", "git", "remote", "set-url", "origin", strings.Replace(w.repo.As(w.repo.Server.Admin),
		strings.TrimPrefix(w.repo.Server.URL, "http://"), strings.TrimPrefix(address, "http://"), 1))
	for _, lost := range []bool{false, true} {
		for at := 1; ; at++ {
			forge.fail(0, false)
			release := w.release()
			proposal := w.propose("test")
			w.repo.Approve(t, w.last("stage/test").Number, ada, proposal.Commit)

			forge.fail(at, lost)
			said, stderr, _ := w.try("gitops", w.bin, "promote", "test")
			asked := forge.log()
			forge.fail(0, false)
			name := fmt.Sprintf("request %d of %d (lost: %t)", at, len(asked), lost)
			again, stderrAgain, err := w.try("gitops", w.bin, "promote", "test", "--release", release)
			if err != nil {
				t.Fatalf("%s: the next run: %v\n%s%s\nafter\n%s%s", name, err, again, stderrAgain, said, stderr)
			}
			w.command("gitops", w.bin, "verify", "live:test", "--release", release)
			if history := w.command("gitops", w.bin, "history", "test"); strings.Count(history, "promoted "+release) != 1 {
				t.Errorf("%s: history\n%s", name, history)
			}
			if len(asked) < at {
				if at < 4 {
					t.Errorf("only %d requests to the forge: %v", len(asked), asked)
				}
				break
			}
		}
	}
}
