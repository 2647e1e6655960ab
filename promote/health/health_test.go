package health_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/promote/health"
)

func question() health.Question {
	return health.Question{Repository: repository, Stage: "production", Digest: digest, Pause: time.Millisecond}
}

// An Application says that the digest is healthy only if nothing at all speaks against it.
func TestApplication(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path  string
		value any
		says  string // "" for ready
	}{
		"well":                     {"spec.project", "default", ""},
		"never synced by us":       {"status.operationState", nil, ""},
		"other revision":           {"status.sync.revision", before, "it is at " + before},
		"revision is a tag":        {"status.sync.revision", "production", "it is at production"},
		"no status yet":            {"status", nil, "it is at nothing, sync status nothing, health status nothing"},
		"out of sync":              {"status.sync.status", "OutOfSync", "sync status OutOfSync"},
		"degraded":                 {"status.health", object{"status": "Degraded", "message": "crash\x1b[31m"}, "health status Degraded, crash [31m"},
		"progressing":              {"status.health.status", "Progressing", "health status Progressing"},
		"operation requested":      {"operation", object{"sync": object{}}, "an operation is requested"},
		"operation running":        {"status.operationState.phase", "Running", "an operation is Running"},
		"operation failed":         {"status.operationState", object{"phase": "Failed", "message": "hook"}, "the last operation ended as Failed: hook"},
		"refresh":                  {"metadata.annotations", object{"argocd.argoproj.io/refresh": "hard"}, "a refresh is asked for"},
		"spec changed since":       {"spec.source.path", "other", "its status is of an older spec"},
		"moved to another cluster": {"spec.destination.server", "https://other", "its status is of an older spec"},
		"destination by name":      {"spec.destination", object{"name": "in-cluster", "namespace": "web"}, ""},
		"empty fields":             {"spec.source.helm", object{"parameters": []any{}}, ""},
		"older generation":         {"status.observedGeneration", 39, "its status is of an older generation"},
		"being deleted":            {"metadata.deletionTimestamp", "2026-03-22T12:00:00Z", "it is being deleted"},
		"status of another type":   {"status", "Healthy", "it is at nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.served[applications] = []object{change(app("web", "production"), c.path, c.value)}
			q := question()
			q.Applications = []health.Name{{Namespace: "argocd", Name: "web"}}
			check(t, a, q, c.says)
		})
	}
}

func TestFlux(t *testing.T) {
	t.Parallel()
	condition := func(fields object) []any { return []any{fields} }
	for name, c := range map[string]struct {
		of    string
		path  string
		value any
		says  string
	}{
		"well":                         {"repository", "spec.provider", "generic", ""},
		"revision is the digest":       {"repository", "status.artifact.revision", digest, ""},
		"another tag's digest":         {"repository", "status.artifact.revision", "production@" + before, "it is at production@" + before},
		"digest in the tag":            {"repository", "status.artifact.revision", digest[7:] + "@" + before, "it is at "},
		"repository not ready":         {"repository", "status.conditions", condition(object{"type": "Ready", "status": "False", "message": "denied"}), "Ready is False: denied"},
		"repository changed":           {"repository", "metadata.generation", 4, "its status is of an older generation"},
		"status of older spec":         {"repository", "status.observedGeneration", 2, "its status is of an older generation"},
		"condition of older spec":      {"kustomization", "status.conditions", condition(object{"type": "Ready", "status": "True", "observedGeneration": 1}), "its status is of an older generation"},
		"condition without generation": {"kustomization", "status.conditions", condition(object{"type": "Ready", "status": "True"}), ""},
		"suspended":                    {"repository", "spec.suspend", true, "it is suspended"},
		"applied another":              {"kustomization", "status.lastAppliedRevision", "production@" + before, "it is at production@" + before},
		"unhealthy":                    {"kustomization", "status.conditions", condition(object{"type": "Ready", "status": "False", "message": "health check failed"}), "Ready is False: health check failed"},
		"no conditions":                {"kustomization", "status.conditions", nil, "Ready is nothing"},
		"kustomization changed":        {"kustomization", "metadata.generation", 3, "its status is of an older generation"},
		"kustomization goes":           {"kustomization", "metadata.deletionTimestamp", "2026-03-22T12:00:00Z", "it is being deleted"},
		"health checks without wait":   {"kustomization", "spec", object{"healthChecks": []any{object{"kind": "Deployment"}}, "sourceRef": object{"kind": "OCIRepository", "name": "web", "namespace": "flux-system"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			objects := map[string]object{"repository": fetched("web", "production"), "kustomization": applied("web", "web")}
			change(objects[c.of], c.path, c.value)
			a.served[repositories], a.served[kustomizations] = []object{objects["repository"]}, []object{objects["kustomization"]}
			q := question()
			q.Kustomizations = []health.Name{{Namespace: "flux-system", Name: "web"}}
			check(t, a, q, c.says)
			q.Kustomizations = nil // and by looking for it
			check(t, a, q, c.says)
		})
	}
}

// check asks once; says is what speaks against health, "" for nothing.
func check(t *testing.T, a *api, q health.Question, says string) {
	t.Helper()
	found, err := a.connect(t).Wait(t.Context(), q)
	if says == "" {
		if err != nil || len(found) == 0 {
			t.Errorf("error is %v with %d sources, want them ready", err, len(found))
		}
		return
	}
	var not *health.NotReady
	if !errors.As(err, &not) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("error is %v, want one that is not ready and says %q", err, says)
	}
}

func TestMultipleSources(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	sources := []any{object{"repoURL": "https://git.example.com/values.git"}, object{"repoURL": "oci://" + repository, "targetRevision": "production"}}
	o := change(change(change(app("web", "production"), "spec.source", nil), "spec.sources", sources), "status.sync", object{
		"status": "Synced", "revisions": []any{"1111", digest}, "comparedTo": object{"sources": sources, "source": object{"repoURL": ""}},
	})
	a.served[applications] = []object{o}
	check(t, a, question(), "")
	change(o, "status.sync.revisions", []any{digest[:20], before})
	check(t, a, question(), "it is at")
}

// Sources are found by repository and tag: of several stages in one repository and cluster, only the stage's are asked.
func TestFind(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	foreign := change(app("foreign", "production"), "spec.source.repoURL", "oci://"+repository+"-more")
	staging := change(app("staging", "staging"), "status.health.status", "Degraded")
	a.served[applications] = []object{foreign, staging, app("web", "production")}
	a.served[olderRepos] = []object{fetched("web", "production"), fetched("staging", "staging"), change(fetched("pinned", ""), "spec.ref", object{"digest": digest})}
	a.served[kustomizations] = []object{applied("one", "web"), applied("two", "web"), applied("of-staging", "staging"), applied("three", "pinned"),
		change(applied("git", "web"), "spec.sourceRef.kind", "GitRepository")}
	found, err := a.connect(t).Wait(t.Context(), question())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range found {
		names = append(names, fmt.Sprintf("%s %s/%s", s.Kind, s.Namespace, s.Name))
		if !strings.HasSuffix(s.Revision, digest) || s.Status == "" {
			t.Errorf("%s has the revision %q and status %q", s.Name, s.Revision, s.Status)
		}
	}
	want := `Application.argoproj.io argocd/web
OCIRepository.source.toolkit.fluxcd.io flux-system/web
Kustomization.kustomize.toolkit.fluxcd.io flux-system/one
Kustomization.kustomize.toolkit.fluxcd.io flux-system/two
OCIRepository.source.toolkit.fluxcd.io flux-system/pinned
Kustomization.kustomize.toolkit.fluxcd.io flux-system/three`
	if got := strings.Join(names, "\n"); got != want {
		t.Errorf("found\n%s\nwant\n%s", got, want)
	}
}

// What waiting cannot mend ends the wait at once, however long it may be.
func TestNoWaitingInVain(t *testing.T) {
	t.Parallel()
	named := func(q health.Question) health.Question {
		q.Kustomizations = []health.Name{{Namespace: "flux-system", Name: "web"}}
		return q
	}
	for name, c := range map[string]struct {
		set      func(a *api)
		question health.Question
		want     error
		says     string
	}{
		"nothing installed": {func(*api) {}, question(), health.ErrUnknown, "--application or --flux"},
		"other repository": {func(a *api) {
			a.served[applications] = []object{change(app("web", "production"), "spec.source.repoURL", "oci://ghcr.io/other")}
		}, question(), health.ErrUnknown, repository},
		"no such object": {func(a *api) { a.served[kustomizations] = nil; a.served[kustomizations] = []object{} }, named(question()), health.ErrUnfit, "does not exist"},
		"nothing applies it": {func(a *api) {
			a.served[repositories], a.served[kustomizations] = []object{fetched("web", "production")}, []object{}
		}, question(), health.ErrUnfit, "no Kustomization applies it"},
		"health is not checked": {func(a *api) {
			a.served[repositories] = []object{fetched("web", "production")}
			a.served[kustomizations] = []object{change(applied("web", "web"), "spec.wait", nil)}
		}, question(), health.ErrUnfit, "spec.wait"},
		"applies something else": {func(a *api) {
			a.served[kustomizations] = []object{change(applied("web", "web"), "spec.sourceRef.kind", "GitRepository")}
		}, named(question()), health.ErrUnfit, "its source is not an OCIRepository"},
		"may not list": {func(a *api) { a.refused[applications] = http.StatusForbidden }, question(), nil, "--application"},
		"may not read": {func(a *api) { a.refused[kustomizations] = http.StatusForbidden }, named(question()), nil, "the API says Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			c.set(a)
			c.question.Timeout = time.Minute
			_, err := a.connect(t).Wait(t.Context(), c.question)
			var not *health.NotReady
			if err == nil || errors.As(err, &not) || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error is %v, want %v that says %q", err, c.want, c.says)
			}
		})
	}
}

// The wait goes on over a rollout and an API that fails for a while, and ends with the first look at which all is well.
func TestWait(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.served[applications] = []object{change(change(app("web", "production"), "status.sync.revision", before), "status.health.status", "Progressing")}
	a.after = func(asked int) { // called under the lock
		switch asked {
		case 2:
			change(a.served[applications][0], "status.sync.revision", digest)
		case 3:
			a.refused[applications] = http.StatusInternalServerError
		case 4:
			a.refused = map[string]int{}
		case 6:
			change(a.served[applications][0], "status.health.status", "Healthy")
		}
	}
	q := question()
	q.Applications = []health.Name{{Namespace: "argocd", Name: "web"}}
	q.Timeout = time.Minute
	var reports []string
	q.Report = func(n health.NotReady) { reports = append(reports, n.Error()) }
	found, err := a.connect(t).Wait(t.Context(), q)
	if err != nil || len(found) != 1 || found[0].Revision != digest || found[0].Status != "Synced, Healthy" {
		t.Fatalf("error is %v, found %v", err, found)
	}
	if len(reports) < 3 || !strings.Contains(reports[0], before) || strings.Contains(reports[1], before) {
		t.Errorf("reports are %q", reports)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.served[applications] = []object{change(app("web", "production"), "status.health.status", "Degraded")}
	q := question()
	q.Timeout = 50 * time.Millisecond
	_, err := a.connect(t).Wait(t.Context(), q)
	var not *health.NotReady
	if !errors.As(err, &not) || len(not.States) != 1 || !strings.Contains(err.Error(), "Application.argoproj.io argocd/web: health status Degraded") {
		t.Errorf("error is %v, want the last status", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	q.Timeout = time.Minute
	q.Report = func(health.NotReady) { cancel() }
	if _, err := a.connect(t).Wait(ctx, q); !errors.Is(err, context.Canceled) || errors.As(err, &not) {
		t.Errorf("error is %v, want the cancellation", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	if _, err := a.connect(t).Wait(overdue{ctx}, q); !errors.As(err, &not) || len(not.States) != 1 || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want the last status", err)
	}
	a.refused[applications] = http.StatusInternalServerError
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	if _, err := a.connect(t).Wait(overdue{ctx}, q); err == nil || errors.As(err, &not) || !strings.Contains(err.Error(), "list Application") && !strings.Contains(err.Error(), "read Application") {
		t.Errorf("error is %v, want what the cluster answered", err)
	}
}

// overdue is a context whose deadline passes when it is cancelled.
type overdue struct{ context.Context }

func (o overdue) Err() error {
	if o.Context.Err() != nil {
		return context.DeadlineExceeded
	}
	return nil
}

// A cluster that never answered says nothing about health: that is a failure, and no «not yet».
func TestUnreachable(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	ctx, cancel := context.WithCancel(t.Context())
	a.silent, a.after = true, func(int) { cancel() }
	q := question()
	q.Timeout = time.Minute
	if _, err := a.connect(t).Wait(ctx, q); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}

	a = newAPI(t)
	a.refused[applications] = http.StatusInternalServerError
	q.Timeout = 20 * time.Millisecond
	_, err := a.connect(t).Wait(t.Context(), q)
	var not *health.NotReady
	if err == nil || errors.As(err, &not) {
		t.Errorf("error is %v, want a failure", err)
	}
}

func TestNoSecretInErrors(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	broken := filepath.Join(t.TempDir(), "config")
	text := "apiVersion: v1\nkind: Config\nusers: [{name: u, user: {token: [" + token + "]}}]\n"
	if err := os.WriteFile(broken, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	unauthorized := a.kubeconfig(t)
	data, err := os.ReadFile(unauthorized)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(unauthorized, []byte(strings.Replace(string(data), token, token+"-old", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config health.Config
		says   string
	}{
		"broken":       {health.Config{Kubeconfig: broken}, "config"},
		"absent":       {health.Config{Kubeconfig: broken + ".not"}, ".not"},
		"no context":   {health.Config{Kubeconfig: a.kubeconfig(t), Context: "other"}, "other"},
		"unauthorized": {health.Config{Kubeconfig: unauthorized}, "nauthorized"},
	} {
		cluster, err := health.Connect(c.config)
		if err == nil {
			q := question()
			q.Timeout = time.Minute
			_, err = cluster.Wait(t.Context(), q)
		}
		if err == nil || strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error is %v, want one that says %q and no token", name, err, c.says)
		}
	}
}

func TestParseName(t *testing.T) {
	t.Parallel()
	if n, err := health.ParseName("argocd/web-1.x"); err != nil || n.String() != "argocd/web-1.x" {
		t.Errorf("%v, %v", n, err)
	}
	for _, s := range []string{"", "web", "/web", "argocd/", "argocd/web/x", "argocd/Web", "argocd/..", "a b/c", "argocd/-x"} {
		if n, err := health.ParseName(s); err == nil {
			t.Errorf("%q is taken for %v", s, n)
		}
	}
}

func TestOneLookWithoutTimeout(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.served[applications] = []object{change(app("web", "production"), "status.health.status", "Degraded")}
	q := question()
	q.Applications = []health.Name{{Namespace: "argocd", Name: "web"}}
	check(t, a, q, "Degraded")
	if len(a.asked) != 1 {
		t.Errorf("asked %v, want one request", a.asked)
	}
}
