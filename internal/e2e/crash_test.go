package e2e

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"

	"github.com/lockage/lockage/internal/testworld"
)

// maxWrites bounds the loop of TestCrash: a stage takes far fewer requests that write.
const maxWrites = 200

// killer is a registry that can be replaced, but for the application's image, and that kills a process before a chosen write.
type killer struct {
	mu         sync.Mutex
	images     http.Handler
	current    http.Handler
	writes, at int
	kill       func()
}

func (k *killer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	handler := k.current
	if k.images != nil && strings.HasPrefix(r.URL.Path, "/v2/acme/codeai/") {
		handler = k.images
	} else if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if k.writes++; k.writes == k.at {
			k.kill()
			k.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
	}
	k.mu.Unlock()
	handler.ServeHTTP(w, r)
}

// set replaces the registry; before write number at (counted from 1; 0: never) it kills.
func (k *killer) set(registry http.Handler, at int, kill func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current, k.writes, k.at, k.kill = registry, 0, at, kill
}

// newOlareg returns an empty registry.
func newOlareg(t *testing.T, referrers bool) http.Handler {
	t.Helper()
	deletes := true
	conf := config.Config{Storage: config.ConfigStorage{StoreType: config.StoreMem}}
	conf.API.DeleteEnabled, conf.API.Referrer.Enabled = &deletes, &referrers
	registry := olareg.New(conf)
	t.Cleanup(func() { _ = registry.Close() })
	return registry
}

// TestCrash kills the hydration before each of its writes in turn. At no time may the candidate's tag name something that
// does not verify, and the next run must end as an undisturbed one.
func TestCrash(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	for _, referrers := range []bool{true, false} {
		t.Run(fmt.Sprintf("referrers=%t", referrers), func(t *testing.T) {
			t.Parallel()
			k := &killer{images: newOlareg(t, referrers), current: newOlareg(t, referrers)}
			w := newWorld(t, bin, testworld.Serve(t, k).Host)
			repository := w.registry + "/acme/codeai-manifests"

			stage := w.hydrate("staging")[0]
			want := contents(t, repository, stage)
			if len(stage.Tags) != 3 || len(want) != 6 {
				t.Fatalf("three tags, the older signature and bundles of two predicate types were expected: %v, %v", stage.Tags, want)
			}
			k.mu.Lock()
			writes := k.writes
			k.mu.Unlock()
			if writes == 0 || writes > maxWrites {
				t.Fatalf("hydration wrote %d times", writes)
			}
			t.Logf("a hydration of one stage writes %d times", writes)
			for at := 1; at <= writes; at++ {
				cmd := exec.Command(bin, "hydrate", "staging")
				cmd.Dir, cmd.Env = w.path("gitops"), w.env
				k.set(newOlareg(t, referrers), at, func() { _ = cmd.Process.Kill() })
				var killed *exec.ExitError
				if err := cmd.Run(); !errors.As(err, &killed) || killed.Exited() {
					t.Fatalf("write %d of %d: not killed: %v", at, writes, err)
				}
				if _, tagged := contents(t, repository, stage)["staging."+release(stage)]; tagged {
					w.command("gitops", bin, "verify", "staging")
				}
				w.hydrate("staging")
				if got := contents(t, repository, stage); !maps.Equal(got, want) {
					t.Errorf("killed before write %d of %d:\n got %v\nwant %v", at, writes, got, want)
				}
			}
		})
	}
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

// contents lists what a repository holds: the stage's tags with their digests, the older signature, and how many bundles
// of each predicate type the artifact has. Signatures differ from run to run, so they are counted only.
func contents(t *testing.T, repository string, stage hydrated) map[string]string {
	t.Helper()
	repo, err := name.NewRepository(repository)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	tags, err := remote.List(repo)
	var response *transport.Error
	if errors.As(err, &response) && response.StatusCode == http.StatusNotFound {
		return found
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		switch {
		case strings.HasPrefix(tag, stage.Stage+"."):
			descriptor, err := remote.Head(repo.Tag(tag))
			if err != nil {
				t.Fatal(err)
			}
			found[tag] = descriptor.Digest.String()
		case strings.HasSuffix(tag, ".sig"):
			image, err := remote.Image(repo.Tag(tag))
			if err != nil {
				t.Fatal(err)
			}
			manifest, err := image.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			found[tag] = fmt.Sprint(len(manifest.Layers), " signatures")
		}
	}
	index, err := remote.Referrers(repo.Digest(stage.Digest))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, referrer := range manifest.Manifests {
		found["bundle of "+referrer.Annotations["dev.sigstore.bundle.predicateType"]] += "I"
	}
	return found
}

// TestTogether runs hydrations of one commit, and of an older one beside it, at the same time.
func TestTogether(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	for _, kind := range registries {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, bin, kind.start(t))
			w.command("gitops", "git", "worktree", "add", "-q", "--detach", w.path("older"))
			values := w.path("gitops", "apps/codeai/deployments/staging/values.yaml")
			write(t, values, read(t, values)+"replicas: 3\n")
			w.command("gitops", "git", "commit", "-q", "-a", "-m", "newer")
			w.command("gitops", "git", "push", "-q", "origin", "main")
			w.command("gitops", "git", "worktree", "add", "-q", "--detach", w.path("twin"))

			var group sync.WaitGroup
			for _, dir := range []string{"older", "gitops", "twin"} {
				group.Go(func() {
					if stdout, stderr, err := w.try(dir, bin, "hydrate"); err != nil {
						t.Errorf("%s: %v\n%s%s", dir, err, stdout, stderr)
					}
				})
			}
			group.Wait()

			first := w.hydrate()
			for _, stage := range w.hydrate() {
				if stage.Action != "unchanged" {
					t.Errorf("%s is %s after all runs have ended", stage.Stage, stage.Action)
				}
			}
			w.command("gitops", bin, "verify", "staging")
			w.judgeSignatures(first[0])

			older := decode[hydration](t, w.command("older", bin, "hydrate", "--at", "HEAD", "-o", "json"))
			for _, stage := range older.Results[0].Stages {
				want := "unchanged"
				if stage.Stage == "staging" {
					want = "superseded"
				}
				if stage.Action != want {
					t.Errorf("older commit: %s is %s, want %s", stage.Stage, stage.Action, want)
				}
			}
			if again := w.hydrate()[0]; again.Action != "unchanged" || again.Digest != first[0].Digest {
				t.Errorf("the older commit replaced its descendant's candidate: %+v", again)
			}
		})
	}
}
