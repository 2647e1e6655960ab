package health_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lockage/lockage/promote/health"
)

const (
	repository = "ghcr.io/acme/app-manifests"
	digest     = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	before     = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	token      = "very-secret-token"

	applications   = "argoproj.io/v1alpha1/applications"
	repositories   = "source.toolkit.fluxcd.io/v1/ocirepositories"
	olderRepos     = "source.toolkit.fluxcd.io/v1beta2/ocirepositories"
	kustomizations = "kustomize.toolkit.fluxcd.io/v1/kustomizations"
)

// object is an object of the cluster, in the words of its JSON.
type object = map[string]any

// api answers as a Kubernetes API does, as far as objects are read.
type api struct {
	url, ca string

	mu      sync.Mutex
	served  map[string][]object // by group/version/resource; what is not in it is not served
	refused map[string]int      // HTTP status, by group/version/resource
	silent  bool                // it answers no request
	asked   []string            // paths
	after   func(asked int)
}

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{served: map[string][]object{}, refused: map[string]int{}}
	// The client shows no token to a server without TLS.
	server := httptest.NewUnstartedServer(a)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	a.url = server.URL
	a.ca = base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return a
}

// connect reads a kubeconfig file, as users have it.
func (a *api) connect(t *testing.T) *health.Cluster {
	t.Helper()
	cluster, err := health.Connect(health.Config{Kubeconfig: a.kubeconfig(t), UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

func (a *api) kubeconfig(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %s, certificate-authority-data: %s}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: test, context: {cluster: c, user: u}}]
current-context: test
`, a.url, a.ca, token)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r.URL.Path)
	if a.after != nil {
		a.after(len(a.asked))
	}
	if a.silent {
		<-r.Context().Done()
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+token {
		status(w, http.StatusUnauthorized, "Unauthorized", nil)
		return
	}
	// /apis/GROUP/VERSION/RESOURCE or /apis/GROUP/VERSION/namespaces/NAMESPACE/RESOURCE/NAME
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/apis/"), "/")
	namespace, name := "", ""
	if len(parts) == 6 {
		namespace, name = parts[3], parts[5]
		parts = append(parts[:2], parts[4])
	}
	key := strings.Join(parts, "/")
	if code := a.refused[key]; code != 0 {
		status(w, code, http.StatusText(code), object{"kind": parts[2], "group": parts[0]})
		return
	}
	objects, served := a.served[key]
	if !served {
		http.Error(w, "404 page not found", http.StatusNotFound) // the words of an API that has no such group
		return
	}
	if name == "" {
		list := object{"apiVersion": parts[0] + "/" + parts[1], "kind": "List", "metadata": object{}, "items": objects}
		reply(w, http.StatusOK, list)
		return
	}
	for _, o := range objects {
		if m, ok := o["metadata"].(object); ok && m["namespace"] == namespace && m["name"] == name {
			reply(w, http.StatusOK, o)
			return
		}
	}
	status(w, http.StatusNotFound, "NotFound", object{"name": name, "kind": parts[2], "group": parts[0]})
}

func status(w http.ResponseWriter, code int, reason string, details object) {
	reply(w, code, object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
		"message": fmt.Sprintf("the API says %s", reason), "details": details})
}

func reply(w http.ResponseWriter, code int, o object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(o)
}

// change edits an object: path, then the new value; nil removes the field.
func change(o object, path string, value any) object {
	fields := o
	steps := strings.Split(path, ".")
	for _, step := range steps[:len(steps)-1] {
		next, ok := fields[step].(object)
		if !ok {
			next = object{}
			fields[step] = next
		}
		fields = next
	}
	last := steps[len(steps)-1]
	if value == nil {
		delete(fields, last)
	} else {
		fields[last] = value
	}
	return o
}

// app is an Application that has the digest synced and healthy.
func app(name, tag string) object {
	source := func() object {
		return object{"repoURL": "oci://" + repository, "targetRevision": tag, "path": "."}
	}
	destination := func() object { return object{"server": "https://kubernetes.default.svc", "namespace": "web"} }
	return object{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
		"metadata": object{"namespace": "argocd", "name": name, "generation": 40},
		"spec":     object{"source": source(), "destination": destination(), "project": "default"},
		"status": object{
			"sync": object{"status": "Synced", "revision": digest,
				"comparedTo": object{"source": source(), "destination": destination()}},
			"health":         object{"status": "Healthy"},
			"operationState": object{"phase": "Succeeded"},
		},
	}
}

// fetched is an OCIRepository that has the digest, of Flux's source controller.
func fetched(name, tag string) object {
	return object{
		"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
		"metadata": object{"namespace": "flux-system", "name": name, "generation": 3},
		"spec":     object{"url": "oci://" + repository, "ref": object{"tag": tag}},
		"status": object{
			"observedGeneration": 3,
			"artifact":           object{"revision": tag + "@" + digest},
			"conditions":         []any{object{"type": "Ready", "status": "True", "message": "stored artifact", "observedGeneration": 3}},
		},
	}
}

// applied is a Kustomization that has applied it.
func applied(name, from string) object {
	return object{
		"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
		"metadata": object{"namespace": "flux-system", "name": name, "generation": 2},
		"spec":     object{"wait": true, "sourceRef": object{"kind": "OCIRepository", "name": from}},
		"status": object{
			"observedGeneration":  2,
			"lastAppliedRevision": "production@" + digest,
			"conditions":          []any{object{"type": "Ready", "status": "True", "message": "Applied revision", "observedGeneration": 2}},
		},
	}
}
