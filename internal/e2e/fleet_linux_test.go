package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/testworld"
)

const fleetStages = 30

// TestFleet hydrates thirty stages of the chart in the folder LOCKAGE_CHART into an image layout, with nothing cached, and
// prints the processor time and peak memory of all processes beside those of thirty runs of `helm template`. A values file
// that LOCKAGE_VALUES names is part of every stage's.
func TestFleet(t *testing.T) {
	chart := os.Getenv("LOCKAGE_CHART")
	if chart == "" {
		t.Skip("LOCKAGE_CHART names no chart to measure")
	}
	f := newFleet(t, chart)
	upstream := testworld.Consumption{}
	var stdout []byte
	for i := range fleetStages {
		stage := fmt.Sprintf("stage-%02d", i)
		cmd := exec.CommandContext(t.Context(), testworld.Upstream(t, "helm"), "template", "web", chart, "--namespace", "web-"+stage,
			"--kube-version", "1.34", "--include-crds", "-f", filepath.Join(f.dir, "gitops", "values", stage+".yaml"))
		cmd.Env = f.environment()
		var run testworld.Consumption
		stdout, run = testworld.Measure(t, cmd)
		upstream.Add(run)
	}
	objects := len(testworld.Objects(t, bytes.NewReader(stdout)))
	f.pipeline(secrets(stdout))

	for _, action := range []string{"pushed", "unchanged"} {
		cmd := exec.CommandContext(t.Context(), os.Getenv("LOCKAGE_BIN"), "hydrate", "-o", "json", "-C", filepath.Join(f.dir, "gitops"), "--cache-dir", filepath.Join(f.dir, "cache"))
		cmd.Env = f.environment()
		stdout, ours := testworld.Measure(t, cmd)
		if n := bytes.Count(stdout, []byte(`"action": "`+action+`"`)); n != fleetStages {
			t.Fatalf("%d stages are %s\n%.2000s", n, action, stdout)
		}
		t.Logf("%-20s %6.1f s of processor time, %4d MB, %.1f s", "hydrate, "+action, ours.Processor.Seconds(), ours.Memory>>20, ours.Wall.Seconds())
	}
	t.Logf("%-20s %6.1f s of processor time, %4d MB, %.1f s; %d objects", "helm template", upstream.Processor.Seconds(), upstream.Memory>>20, upstream.Wall.Seconds(), objects)
}

// fleet is a source and a GitOps repository with thirty values files.
type fleet struct {
	t   *testing.T
	dir string
}

func newFleet(t *testing.T, chart string) *fleet {
	t.Helper()
	f := &fleet{t, t.TempDir()}
	if err := os.CopyFS(filepath.Join(f.dir, "source", "chart"), os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	common := ""
	if name := os.Getenv("LOCKAGE_VALUES"); name != "" {
		common = read(t, name)
	}
	for i := range fleetStages {
		f.write(fmt.Sprintf("values/stage-%02d.yaml", i), fmt.Sprintf("%s\nglobal: {stage: stage-%02d}\n", common, i))
	}
	return f
}

// environment has a home of its own, without the caches of Helm.
func (f *fleet) environment() []string { return append(os.Environ(), "HOME="+f.t.TempDir()) }

func (f *fleet) write(name, content string) {
	f.t.Helper()
	testworld.Write(f.t, filepath.Join(f.dir, "gitops"), map[string]string{name: content})
}

// pipeline commits the source, and the pipeline that renders it.
func (f *fleet) pipeline(secrets []string) {
	f.t.Helper()
	source, gitops := filepath.Join(f.dir, "source"), filepath.Join(f.dir, "gitops")
	testworld.Git(f.t, source, "init", "-q")
	testworld.Git(f.t, source, "add", "-A", "-f")
	locked := testworld.Lock(string(testworld.Commit(f.t, source, "chart")))
	locked.Packaging.SourceRepo = "file://" + source
	private, public := testworld.KeyFile(f.t)
	f.write("locks/web/current.yaml", string(lock.Format(locked)))
	f.write("locks/web/"+locked.ReleaseID+".yaml", string(lock.Format(locked)))
	f.write("keys/hydrator.pub", public)
	pipeline := fmt.Sprintf(`apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: web
lock: locks/web
artifacts: oci-layout:artifacts
render:
  releaseName: web
  namespace: web-{stage}
  kubeVersion: "1.34"
  values: ["values/{stage}.yaml"]
  hooks: all
  assertImage: false
  allowSecrets: [%s]
sign:
  hydrator: {key: "%s"}
identities:
  hydrator: {key: keys/hydrator.pub}
stages:
`, strings.Join(secrets, ", "), private)
	for i := range fleetStages {
		pipeline += fmt.Sprintf("  - {name: stage-%02d}\n", i)
	}
	f.write("lockage.yaml", pipeline)
	testworld.Git(f.t, gitops, "init", "-q")
	testworld.Commit(f.t, gitops, "stages")
	testworld.Git(f.t, gitops, "remote", "add", "origin", testworld.Bare(f.t, gitops))
	testworld.Git(f.t, gitops, "fetch", "-q", "origin")
}

// secrets names the Secrets in a stream of manifests.
func secrets(stream []byte) (names []string) {
	for document := range bytes.SplitSeq(stream, []byte("\n---")) {
		name := regexp.MustCompile(`(?m)^  name: "?([a-z0-9.-]+)`).FindSubmatch(document)
		if name != nil && regexp.MustCompile(`(?m)^kind: Secret$`).Match(document) {
			names = append(names, string(name[1]))
		}
	}
	return names
}
