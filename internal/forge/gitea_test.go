package forge

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// TestGiteaDuplicates holds what a real Gitea does only now and then: it opens two pull requests at one time. What it does every
// day is tried on a real one, in package e2e.
func TestGiteaDuplicates(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	pull := func(number int, state string) map[string]any {
		side := func(ref string) map[string]any { return map[string]any{"ref": ref, "sha": "c1", "repo_id": 7} }
		return map[string]any{"number": number, "state": state, "head": side(proposal.Head), "base": side(proposal.Base), "title": "x"}
	}
	open := []int{3}
	f.on("GET /api/v1/repos/acme/env/pulls/{base}/{head...}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("base") != proposal.Base || r.PathValue("head") != proposal.Head {
			t.Errorf("asked for %s", r.URL)
		}
		reply(w, 404, map[string]any{"message": "not found"})
	})
	f.on("POST /api/v1/repos/acme/env/pulls", func(w http.ResponseWriter, _ *http.Request) {
		open = append(open, 4, 5) // 3 and 5 are of others
		reply(w, 201, pull(4, "open"))
	})
	f.on("GET /api/v1/repos/acme/env/pulls", func(w http.ResponseWriter, _ *http.Request) {
		var all []any
		for _, number := range slices.Backward(open) {
			all = append(all, pull(number, "open"))
		}
		reply(w, 200, all)
	})
	f.on("PATCH /api/v1/repos/acme/env/pulls/{number}", func(w http.ResponseWriter, r *http.Request) {
		if read(t, r)["state"] == "closed" {
			open = slices.DeleteFunc(open, func(number int) bool { return fmt.Sprint(number) == r.PathValue("number") })
		}
		reply(w, 201, pull(0, "closed"))
	})
	request := Request{Head: proposal.Head, Base: proposal.Base, Title: "x"}
	got, err := f.open(t, Gitea).Ensure(t.Context(), request)
	if err != nil || got.Number != 3 || !slices.Equal(open, []int{3}) {
		t.Errorf("%v: %d is ours, %v are open", err, got.Number, open)
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		path    string // below the host
		want    Kind
		asked   int
		handler func(w http.ResponseWriter, r *http.Request) bool
	}{
		"gitea": {"/acme/env", Gitea, 1, func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/api/v1/version" {
				reply(w, 200, map[string]any{"version": "1.26.0"})
			}
			return r.URL.Path == "/api/v1/version"
		}},
		"gitea below a path": {"/tools/git/acme/env", Gitea, 1, func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/tools/git/api/v1/version" {
				reply(w, 200, map[string]any{"version": "12.0.0+gitea-1.22"})
			}
			return r.URL.Path == "/tools/git/api/v1/version"
		}},
		"gitlab": {"/acme/team/env", GitLab, 2, func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/api/v4/version" {
				reply(w, 401, map[string]any{"message": "401 Unauthorized"})
			}
			return r.URL.Path == "/api/v4/version"
		}},
		"github": {"/acme/env", GitHub, 3, func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("X-GitHub-Enterprise-Version", "enterprise-server@3.17.0")
			return false
		}},
		"none": {"/acme/env", "", 3, func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write([]byte("<html>welcome</html>"))
			return true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				if r.Header.Get("Authorization") != "" {
					t.Errorf("%s with a token", r.URL)
				}
				if !test.handler(w, r) {
					reply(w, 404, map[string]any{"message": "Not Found"})
				}
			}))
			defer server.Close()
			r, err := Open(t.Context(), server.URL+test.path, Options{Token: secret})
			if test.want == "" {
				if err == nil {
					t.Errorf("it is %s", r.Kind())
				}
			} else if err != nil || r.Kind() != test.want {
				t.Errorf("%v, want %s", err, test.want)
			}
			if asked != test.asked {
				t.Errorf("%d requests", asked)
			}
		})
	}
}
