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
)

// distribution is distribution's registry on a folder, which can be stopped and started again on one address. The address is
// chosen before the program starts, which cannot report one of its own.
type distribution struct {
	t    *testing.T
	addr string
	conf string
	log  bytes.Buffer
	cmd  *exec.Cmd
	// ended is closed when the program has ended.
	ended <-chan struct{}
}

func newDistribution(t *testing.T) *distribution {
	t.Helper()
	dir := t.TempDir()
	c := &distribution{t: t, addr: freeAddress(t), conf: filepath.Join(dir, "config.yml")}
	write(t, c.conf, "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: "+filepath.Join(dir, "store")+
		"}, delete: {enabled: true}}\nhttp: {addr: "+c.addr+"}\n")
	c.start()
	t.Cleanup(c.stop)
	return c
}

// freeAddress returns an address on loopback on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (c *distribution) start() {
	c.t.Helper()
	c.cmd = exec.Command("registry", "serve", c.conf)
	c.cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.ended = wait(c.cmd)
	eventually(func() bool {
		select {
		case <-c.ended:
			c.t.Fatalf("registry on %s: %s\n%s", c.addr, c.cmd.ProcessState, &c.log)
		default:
		}
		response, err := http.Get("http://" + c.addr + "/v2/")
		if err == nil {
			_ = response.Body.Close()
		}
		return err == nil
	})
}

// wait returns a channel that is closed when a program that was started has ended.
func wait(cmd *exec.Cmd) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	return ended
}

func (c *distribution) stop() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// collect collects garbage as thoroughly as the registry can, which wants it stopped, and returns how many manifests and blobs
// that took.
func (c *distribution) collect() (manifests, blobs int) {
	c.t.Helper()
	c.stop()
	out, err := exec.Command("registry", "garbage-collect", "--delete-untagged", c.conf).CombinedOutput()
	if err != nil {
		c.t.Fatalf("garbage-collect: %v\n%s", err, out)
	}
	c.start()
	return strings.Count(string(out), "manifest eligible for deletion: "), strings.Count(string(out), "blob eligible for deletion: ")
}

// release finds the candidate's tag among a stage's tags: git-<commit>.
func release(stage hydrated) string {
	for _, tag := range stage.Tags {
		if _, found, ok := strings.Cut(tag, ".git-"); ok {
			return "git-" + found
		}
	}
	return ""
}

// shownHistory is what these tests read of `history -o json`.
type shownHistory struct {
	Results []struct {
		Broken     string
		Promotions []struct{ Release, To string }
	}
}

// TestGarbageCollection prunes, collects everything untagged, and finds what is and was live within N, and the whole
// chain of records, as before. In one of the stages, only the tag shows what is live.
func TestGarbageCollection(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	registry := newDistribution(t)
	w := newWorld(t, bin, registry.addr)
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
	w.pushGitOps("promotion")

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
		if output := w.refused("gitops", bin, "rollback", stage, "--to", names[0]); !strings.Contains(output, "not found") {
			t.Errorf("rollback of %s to what was pruned: %s", stage, output)
		}
	}
	w.checkLive(releases + 1)
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
