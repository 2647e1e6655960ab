package pullrequest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/publish/pullrequest"
	"github.com/lockage/lockage/sign"
)

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {key: %q}\n", name, value)
}

func files(pairs ...string) fstest.MapFS {
	tree := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		tree[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return tree
}

// proposal proposes release n of a stage.
func proposal(n int) pullrequest.Proposal {
	release := fmt.Sprintf("git-%040x", n)
	return pullrequest.Proposal{
		Change: ledger.Change{
			Artifact: ledger.Artifact{
				Claim:   sign.Claim{Pipeline: "web", Stage: "production", Release: release, Repository: "registry.example.com/acme/manifests"},
				Digests: oci.Digests{Digest: digest.Digest("sha256:" + strings.Repeat("b", 64)), Content: digest.Digest("sha256:" + strings.Repeat("c", 64))},
				Source:  ledger.Origin{URL: "https://git.example.com/acme/web", Commit: fmt.Sprintf("%040x", n)},
				GitOps:  ledger.Origin{Commit: fmt.Sprintf("%040x", 50)},
			},
			Place:  ledger.Place{Branch: "stage/production", Path: "apps/web"},
			Review: pipeline.ReviewBranch("web", "production"),
		},
		Commit: fmt.Sprintf("%040x", 100+n),
		On:     fmt.Sprintf("%040x", 1),
		Mirror: &pipeline.Mirror{Labels: []string{"lockage"}},
		Image:  "registry.example.com/acme/web@sha256:" + strings.Repeat("a", 64),
		Changes: func(context.Context) (diff.Changes, error) {
			return pullrequest.Compare(files("a.yaml", configMap("web", "old")), files("a.yaml", configMap("web", "new")))
		},
	}
}

func keep(t *testing.T, f *fake, p pullrequest.Proposal) forge.Ensured {
	t.Helper()
	kept, err := pullrequest.Keep(t.Context(), f, f.found(p.Review), p)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

func asks(t *testing.T, f *fake, want ...string) {
	t.Helper()
	if got := f.asked(); got != strings.Join(want, "\n") {
		t.Errorf("the forge was asked\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	f := &fake{}
	p := proposal(2)
	kept := keep(t, f, p)
	asks(t, f, "status "+p.Commit+" lockage/production success", "ensure "+p.Review)
	if kept.Change != forge.Created || kept.Title != "web/production: "+p.Release {
		t.Errorf("%+v", kept)
	}
	for _, want := range []string{
		"`web/production`", p.Release, "[`" + p.Source.Commit + "`](https://git.example.com/acme/web/commit/" + p.Source.Commit + ")", p.Image, p.Reference(), p.Content.String(),
		"`stage/production@" + p.On + "`", "**Merge this**", "ConfigMap", "old", "new",
	} {
		if !strings.Contains(kept.Body, want) {
			t.Errorf("the text lacks %q:\n%s", want, kept.Body)
		}
	}

	// As it should be: nothing is asked, rendered or compared.
	p.Changes = func(context.Context) (diff.Changes, error) { return diff.Changes{}, errors.New("compared again") }
	f.pulls[0].Body = strings.ReplaceAll(f.pulls[0].Body, "\n", "\r\n") + "\r\n" // as forges do
	if kept = keep(t, f, p); kept.Change != forge.Unchanged || kept.Number != 1 {
		t.Errorf("%+v", kept)
	}
	asks(t, f)

	// A text that was edited is made anew; so is one for another head.
	p.Changes = proposal(2).Changes
	f.pulls[0].Body = strings.Replace(f.pulls[0].Body, "Merge this", "Do not merge this", 1)
	if kept = keep(t, f, p); kept.Change != forge.Updated || strings.Contains(kept.Body, "Do not") {
		t.Errorf("%+v", kept)
	}
	f.asked()
	p.Commit = strings.Repeat("9", 40)
	keep(t, f, p)
	asks(t, f, "status "+p.Commit+" lockage/production success", "edit 1")
}

func TestKeepPromotes(t *testing.T) {
	t.Parallel()
	f := &fake{kind: forge.GitHub}
	p := proposal(1)
	p.Mirror.When, p.Mirror.AutoMerge = pipeline.OnPromote, true
	kept := keep(t, f, p)
	if s := f.statuses[p.Commit]; s.State != forge.Pending || !strings.Contains(s.Description, "not promoted yet") {
		t.Errorf("status %+v", s)
	}
	if !strings.Contains(kept.Body, "do not merge it") || len(kept.Warnings) != 1 {
		t.Errorf("%+v", kept)
	}
	if got := f.asked(); strings.Contains(got, "auto-merge") {
		t.Errorf("the forge is to merge what promotion merges: %s", got)
	}
}

func TestKeepAutoMerge(t *testing.T) {
	t.Parallel()
	f := &fake{kind: forge.Gitea}
	p := proposal(1)
	p.Mirror.AutoMerge = true
	keep(t, f, p)
	if got := f.asked(); !strings.HasSuffix(got, "auto-merge 1") {
		t.Errorf("asked %s", got)
	}
	keep(t, f, p)
	asks(t, f) // Gitea was asked when it was opened
}

// What was closed by hand stays closed with that head; the next release has a pull request of its own.
func TestKeepClosed(t *testing.T) {
	t.Parallel()
	f := &fake{}
	keep(t, f, proposal(1))
	f.pulls[0].State = forge.StateClosed
	f.asked()
	if kept := keep(t, f, proposal(1)); kept.State != forge.StateClosed || kept.Number != 1 {
		t.Errorf("%+v", kept)
	}
	asks(t, f)
	if kept := keep(t, f, proposal(2)); kept.State != forge.StateOpen || kept.Number != 2 {
		t.Errorf("%+v", kept)
	}
}

// The pull request moves on to the next release, and names the gates that people satisfy beside it.
func TestKeepMoves(t *testing.T) {
	t.Parallel()
	f := &fake{}
	keep(t, f, proposal(1))
	p := proposal(2)
	p.Waits = []string{"approval", "change|window"}
	kept := keep(t, f, p)
	if kept.Number != 1 || kept.Change != forge.Updated || kept.Title != "web/production: "+p.Release || !strings.Contains(kept.Body, "`approval`, `change/window`") {
		t.Errorf("%+v", kept)
	}
	f.asked()
	if kept, err := pullrequest.CloseOlder(t.Context(), f, kept.PullRequest, "git-9"); err != nil || kept.State != forge.StateClosed {
		t.Errorf("%+v, %v", kept, err)
	}
	asks(t, f, "comment 1 older", "close 1")
}

func TestKeepFails(t *testing.T) {
	t.Parallel()
	refusal := errors.New("refused")
	if _, err := pullrequest.Keep(t.Context(), &fake{refuse: refusal}, forge.PullRequest{}, proposal(1)); !errors.Is(err, refusal) {
		t.Errorf("%v", err)
	}
	p := proposal(1)
	p.Changes = func(context.Context) (diff.Changes, error) { return diff.Changes{}, refusal }
	f := &fake{}
	if _, err := pullrequest.Keep(t.Context(), f, forge.PullRequest{}, p); !errors.Is(err, refusal) || len(f.pulls) != 0 {
		t.Errorf("%v", err)
	}
	f = &fake{noStatus: &forge.Error{Status: 403}}
	if kept := keep(t, f, proposal(1)); kept.Change != forge.Created || len(kept.Warnings) != 1 {
		t.Errorf("without the right to write statuses: %+v", kept)
	}
	f = &fake{noStatus: &forge.Error{Status: 500}}
	if _, err := pullrequest.Keep(t.Context(), f, forge.PullRequest{}, proposal(1)); err == nil || len(f.pulls) != 0 {
		t.Error("a status that is not there, and a text that says it is")
	}
	if _, err := pullrequest.Keep(t.Context(), &fake{maxBody: 1000}, forge.PullRequest{}, proposal(1)); err == nil {
		t.Error("a text for which there is no room")
	}
}

// Nothing of a manifest or a name takes effect, and the text fits.
func TestTextIsSafe(t *testing.T) {
	t.Parallel()
	const evil = "`</details>--><script>alert(1)</script> @ada #1 [x](https://evil.example) | \n# heading"
	p := proposal(1)
	p.Source.URL = "https://git.example.com/a) [x](https://link.example"
	p.Branch = "stage/a`b|c"
	p.Changes = func(context.Context) (diff.Changes, error) {
		before, after := files(), files()
		for i := range 400 {
			name := fmt.Sprintf("web-%d", i)
			before[name+".yaml"] = &fstest.MapFile{Data: []byte(configMap(name, evil+strings.Repeat("x", 300)))}
			after[name+".yaml"] = &fstest.MapFile{Data: []byte(configMap(name, strings.Repeat("y", 300+i)+evil))}
		}
		return pullrequest.Compare(before, after)
	}
	f := &fake{maxBody: 20_000}
	body := keep(t, f, p).Body
	if len(body) > f.maxBody {
		t.Errorf("%d bytes", len(body))
	}
	for _, bad := range []string{"](https://link.example", "a`b", "b|c", "\n# heading"} {
		if strings.Contains(body, bad) {
			t.Errorf("the text has %q", bad)
		}
	}
	if !strings.Contains(body, "left out") {
		t.Error("what is left out is not counted")
	}
}

// Files on the stage branch that are not Kubernetes objects do not stop a proposal, and its text mentions them.
func TestKeepNotComparable(t *testing.T) {
	t.Parallel()
	p := proposal(1)
	p.Changes = func(context.Context) (diff.Changes, error) {
		return pullrequest.Compare(files("a.yaml", configMap("web", "a"), "b.yaml", configMap("web", "b")), files("a.yaml", configMap("web", "new")))
	}
	if _, err := p.Changes(t.Context()); !errors.Is(err, pullrequest.ErrNotComparable) {
		t.Fatal(err)
	}
	if body := keep(t, &fake{}, p).Body; !strings.Contains(body, "not a set of Kubernetes objects") {
		t.Errorf("%s", body)
	}
}

func TestCloseLanded(t *testing.T) {
	t.Parallel()
	for _, lands := range []bool{true, false} {
		f := &fake{lands: lands}
		p := proposal(1)
		keep(t, f, p)
		f.asked()
		pull, err := pullrequest.CloseLanded(t.Context(), f, f.pulls[0], "abc")
		want, calls := forge.StateClosed, []string{"landed 1 abc", "comment 1 landed", "close 1"}
		if lands {
			want, calls = forge.StateMerged, calls[:1]
		}
		if err != nil || pull.State != want {
			t.Errorf("%+v, %v", pull, err)
		}
		asks(t, f, calls...)
	}
}
