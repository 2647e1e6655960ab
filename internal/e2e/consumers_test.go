package e2e

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci/registry"
)

// consumers is a world with the pipeline of docs/consumers, whose first release is live and whose second one was hydrated only.
type consumers struct {
	*world
	live, candidate hydrated // of production
}

// requireReaders skips the test, or makes sure that the programs around the readers' code are there.
func requireReaders(t *testing.T, readers ...string) string {
	t.Helper()
	bin := requireE2E(t)
	for _, reader := range readers {
		if _, err := exec.LookPath(reader); err != nil {
			t.Fatalf("LOCKAGE_E2E=1, but a reader is missing: %v; run `make e2e`", err)
		}
	}
	return bin
}

// page returns the files that a page of docs/consumers shows, by name, for this world.
func (w *world) page(name string) map[string]string {
	w.t.Helper()
	files := map[string]string{}
	for _, step := range testworld.Steps(read(w.t, "../../docs/consumers/"+name+".md")) {
		maps.Copy(files, step.Files)
	}
	key := strings.TrimSpace(read(w.t, w.path("promote-production.pub")))
	for path, content := range files {
		content = strings.ReplaceAll(content, "ghcr.io/", w.registry+"/")
		files[path] = shownKey.ReplaceAllStringFunc(content, func(shown string) string {
			indent := shownKey.FindStringSubmatch(shown)[1]
			return indent + strings.ReplaceAll(key, "\n", "\n"+indent) + "\n"
		})
	}
	return files
}

var shownKey = regexp.MustCompile(`(?m)^( *)-----BEGIN PUBLIC KEY-----\n *…\n *-----END PUBLIC KEY-----\n`)

// fluxAsks is what the OCIRepository of Flux's page asks for.
const fluxAsks = "ref: {tag: production}"

// other returns a manifest with one thing replaced, which has to be in it.
func other(t *testing.T, manifest, old, changed string) string {
	t.Helper()
	if !strings.Contains(manifest, old) {
		t.Fatalf("%q is not in\n%s", old, manifest)
	}
	return strings.ReplaceAll(manifest, old, changed)
}

func newConsumers(t *testing.T, bin, registry string) *consumers {
	t.Helper()
	w := newWorld(t, bin, registry)
	for _, stage := range []string{"staging", "production"} {
		w.promoterKey(stage)
	}
	w.env = append(w.env, "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"))
	write(t, w.path("gitops", "lockage.yaml"), w.page("README")["lockage.yaml"])
	write(t, w.path("source", "k8s/web/Chart.yaml"), "apiVersion: v2\nname: web\nversion: 1.0.0\n")
	write(t, w.path("source", "k8s/web/values.yaml"), "image: \"\"\nenabled: true\n")
	write(t, w.path("source", "k8s/web/templates/web.yaml"), `{{- if .Values.enabled }}
apiVersion: v1
kind: Service
metadata: {name: web, namespace: {{ .Release.Namespace }}}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: {{ .Release.Namespace }}, labels: {release: "one"}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: {{ .Values.image }}}]}
{{- end }}
`)
	c := &consumers{world: w}
	c.lock()
	step := testworld.Steps(read(t, "../../docs/consumers/README.md"))[0]
	w.command("gitops", "bash", "-e", "-o", "pipefail", "-c", step.Shell)
	c.live = c.hydrate()[1]
	template := w.path("source", "k8s/web/templates/web.yaml")
	write(t, template, other(t, read(t, template), `"one"`, `"two"`))
	c.lock()
	c.pushGitOps("release")
	c.candidate = c.hydrate()[1]
	return c
}

// lock releases what the source repository has.
func (c *consumers) lock(args ...string) {
	c.t.Helper()
	c.command("source", "git", "add", "-A")
	c.command("source", "git", "commit", "-q", "--allow-empty", "-m", "web")
	commit := strings.TrimSpace(c.command("source", "git", "rev-parse", "HEAD"))
	image := c.registry + "/acme/web:git-" + commit
	pushImage(c.t, image, commit)
	c.command("gitops", c.bin, append([]string{"lock", "write", "--commit", commit, "--image", image, "--kind", "helm",
		"--source-repo", c.path("source"), "--source-path", "k8s/web"}, args...)...)
}

// TestReaders lets the code of Argo CD, Flux, kubectl and slsa-verifier read artifacts, by the manifests that docs/consumers shows.
func TestReaders(t *testing.T) {
	t.Parallel()
	bin := requireReaders(t, "argocd-reader", "flux-reader", "kubectl-reader", "slsa-verifier")
	for _, kind := range registries {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			newConsumers(t, bin, kind.start(t)).read()
		})
	}
}

// read lets all readers read.
func (c *consumers) read() {
	c.t.Helper()
	c.readBySLSAVerifier()
	shapes := c.shapes()
	c.readByArgoCD(shapes)
	c.readByFlux(shapes)
	c.readFromInside()
}

// readFromInside lets Flux and Argo CD read, from a registry of their own, what a file brought there: by the same manifests with that
// registry's name.
func (c *consumers) readFromInside() {
	c.t.Helper()
	inside := testworld.NewRegistry(c.t, registry.Options{}).Host
	c.command("gitops", c.bin, "copy", "live:production", c.path("web.tar"))
	c.command(".", c.bin, "copy", "web.tar", inside+"/acme/web-manifests")
	flux := other(c.t, c.page("flux")["flux.yaml"], c.registry, inside)
	if got := c.flux(flux); got.Ready != "True" || got.Verified != "True" || got.Revision != "production@"+c.live.Digest {
		c.t.Errorf("Flux refuses what was copied: %+v", got)
	}
	want := objects(c.t, c.command("gitops", c.bin, "pull", "live:production"))
	if got := c.argoCD(other(c.t, c.page("argo-cd")["application.yaml"], c.registry, inside)); !reflect.DeepEqual(got, want) {
		c.t.Errorf("Argo CD reads from the copy\n%v, not\n%v", got, want)
	}
}

func (c *consumers) readBySLSAVerifier() {
	c.t.Helper()
	steps := testworld.Steps(read(c.t, "../../docs/consumers/slsa-verifier.md"))
	shell := strings.ReplaceAll(steps[0].Shell, "ghcr.io/", c.registry+"/")
	c.command("gitops", "bash", "-e", "-o", "pipefail", "-c",
		other(c.t, shell, "cosign verify-attestation", "cosign "+strings.Join(c.cosign("verify-attestation"), " ")))
	repository := c.registry + "/acme/web-manifests"
	refused := func(digest, repository, key string) {
		c.t.Helper()
		c.refused("gitops", "slsa-verifier", "verify-vsa", "--attestation-path", "summary.json", "--subject-digest", digest,
			"--resource-uri", "oci://"+repository+"@"+digest, "--verifier-id", "https://lockage.dev/promoter/v1", "--public-key-path", key)
	}
	refused(c.live.Digest, repository, "keys/promote-staging.pub")
	refused(c.live.Digest, repository+"2", "keys/promote-production.pub")
	refused(c.candidate.Digest, repository, "keys/promote-production.pub")

	// Git has the same envelope.
	type envelope struct {
		Payload, PayloadType string
		Signatures           []struct{ Sig string }
	}
	want, found := decode[envelope](c.t, read(c.t, c.path("gitops", "summary.json"))), false
	c.command("gitops", "git", "fetch", "-q")
	for line := range strings.Lines(c.command("gitops", "git", "show", "origin/stage/production:apps/web/production/deploy/attestations.jsonl")) {
		statement := decode[struct{ DSSEEnvelope envelope }](c.t, line)
		found = found || reflect.DeepEqual(statement.DSSEEnvelope, want)
	}
	if !found {
		c.t.Errorf("the branch does not have the summary %+v", want)
	}
}

// shapes hydrates artifacts of every other shape, and returns them with the files that they hold: all objects in one file, an empty
// stage, an upstream chart.
func (c *consumers) shapes() map[string][]string {
	c.t.Helper()
	common := `apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: NAME
lock: warehouses/NAME
artifacts: ` + c.registry + `/acme/NAME-manifests
sign: {hydrator: {key: env://HYDRATOR_KEY}}
identities: {hydrator: {key: keys/hydrator.pub}}
render: {releaseName: web, namespace: web, kubeVersion: "1.34"}
`
	write(c.t, c.path("gitops", "shapes.yaml"), strings.ReplaceAll(common, "NAME", "shapes")+`stages:
  - {name: single, render: {layout: single, set: {image: "{image}"}}}
  - {name: empty, render: {allowEmpty: true, set: {enabled: false}, assertImage: false}}
`)
	c.lock("-f", "shapes.yaml")
	c.command("source", "helm", "package", "k8s/web", "-d", c.dir)
	c.command(".", "helm", "push", "web-1.0.0.tgz", "oci://"+c.registry+"/charts", "--plain-http")
	write(c.t, c.path("gitops", "chart.yaml"), strings.ReplaceAll(common, "NAME", "chart")+"stages: [{name: chart, render: {set: {image: example.com/web:1}}}]\n")
	c.command("gitops", c.bin, "lock", "discover", "-f", "chart.yaml", "--chart", "oci://"+c.registry+"/charts/web", "--chart-version", "^1")
	c.pushGitOps("shapes")
	made := map[string]string{}
	for _, file := range []string{"shapes.yaml", "chart.yaml"} {
		for _, stage := range c.hydrate("-f", file) {
			made[stage.Stage] = stage.Reference
		}
	}
	return map[string][]string{
		made["single"]: {"manifest.yaml"},
		made["empty"]:  {},
		made["chart"]:  {"deployment-web.yaml", "service-web.yaml"},
	}
}

// TestAdmissionPolicy lets the code of the API server judge the objects that other pages show, and others, by the policies of the page.
func TestAdmissionPolicy(t *testing.T) {
	t.Parallel()
	requireReaders(t, "admission-reader")
	w := &world{t: t, dir: t.TempDir(), env: os.Environ(), registry: "ghcr.io"}
	write(t, w.path("promote-production.pub"), "key")
	w.judgeByAdmission()
}

func (w *world) judgeByAdmission() {
	w.t.Helper()
	write(w.t, w.path("policy.yaml"), w.page("admission-policy")["policy.yaml"])
	source := strings.Split(w.page("flux")["flux.yaml"], "\n---\n")[1] + "\n"
	application, fromGit := w.page("argo-cd")["application.yaml"], w.page("argo-cd")["application-git.yaml"]
	ours, theirs := w.registry+"/acme/", w.registry+"/mallory/"
	if w.cluster {
		w.command(".", "kubectl", "apply", "-f", "policy.yaml")
		for _, object := range []string{source, application} { // policies count some time after they are created
			eventually(func() bool { return w.denial(other(w.t, object, ours, theirs)) != "" })
		}
	}
	for what, object := range map[string]string{
		"the OCIRepository of the page": source, "the Application of the page": application, "the Application that reads Git": fromGit,
		"one with no further source": other(w.t, application, "  source:\n", "  sources: []\n  source:\n"),
		"another kind":               "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: argocd}\n",
	} {
		if denial := w.denial(object); denial != "" {
			w.t.Errorf("%s is denied: %s", what, denial)
		}
	}
	verify := source[strings.Index(source, "  verify:"):]
	for _, denied := range []struct{ object, message string }{
		{other(w.t, source, fluxAsks, "ref: {tag: staging}"), "spec.ref must be"},
		{other(w.t, source, fluxAsks, "ref: {tag: production, semver: '>=0'}"), "spec.ref must be"},
		{other(w.t, source, "  "+fluxAsks+"\n", ""), "spec.ref must be"},
		{other(w.t, source, ours, theirs), "artifacts come from"},
		{other(w.t, source, verify, ""), "spec.verify must name"},
		{other(w.t, source, "name: promote-production", "name: another"), "spec.verify must name"},
		{other(w.t, source, "    secretRef: {name: promote-production}\n", ""), "spec.verify must name"},
		{other(w.t, application, ours, theirs), "a source must be"},
		{other(w.t, fromGit, "stage/production", "main"), "a source must be"},
		{other(w.t, fromGit, "  source:\n", "  sources: []\n  source:\n    plugin: {name: a}\n"), "applied as it is"},
		{other(w.t, other(w.t, application, ours, theirs), "  source:\n", "  sources: []\n  source:\n"), "a source must be"},
		{application + "operation: {sync: {revision: staging}}\n", "an operation can name another source"},
	} {
		if denial := w.denial(denied.object); !strings.Contains(denial, denied.message) {
			w.t.Errorf("want %q, got %q of\n%s", denied.message, denial, denied.object)
		}
	}
	if w.cluster {
		write(w.t, w.path("object.yaml"), application+"operation: {sync: {revision: production}}\n")
		w.command(".", "kubectl", "apply", "--dry-run=server", "-f", "object.yaml",
			"--as=system:serviceaccount:argocd:argocd-application-controller", "--as-group=system:masters")
	}
	for _, object := range otherApplications(w.t, application) {
		if denial := w.denial(object); !strings.Contains(denial, "argo-cd-promoted-only") {
			w.t.Errorf("got %q of\n%s", denial, object)
		}
	}
}

// otherApplications returns Applications that ask for something else than the page's, or for more, in ways that Argo CD follows.
func otherApplications(t *testing.T, application string) []string {
	t.Helper()
	hydrated := "  sourceHydrator:\n    drySource: {repoURL: https://example.com/else.git, targetRevision: main, path: a}\n" +
		"    syncSource: {targetBranch: main, path: a}\n"
	beside := func(line string) string { return other(t, application, "  source:\n", "  source:\n    "+line+"\n") }
	return []string{
		other(t, application, "targetRevision: production", "targetRevision: staging"),
		other(t, application, "  source:\n", "  sources:\n  - repoURL: https://example.com/else.git\n    targetRevision: production\n    path: a\n  source:\n"),
		other(t, application, "  source:\n", hydrated+"  source:\n"),
		beside("chart: another"), beside("helm: {parameters: [{name: image, value: another}]}"),
		beside("kustomize: {images: [another]}"), beside("plugin: {name: another}"),
	}
}

// denial returns why an API server with the policies of the page refuses an object; "" if it does not. It is asked itself in a cluster,
// else its code.
func (w *world) denial(object string) string {
	w.t.Helper()
	write(w.t, w.path("object.yaml"), object)
	program, args, code := "admission-reader", []string{"policy.yaml", "object.yaml"}, 3
	if w.cluster {
		program, args, code = "kubectl", []string{"apply", "--dry-run=server", "-f", "object.yaml"}, 1
	}
	_, stderr, err := w.try(".", program, args...)
	switch {
	case err == nil:
		return ""
	case exitOf(err) != code || !strings.Contains(stderr, "ValidatingAdmissionPolicy"):
		w.t.Fatalf("%v: %s\n%s", err, stderr, object)
	}
	return stderr
}
