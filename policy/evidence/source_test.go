package evidence_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/policy"
	lockagesign "github.com/lockage/lockage/sign"
)

// sources has one source repository.
type sources struct{ remote *git.Remote }

func (s sources) Remote(context.Context, string) (*git.Remote, error) { return s.remote, nil }
func (sources) Remotes(context.Context) ([]string, error)             { return nil, nil }
func (sources) Root() string                                          { return "" }

// developer makes a key of OpenSSH: what signs commits, and the line of its public key.
func developer(t *testing.T) (sign func([]byte) (string, error), public string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(crypto.PrivateKey(key), "")
	if err != nil {
		t.Fatal(err)
	}
	if sign, err = git.SSHSigner(pem.EncodeToMemory(block)); err != nil {
		t.Fatal(err)
	}
	line, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return sign, string(ssh.MarshalAuthorizedKey(line))
}

// The commit is that of the lock, and all keys of an identity count.
func TestSourceIsRead(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := s.push("manifests", "hello")
	bare := testworld.Bare(t, "")
	first, firstKey := developer(t)
	second, secondKey := developer(t)
	unknown, _ := developer(t)
	s.files["keys/developers.pub"] = &fstest.MapFile{Data: []byte(firstKey + secondKey)}
	commit := func(branch string, sign func([]byte) (string, error)) string {
		remote := testworld.Remote(t, bare)
		d, err := remote.Draft(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Replace(t.Context(), "chart", map[string]git.Blob{"Chart.yaml": git.NewBlob([]byte(branch))}); err != nil {
			t.Fatal(err)
		}
		by := git.Signature{Name: "Ada", Email: "ada@example.com"}
		if _, err := d.Commit(git.NewCommit{By: by, When: time.Date(2026, 3, 22, 12, 0, 0, 0, time.UTC), Message: branch, Sign: sign}); err != nil {
			t.Fatal(err)
		}
		if err := remote.Push(t.Context(), git.Update{Branch: branch, Draft: d}); err != nil {
			t.Fatal(err)
		}
		return string(d.Head())
	}
	for name, c := range map[string]struct {
		sign     func([]byte) (string, error)
		signers  []string
		unsigned string
	}{
		"first key":  {first, []string{"developers"}, ""},
		"second key": {second, []string{"developers"}, ""},
		"unknown":    {unknown, nil, ""},
		"unsigned":   {nil, nil, "it has no signature"},
	} {
		r := s.request(p, gate(t, "source", policy.SourceGate{By: []string{"developers"}}))
		r.Declared.Identities["developers"] = pipeline.Identity{Key: "keys/developers.pub"}
		r.Lock.GitCommit = commit(strings.ReplaceAll(name, " ", "-"), c.sign)
		r.Sources = sources{testworld.Remote(t, bare)}
		got := s.collect(r).Source
		if !slices.Equal(slices.Sorted(maps.Keys(got.Signers)), c.signers) || !strings.Contains(got.Unsigned, c.unsigned) || (got.Unsigned == "") != (c.unsigned == "") || (got.By == lockagesign.Author{}) != (c.unsigned != "") {
			t.Errorf("%s: %+v", name, got)
		}
		// Nobody reads the source repository for other gates.
		r.Declared.Gates, r.Sources = nil, nil
		s.collect(r)
	}
}
