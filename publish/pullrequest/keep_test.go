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
			Review: pipeline.ReviewBranch("web", "production", release),
		},
		Commit: fmt.Sprintf("%040x", 100+n),
		On:     fmt.Sprintf("%040x", 1),
		Mirror: &pipeline.Mirror{Labels: []string{"lockage"}},
		Image:  "registry.example.com/acme/web@sha256:" + strings.Repeat("a", 64),
		Changes: func(context.Context) (diff.Changes, error) {
			return pullrequest.Compare(files("a.yaml", configMap("web", "old")), files("a.yaml", configMap("web", "new")))
		},
		Older: func(other string) bool { return other < release },
	}
}

func keep(t *testing.T, f *fake, p pullrequest.Proposal) pullrequest.Kept {
	t.Helper()
	kept, err := pullrequest.NewKeeper(f).Keep(t.Context(), p)
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
	asks(t, f, "list review/", "status "+p.Commit+" lockage/production success", "ensure "+p.Review)
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

	// As it should be: nothing but the list, and nothing is rendered or compared.
	p.Changes = func(context.Context) (diff.Changes, error) { return diff.Changes{}, errors.New("compared again") }
	f.pulls[0].Body = strings.ReplaceAll(f.pulls[0].Body, "\n", "\r\n") + "\r\n" // as forges do
	if kept = keep(t, f, p); kept.Change != forge.Unchanged || kept.Number != 1 {
		t.Errorf("%+v", kept)
	}
	asks(t, f, "list review/")

	// A text that was edited is made anew; so is one for another head.
	p.Changes = proposal(2).Changes
	f.pulls[0].Body = strings.Replace(f.pulls[0].Body, "Merge this", "Do not merge this", 1)
	if kept = keep(t, f, p); kept.Change != forge.Updated || strings.Contains(kept.Body, "Do not") {
		t.Errorf("%+v", kept)
	}
	f.asked()
	p.Commit = strings.Repeat("9", 40)
	keep(t, f, p)
	asks(t, f, "list review/", "status "+p.Commit+" lockage/production success", "edit 1")
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
	asks(t, f, "list review/") // Gitea was asked when it was opened
}

func TestKeepSupersedes(t *testing.T) {
	t.Parallel()
	f := &fake{}
	for n := range 3 {
		p := proposal(n)
		p.Older = nil
		keep(t, f, p)
	}
	other := proposal(0)
	other.Stage, other.Review, other.Older = "production-eu", pipeline.ReviewBranch("web", "production-eu", other.Release), nil
	keep(t, f, other)
	f.asked()

	k := pullrequest.NewKeeper(f)
	newer := proposal(2).Release
	p := proposal(1)
	p.Older = func(release string) bool { return release != newer }
	kept, err := k.Keep(t.Context(), p)
	if err != nil || len(kept.Superseded) != 1 || kept.Superseded[0] != "https://forge/1" {
		t.Errorf("%+v, %v", kept, err)
	}
	asks(t, f, "list review/", "supersede 1 by 2") // neither the newer one nor another stage's
	if _, err := k.Keep(t.Context(), p); err != nil {
		t.Error(err)
	}
	asks(t, f)
}

// What was closed by hand stays closed, and supersedes nothing.
func TestKeepClosed(t *testing.T) {
	t.Parallel()
	f := &fake{}
	first := proposal(1)
	first.Older = nil
	keep(t, f, first)
	keep(t, f, proposal(2))
	f.pulls[0].State, f.pulls[1].State = forge.StateOpen, forge.StateClosed
	if kept := keep(t, f, proposal(2)); kept.State != forge.StateClosed || len(kept.Superseded) != 0 {
		t.Errorf("%+v", kept)
	}
}

func TestKeepFails(t *testing.T) {
	t.Parallel()
	refusal := errors.New("refused")
	if _, err := pullrequest.NewKeeper(&fake{refuse: refusal}).Keep(t.Context(), proposal(1)); !errors.Is(err, refusal) {
		t.Errorf("%v", err)
	}
	p := proposal(1)
	p.Changes = func(context.Context) (diff.Changes, error) { return diff.Changes{}, refusal }
	f := &fake{}
	if _, err := pullrequest.NewKeeper(f).Keep(t.Context(), p); !errors.Is(err, refusal) || len(f.pulls) != 0 {
		t.Errorf("%v", err)
	}
	f = &fake{noList: refusal}
	k := pullrequest.NewKeeper(f)
	for range 2 {
		if _, err := k.Keep(t.Context(), proposal(1)); !errors.Is(err, refusal) {
			t.Errorf("%v", err)
		}
	}
	asks(t, f, "list review/") // and not once more for each stage
	f = &fake{noStatus: &forge.Error{Status: 403}}
	if kept := keep(t, f, proposal(1)); kept.Change != forge.Created || len(kept.Warnings) != 1 {
		t.Errorf("without the right to write statuses: %+v", kept)
	}
	f = &fake{noStatus: &forge.Error{Status: 500}}
	if _, err := pullrequest.NewKeeper(f).Keep(t.Context(), proposal(1)); err == nil || len(f.pulls) != 0 {
		t.Error("a status that is not there, and a text that says it is")
	}
	if _, err := pullrequest.NewKeeper(&fake{maxBody: 1000}).Keep(t.Context(), proposal(1)); err == nil {
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
		k := pullrequest.NewKeeper(f)
		pull, found, err := k.CloseLanded(t.Context(), p.Review, p.Branch, "abc")
		want, calls := forge.StateClosed, []string{"list review/", "landed 1 abc", "comment 1 landed", "close 1"}
		if lands {
			want, calls = forge.StateMerged, calls[:2]
		}
		if err != nil || !found || pull.State != want {
			t.Errorf("%+v, %t, %v", pull, found, err)
		}
		asks(t, f, calls...)
		if _, found, err := k.CloseLanded(t.Context(), p.Review, p.Branch, "abc"); found || err != nil {
			t.Errorf("a second time: %t, %v", found, err)
		}
		asks(t, f)
	}
}
