package live_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// scene is the production stage of the pipeline web: a registry, a repository with its live ref, and the promoter's key.
type scene struct {
	*testing.T
	registry   *testworld.Registry
	repository *oci.Repository
	bare       string // the repository of the live ref
	url        string
	key        *sign.Key
	stage      live.Stage
}

const branch, path = "live/web/production", "apps/web/production"

// policy is the policy commit that promotions are judged by, unless a test says otherwise.
var policy = strings.Repeat("3", 40)

func newScene(t *testing.T) *scene {
	t.Helper()
	if testing.Short() {
		t.Skip("a scene runs git for each promotion")
	}
	s := &scene{T: t, registry: testworld.NewRegistry(t, registry.Options{}), bare: testworld.Bare(t, ""), key: testworld.Key(t)}
	s.repository = s.registry.Repository(t, "web")
	s.url = testworld.GitServer(t, s.bare).URL
	s.stage = live.Stage{
		Claim:     sign.Claim{Pipeline: "web", Stage: "production", Repository: s.repository.Name()},
		Artifacts: s.repository,
		Promoter:  s.promoter(s.key),
		PolicyRef: testworld.History{policy},
		Remote:    s.remote(),
		Place:     ledger.Place{Branch: branch, Path: path},
	}
	return s
}

// promoter trusts keys, the current one first.
func (s *scene) promoter(keys ...*sign.Key) verify.Keys {
	s.Helper()
	var identities []sign.Identity
	for i, key := range keys {
		identities = append(identities, sign.Identity{Name: "promoter", PublicKey: key.PublicKey(), Former: i > 0})
	}
	verifier, err := sign.NewVerifier(identities...)
	if err != nil {
		s.Fatal(err)
	}
	return verify.Keys{Verifier: verifier, Identity: "promoter", Pipeline: "web", Stage: "production", File: "lockage.yaml", KeyFile: "keys/promoter.pub"}
}

// remote is the repository with a cache of its own.
func (s *scene) remote() *git.Remote { return testworld.Remote(s, s.url) }

// release is a release's artifact.
type release struct {
	predicate.Artifact
	desc  ocispec.Descriptor
	files fstest.MapFS
}

func (s *scene) release(n int) release {
	s.Helper()
	r := release{files: fstest.MapFS{"configmap-web.yaml": {Data: fmt.Appendf(nil, "kind: ConfigMap # %d\n", n)}}}
	a := testworld.Push(s, s.repository, r.files, nil)
	r.desc = a.Descriptor
	r.Artifact = predicate.Artifact{Release: testworld.Release(n), Digests: oci.Digests{Digest: a.Descriptor.Digest, Content: a.ContentDigest}}
	return r
}

// promotion is what happens to a stage. A test changes it before it happens.
type promotion struct {
	predicate.Promotion
	release release
	key     *sign.Key
	late    func(*predicate.Promotion) // changes the record when commit and tree are known
}

// next is the promotion of a release after another one, nil for none.
func (s *scene) next(after *live.Promotion, to release) *promotion {
	p := &promotion{release: to, key: s.key, late: func(*predicate.Promotion) {}}
	p.Promotion = predicate.Promotion{
		Claim:  sign.Claim{Pipeline: "web", Stage: "production", Release: to.Release, Repository: s.repository.Name()},
		Action: predicate.Promoted, Sequence: 1, To: to.Artifact,
		Policy: predicate.Policy{Ref: "origin@main", Commit: policy, File: "lockage.yaml", Digest: digest.FromString("policy")},
		Checks: []predicate.Check{{Name: "signature", Result: "pass", Reason: "signed"}},
		Time:   time.Date(2026, 4, 1, 10, 0, 0, 0, time.UTC),
	}
	if after != nil {
		p.Sequence, p.Previous, p.From = after.Sequence+1, after.Record, &after.To
		p.Time = after.Time.Add(time.Hour)
	}
	return p
}

// attest signs the record for a commit.
func (s *scene) attest(ctx context.Context, p *promotion, parent, tree git.Hash) (ledger.Statements, error) {
	p.Parent, p.Tree, p.Nonce, p.Beside = string(parent), string(tree), rand.Text(), predicate.Nothing
	p.late(&p.Promotion)
	statement, err := p.Statement()
	if err != nil {
		return ledger.Statements{}, err
	}
	bundle, err := sign.Sign(ctx, p.key, statement)
	return ledger.Statements{Record: bundle.Digest(), Bundles: []sign.Bundle{bundle}}, err
}

// commit makes the live ref show a promotion.
func (s *scene) commit(p *promotion) *live.Promotion {
	s.Helper()
	done := &live.Promotion{Key: p.key.PublicKey().Fingerprint()}
	done.Commit = s.show(p, func(ctx context.Context, parent, tree git.Hash) (ledger.Statements, error) {
		var err error
		done.Statements, err = s.attest(ctx, p, parent, tree)
		return done.Statements, err
	})
	done.Promotion, done.Record = p.Promotion, done.Statements.Record
	return done
}

// show commits a promotion to the live ref, whatever is there; a candidate without statements.
func (s *scene) show(p *promotion, attest func(ctx context.Context, parent, tree git.Hash) (ledger.Statements, error)) string {
	s.Helper()
	at := ledger.Place{Branch: branch, Path: path}
	shown, err := ledger.Shown(s.Context(), s.remote(), at)
	if err != nil {
		s.Fatal(err)
	}
	over := shown.Tree
	change := ledger.Change{
		Artifact: ledger.Artifact{
			Claim: p.Claim, Digests: p.release.Digests,
			Source: ledger.Origin{Commit: strings.Repeat("1", 40)}, GitOps: ledger.Origin{Commit: strings.Repeat("3", 40)},
		},
		Place: at, Time: p.Time,
		Tree: func(context.Context) (fs.FS, error) { return p.release.files, nil },
	}
	if attest != nil {
		change.Promotion = &ledger.Promotion{Attest: attest, Expected: over}
	}
	results, err := ledger.NewWriter(s.remote(), nil).Write(s.Context(), []ledger.Change{change})
	if err != nil {
		s.Fatal(err)
	}
	return results[0].Commit
}

func (s *scene) tag(r release) {
	s.Helper()
	testworld.Tag(s, s.repository, r.desc, "production")
}

// attach attaches a record in the registry.
func (s *scene) attach(p *promotion, done *live.Promotion) {
	s.Helper()
	if _, err := sign.Attach(s.Context(), s.repository, p.release.desc, done.Statements.Bundles...); err != nil {
		s.Fatal(err)
	}
}

// promote does all of it.
func (s *scene) promote(p *promotion) *live.Promotion {
	s.Helper()
	done := s.commit(p)
	s.attach(p, done)
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

// setBack points the live ref at a commit, as a forced push does.
func (s *scene) setBack(commit string) {
	s.Helper()
	testworld.Git(s, s.bare, "update-ref", "refs/heads/"+branch, commit)
}

// clone is a work tree of the live ref, for what people do by hand; it is pushed by push.
func (s *scene) clone() string { return testworld.Clone(s, s.bare, "-b", branch) }

func (s *scene) push(dir, message string) string {
	s.Helper()
	commit := testworld.Commit(s, dir, message)
	testworld.Git(s, dir, "push", "-q", "origin", "HEAD")
	return string(commit)
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
	for p, err := range live.History(s.Context(), s.stage) {
		if err != nil {
			return numbers, err
		}
		numbers = append(numbers, p.Sequence)
	}
	return numbers, nil
}
