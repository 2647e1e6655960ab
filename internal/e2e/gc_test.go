package e2e

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/demo"
)

// collected is distribution's registry on a folder, stopped and started again on one address.
type collected struct {
	t    *testing.T
	addr string
	conf string
	log  bytes.Buffer
	cmd  *exec.Cmd
}

func newCollected(t *testing.T) *collected {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := &collected{t: t, addr: listener.Addr().String(), conf: filepath.Join(dir, "config.yml")}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, c.conf, "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: "+filepath.Join(dir, "store")+
		"}, delete: {enabled: true}}\nhttp: {addr: "+c.addr+"}\n")
	c.start()
	t.Cleanup(c.stop)
	return c
}

func (c *collected) start() {
	c.t.Helper()
	c.cmd = exec.Command("registry", "serve", c.conf)
	c.cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(50 * time.Millisecond) {
		if response, err := http.Get("http://" + c.addr + "/v2/"); err == nil {
			_ = response.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			c.stop()
			c.t.Fatalf("registry does not answer on %s\n%s", c.addr, &c.log)
		}
	}
}

func (c *collected) stop() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// collect collects garbage as thoroughly as the registry can, which wants it stopped, and returns how many manifests and blobs
// that took.
func (c *collected) collect() (manifests, blobs int) {
	c.t.Helper()
	c.stop()
	out, err := exec.Command("registry", "garbage-collect", "--delete-untagged", c.conf).CombinedOutput()
	if err != nil {
		c.t.Fatalf("garbage-collect: %v\n%s", err, out)
	}
	c.start()
	return strings.Count(string(out), "manifest eligible for deletion: "), strings.Count(string(out), "blob eligible for deletion: ")
}

// shownHistory is what these tests read of `history -o json`.
type shownHistory struct {
	Results []struct {
		Broken     string
		Promotions []struct{ Release, To string }
	}
}

// TestGarbageCollection prunes, collects everything untagged, and finds what is and was live within N, and the whole
// chain of records, as before. In one of the stages what is live is told by the tag alone.
func TestGarbageCollection(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	registry := newCollected(t)
	w := newWorld(t, bin, registry.addr)
	w.command(".", bin, "keys", "generate", "promoter")
	write(t, w.path("gitops", "keys/promoter.pub"), read(t, w.path("promoter.pub")))
	w.env = append(w.env, "PROMOTER_KEY="+read(t, w.path("promoter.key")))
	file := w.path("gitops", "lockage.yaml")
	pipeline, _, _ := strings.Cut(read(t, file), "\nsign:")
	write(t, file, pipeline+`
sign:
  hydrator: {key: env://HYDRATOR_KEY}
  promoter: {key: env://PROMOTER_KEY}
identities:
  hydrator: {key: keys/hydrator.pub}
  promoter: {key: keys/promoter.pub}
stages:
  - {name: staging, mirror: {path: "deploy/{stage}"}}
  - {name: test}
`)
	w.command("gitops", "git", "add", "-A")
	w.command("gitops", "git", "commit", "-q", "-m", "promotion")
	w.command("gitops", "git", "push", "-q", "origin", "main")

	const releases, keep = 4, 2
	var digests []map[string]string // of each release, by stage
	var names []string
	for n := range releases {
		if n > 0 {
			w.release()
		}
		digests = append(digests, map[string]string{})
		for _, stage := range w.hydrate() {
			digests[n][stage.Stage] = stage.Digest
			if stage.Stage == "staging" {
				names = append(names, release(stage))
			}
		}
		w.command("gitops", bin, "promote", "staging", "test")
	}
	if manifests, _ := registry.collect(); manifests == 0 {
		t.Error("superseded lists of referrers were expected to go")
	}
	w.checkLive(releases)
	w.command("gitops", bin, "prune", "--keep", "2")
	if manifests, blobs := registry.collect(); blobs == 0 {
		t.Errorf("%d manifests and %d blobs went: prune freed nothing", manifests, blobs)
	}
	w.checkLive(releases)
	for n, of := range digests {
		for stage, digest := range of {
			reference := registry.addr + "/acme/codeai-manifests@" + digest
			_, _, err := w.try("gitops", "crane", "manifest", "--insecure", reference)
			if there := err == nil; there != (n >= releases-keep) {
				t.Errorf("release %d of %s is there: %t", n, stage, there)
			}
		}
	}
	for _, stage := range []string{"staging", "test"} {
		w.command("gitops", bin, "rollback", stage)
		w.command("gitops", bin, "verify", registry.addr+"/acme/codeai-manifests:"+stage)
		if said := w.refused("gitops", bin, "rollback", stage, "--to", names[0]); !strings.Contains(said, "not found") {
			t.Errorf("rollback of %s to what was pruned: %s", stage, said)
		}
	}
	w.checkLive(releases + 1)
}

// release makes another release: a commit of the application, its image, and the lock on the policy ref.
func (w *world) release() {
	w.t.Helper()
	w.command("source", "git", "commit", "-q", "--allow-empty", "-m", "another")
	w.command("source", "git", "push", "-q", "origin", "main")
	commit := strings.TrimSpace(w.command("source", "git", "rev-parse", "HEAD"))
	image := w.registry + "/acme/codeai:git-" + commit
	pushImage(w.t, image, commit)
	w.command("gitops", w.bin, "lock", "write", "--commit", commit, "--image", image, "--kind", "helm",
		"--source-repo", "file://"+w.path("remote", "source.git"), "--source-path", demo.ChartPath)
	w.command("gitops", "git", "add", "-A")
	w.command("gitops", "git", "commit", "-q", "-m", "release")
	w.command("gitops", "git", "push", "-q", "origin", "main")
}

// checkLive proves what is live in the stages, and all their promotions.
func (w *world) checkLive(promotions int) {
	w.t.Helper()
	for _, stage := range []string{"staging", "test"} {
		w.command("gitops", w.bin, "verify", "live:"+stage)
		history := decode[shownHistory](w.t, w.command("gitops", w.bin, "history", stage, "-o", "json")).Results[0]
		if len(history.Promotions) != promotions || history.Broken != "" {
			w.t.Errorf("%s: %d promotions, want %d; %s", stage, len(history.Promotions), promotions, history.Broken)
		}
	}
}
