package e2e

import (
	"archive/tar"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// requireCluster skips the test, or makes sure that all programs of a cluster are there.
func requireCluster(t *testing.T) string {
	t.Helper()
	if os.Getenv("LOCKAGE_CLUSTER") != "1" {
		t.Skip("an API server and controllers take long to build: run `make cluster`")
	}
	return requireReaders(t, "argocd-reader", "etcd", "kube-apiserver", "kubectl", "kustomize-controller", "kyverno", "slsa-verifier", "source-controller")
}

// startCluster starts an API server and the controllers of Flux, and returns the kubeconfig of its administrator. Nothing runs pods,
// and no controller of Kubernetes is there: objects stay as they are applied.
func startCluster(t *testing.T) (kubeconfig string) {
	t.Helper()
	c := services{t: t, dir: t.TempDir()}
	etcd, peers, server := "http://"+freeAddress(t), "http://"+freeAddress(t), freeAddress(t)
	c.start("etcd", "--data-dir", "etcd", "--unsafe-no-fsync", "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers)
	c.writeAccountKey("accounts.pem")
	write(t, c.path("tokens.csv"), password+`,ada,ada,"system:masters"`+"\n")
	c.start("kube-apiserver", "--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", port(server),
		"--cert-dir", "certificates", "--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", "accounts.pem",
		"--service-account-signing-key-file", "accounts.pem", "--token-auth-file", "tokens.csv", "--authorization-mode", "RBAC",
		"--service-cluster-ip-range", "10.0.0.0/24", "--disable-admission-plugins", "ServiceAccount", "--endpoint-reconciler-type", "none")
	kubeconfig = c.path("kubeconfig")
	write(t, kubeconfig, kubeconfigOf("https://"+server, password))
	c.env = []string{"KUBECONFIG=" + kubeconfig}
	w := &world{t: t, dir: c.dir, env: append(os.Environ(), "HOME="+c.dir, c.env[0])}
	eventually(func() bool {
		_, _, err := w.try(".", "kubectl", "get", "--raw", "/readyz")
		return err == nil
	})
	for _, namespace := range []string{"argocd", "ci", "flux-system", "web-production"} {
		w.command(".", "kubectl", "create", "namespace", namespace)
	}
	w.command(".", "kubectl", "apply", "--server-side",
		"-f", moduleFile(t, "source-controller", "github.com/fluxcd/source-controller", "config/crd/bases"),
		"-f", moduleFile(t, "kustomize-controller", "github.com/fluxcd/kustomize-controller", "config/crd/bases"),
		"-f", moduleFile(t, "argocd-reader", "github.com/argoproj/argo-cd/v3", "manifests/crds/application-crd.yaml"))
	c.env = append(c.env, "RUNTIME_NAMESPACE=flux-system")
	files := freeAddress(t)
	c.start("source-controller", "--metrics-addr=0", "--health-addr=0", "--storage-path="+t.TempDir(), "--storage-addr="+files, "--storage-adv-addr="+files)
	c.start("kustomize-controller", "--metrics-addr=0", "--health-addr=0")
	return kubeconfig
}

// writeAccountKey writes the key that signs the tokens of service accounts.
func (s *services) writeAccountKey(name string) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	write(s.t, s.path(name), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
}

// kubeconfigOf returns the kubeconfig of an account.
func kubeconfigOf(server, token string) string {
	return `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "` + server + `", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: ` + token + `}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`
}

// moduleFile returns the path of a file or folder of the module that a program was built from.
func moduleFile(t *testing.T, name, module, path string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	target, err := os.Readlink(program) // to NAME@VERSION+SUM
	if err != nil {
		t.Fatal(err)
	}
	_, version, _ := strings.Cut(filepath.Base(target), "@")
	version, _, _ = strings.Cut(version, "+")
	output, err := exec.Command("go", "mod", "download", "-json", module+"@"+version).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return filepath.Join(decode[struct{ Dir string }](t, string(output)).Dir, path)
}

// TestCluster lets Flux, kubectl, Argo CD's code, Kyverno's and the API server read artifacts in a cluster, by the manifests that docs/consumers
// shows, and attests the health of what Flux deployed.
func TestCluster(t *testing.T) {
	bin := requireCluster(t)
	cluster := startCluster(t)
	for _, kind := range registries { // one after the other, since the pages' names are the same
		t.Run(kind.name, func(t *testing.T) {
			c := newConsumers(t, bin, kind.start(t))
			c.cluster, c.env = true, append(c.env, "KUBECONFIG="+cluster)
			c.read()
			c.readByKyverno() // before deploy promotes the candidate
			c.deploy()
			c.judgeByAdmission()
			for _, kinds := range []string{"kustomizations,ocirepositories", "applications", "validatingadmissionpolicies,validatingadmissionpolicybindings"} {
				c.command(".", "kubectl", "delete", kinds, "--all", "--all-namespaces")
			}
		})
	}
}

// apply creates or changes objects of the cluster.
func (w *world) apply(manifests string) {
	w.t.Helper()
	write(w.t, w.path("apply.yaml"), manifests)
	w.command(".", "kubectl", "apply", "-f", "apply.yaml")
}

// reconcile asks Flux to look at an object, and waits until it did.
func (w *world) reconcile(kind, name string) {
	w.t.Helper()
	requested := rand.Text()
	object := []string{"kubectl", "-n", "flux-system"}
	w.command(".", object[0], append(object[1:], "annotate", "--overwrite", kind, name, "reconcile.fluxcd.io/requestedAt="+requested)...)
	eventually(func() bool {
		return w.command(".", object[0], append(object[1:], "get", kind, name, "-o", "jsonpath={.status.lastHandledReconcileAt}")...) == requested
	})
}

// ociRepository is what a cluster shows of an OCIRepository.
type ociRepository struct {
	Metadata struct{ Generation int64 }
	Status   struct {
		Conditions []struct {
			Type, Status, Message string
			ObservedGeneration    int64
		}
		Artifact *struct{ Revision, URL string }
	}
}

// condition returns the status and message of a condition of the present generation.
func (r ociRepository) condition(kind string) (status, message string) {
	for _, c := range r.Status.Conditions {
		if c.Type == kind && c.ObservedGeneration == r.Metadata.Generation {
			return c.Status, c.Message
		}
	}
	return "", ""
}

// source returns the page's OCIRepository.
func (w *world) source() ociRepository {
	w.t.Helper()
	return decode[ociRepository](w.t, w.command(".", "kubectl", "-n", "flux-system", "get", "ocirepository", "web-production", "-o", "json"))
}

// fluxInCluster applies the OCIRepository and what it needs, and returns what the source-controller makes of it.
func (w *world) fluxInCluster(manifests string) fluxState {
	w.t.Helper()
	var applied []string
	for _, manifest := range strings.Split(manifests, "\n---\n") {
		if !strings.Contains(manifest, "kind: Kustomization\n") {
			applied = append(applied, manifest)
		}
	}
	w.command(".", "kubectl", "-n", "flux-system", "delete", "ocirepository", "web-production", "--ignore-not-found") // and what it stored
	w.apply(strings.Join(applied, "\n---\n"))
	var got fluxState
	var found ociRepository
	eventually(func() bool {
		found = w.source()
		got.Ready, got.Message = found.condition("Ready")
		return got.Ready == "True" && found.Status.Artifact != nil || got.Ready == "False"
	})
	got.Verified, _ = found.condition("SourceVerified")
	if got.Ready == "True" {
		got.Revision, got.Files = found.Status.Artifact.Revision, w.list(found.Status.Artifact.URL)
	}
	return got
}

// list returns the names of the files in an archive of the source-controller.
func (w *world) list(url string) []string {
	w.t.Helper()
	response, err := http.Get(url)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	zip, err := gzip.NewReader(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	files := []string{}
	for reader := tar.NewReader(zip); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			files = append(files, header.Name)
		}
	}
}
