package live_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

func environ() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
	}
}

func run(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir, cmd.Env = dir, environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// counter counts requests.
type counter struct {
	http.Handler
	requests *atomic.Int64
}

func (c counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.requests.Add(1)
	c.Handler.ServeHTTP(w, r)
}

// scene is the production stage of the pipeline web: a registry, a repository with its live ref, and the promoter's key.
type scene struct {
	*testing.T
	repository *oci.Repository
	bare       string // the repository of the live ref
	url        string
	key        *sign.Key
	stage      live.Stage
	requests   atomic.Int64 // of the registry
}

const branch, path = "live/web/production", "apps/web/production"

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, key: testworld.Key(t)}
	reg := registry.New(registry.Options{})
	server := httptest.NewServer(counter{reg, &s.requests})
	t.Cleanup(func() {
		server.Close()
		_ = reg.Close()
	})
	var err error
	client := oci.NewClient(oci.Options{MaxRetryWait: time.Millisecond})
	if s.repository, err = client.Repository(strings.TrimPrefix(server.URL, "http://") + "/acme/web"); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	s.bare = filepath.Join(root, "repo.git")
	run(t, root, "init", "-q", "--bare", s.bare)
	for _, key := range []string{"uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant", "http.receivepack"} {
		run(t, s.bare, "config", key, "true")
	}
	forge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(&cgi.Handler{
			Path: "/bin/sh", Args: []string{"-c", "exec git http-backend"},
			Env:        []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_PROTOCOL=" + r.Header.Get("Git-Protocol"), "GIT_CONFIG_NOSYSTEM=1", "HOME=/nonexistent"},
			InheritEnv: []string{"PATH"},
		}).ServeHTTP(w, r)
	}))
	t.Cleanup(forge.Close)
	s.url = forge.URL + "/repo.git"
	promoter, err := sign.NewVerifier(sign.Identity{Name: "promoter", PublicKey: s.key.PublicKey()})
	if err != nil {
		t.Fatal(err)
	}
	s.stage = live.Stage{
		Claim:      sign.Claim{Pipeline: "web", Stage: "production", Repository: s.repository.Name()},
		Repository: s.repository,
		Resolve: func(ctx context.Context, tag string) (digest.Digest, error) {
			desc, err := s.repository.Resolve(ctx, tag)
			if errors.Is(err, oci.ErrNotFound) {
				return "", nil
			}
			return desc.Digest, err
		},
		Promoter: promoter,
		Remote:   s.remote(),
		Place:    mirror.Place{Branch: branch, Path: path},
	}
	return s
}

// remote is the repository with a cache of its own.
func (s *scene) remote() *git.Remote {
	s.Helper()
	r, err := git.OpenRemote(s.Context(), s.url, git.Options{Dir: s.TempDir(), CacheDir: s.TempDir(), Environ: environ(), Backoff: time.Millisecond})
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// release is a release's artifact.
type release struct {
	predicate.Artifact
	desc  ocispec.Descriptor
	files fstest.MapFS
}

func (s *scene) release(n int) release {
	s.Helper()
	r := release{files: fstest.MapFS{"configmap-web.yaml": {Data: fmt.Appendf(nil, "kind: ConfigMap # %d\n", n)}}}
	a, err := oci.Pack(r.files, nil)
	if err != nil {
		s.Fatal(err)
	}
	if err := s.repository.PushArtifact(s.Context(), a); err != nil {
		s.Fatal(err)
	}
	r.desc = a.Descriptor
	r.Artifact = predicate.Artifact{Release: fmt.Sprintf("git-%040x", n), Digest: a.Descriptor.Digest, Content: a.ContentDigest}
	return r
}

// promotion is what happens to a stage. A test changes it before it happens.
type promotion struct {
	predicate.Promotion
	release release
	key     *sign.Key
	stage   string // that the commit shows
}

// next is the promotion of a release after another one, nil for none.
func (s *scene) next(after *live.Promotion, to release) *promotion {
	p := &promotion{release: to, key: s.key, stage: "production"}
	p.Promotion = predicate.Promotion{
		Claim:  sign.Claim{Pipeline: "web", Stage: "production", Release: to.Release, Repository: s.repository.Name()},
		Action: predicate.Promoted, Sequence: 1, To: to.Artifact,
		Policy: predicate.Policy{Ref: "origin@main", Commit: strings.Repeat("3", 40), File: "lockage.yaml", Digest: digest.FromString("policy")},
		Checks: []predicate.Check{{Name: "signature", Result: "pass", Reason: "signed"}},
		Time:   time.Date(2026, 4, 1, 10, 0, 0, 0, time.UTC),
	}
	if after != nil {
		p.Sequence, p.Previous, p.From = after.Sequence+1, after.Referrer, &after.To
		p.Time = after.Time.Add(time.Hour)
	}
	return p
}

// record signs the record.
func (s *scene) record(p *promotion) *live.Promotion {
	s.Helper()
	statement, err := p.Statement()
	if err != nil {
		s.Fatal(err)
	}
	desc, err := sign.Attest(s.Context(), s.repository, p.release.desc, p.key, statement)
	if err != nil {
		s.Fatal(err)
	}
	return &live.Promotion{Promotion: p.Promotion, Referrer: desc.Digest, Key: p.key.PublicKey().Fingerprint()}
}

// trunk knows no history: promotions ask for none.
type trunk struct{}

func (trunk) IsAncestor(context.Context, string, string) (bool, error) { return false, nil }

// show commits a promotion to the live ref, whatever lies there.
func (s *scene) show(p *promotion, referrer digest.Digest) string {
	s.Helper()
	results, err := mirror.NewWriter(s.remote(), trunk{}, nil).Write(s.Context(), []mirror.Entry{{
		Pipeline: "web", Stage: p.stage, Release: p.To.Release, Branch: branch, Path: path, Record: referrer, Time: p.Time,
		Artifact: s.repository.Reference(p.release.Digest.String()), Content: p.release.Content,
		Source: mirror.Origin{Commit: strings.Repeat("1", 40)}, GitOps: mirror.Origin{Commit: strings.Repeat("3", 40)},
		Tree: func(context.Context) (fs.FS, error) { return p.release.files, nil },
	}})
	if err != nil {
		s.Fatal(err)
	}
	return results[0].Commit
}

func (s *scene) tag(r release) {
	s.Helper()
	if err := s.repository.Tag(s.Context(), r.desc, "production"); err != nil {
		s.Fatal(err)
	}
}

// promote does all of it.
func (s *scene) promote(p *promotion) *live.Promotion {
	s.Helper()
	done := s.record(p)
	done.Commit = s.show(p, done.Referrer)
	s.tag(p.release)
	return done
}

// chain promotes so many releases, and returns all of them, the first at 1.
func (s *scene) chain(n int) []*live.Promotion {
	s.Helper()
	all := []*live.Promotion{nil}
	for i := 1; i <= n; i++ {
		all = append(all, s.promote(s.next(all[i-1], s.release(i))))
	}
	return all
}

// clone is a work tree of the live ref, for what people do by hand; it is pushed by push.
func (s *scene) clone() string {
	s.Helper()
	dir := s.TempDir()
	run(s, dir, "clone", "-q", "-b", branch, s.bare, ".")
	return dir
}

func (s *scene) push(dir, message string) string {
	s.Helper()
	run(s, dir, "add", "-A")
	run(s, dir, "commit", "-q", "-m", message)
	run(s, dir, "push", "-q", "origin", "HEAD")
	return run(s, dir, "rev-parse", "HEAD")
}

func (s *scene) read() live.State {
	s.Helper()
	state, err := live.Read(s.Context(), s.stage)
	if err != nil {
		s.Fatal(err)
	}
	return state
}

// history lists the numbers of the promotions that are visited, and what is wrong.
func (s *scene) history() ([]int, error) {
	var numbers []int
	err := live.History(s.Context(), s.stage, func(p live.Promotion) (bool, error) {
		numbers = append(numbers, p.Sequence)
		return true, nil
	})
	return numbers, err
}
