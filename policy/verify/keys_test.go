package verify_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// rotation is a scene whose hydrator has another key since the commit rotated: next. Before that, at gitOps, it was the scene's.
type rotation struct {
	*scene
	next *sign.Key
	ref  testworld.Files
}

const rotated = "5555555555555555555555555555555555555555"

func newRotation(t *testing.T) rotation {
	t.Helper()
	r := rotation{scene: newScene(t), next: testworld.Key(t)}
	before := maps.Clone(r.files)
	r.files["keys/hydrator.pub"] = &fstest.MapFile{Data: append(r.next.PublicKey().PEM(), r.key.PublicKey().PEM()...)}
	r.ref = testworld.Files{History: testworld.History{gitOps, rotated}, At: map[string]fs.FS{gitOps: before, rotated: r.files}}
	return r
}

// verify judges what is the candidate.
func (r rotation) verify() policy.Verdict {
	r.t.Helper()
	request := r.request()
	request.PolicyRef = r.ref
	report, err := verify.Artifact(r.t.Context(), request)
	if err != nil {
		r.t.Fatal(err)
	}
	return report.Checks
}

func TestKeysOfTheHydrator(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		former bool // the key that was replaced signs
		gitOps string
		change func(r rotation)
		reason string // of the denial; "" for none
	}{
		"the former key, while it was the first": {former: true, gitOps: gitOps},
		"the former key, since it is not":        {former: true, gitOps: rotated, reason: "is not the first in keys/hydrator.pub now: it was not the first there at commit 555555555555"},
		"the new key":                            {gitOps: rotated},
		"the new key, of an older commit":        {gitOps: gitOps},
		"off the policy ref":                     {former: true, gitOps: feature, reason: "commit 444444444444 is not on origin@main"},
		"a file that was not there":              {former: true, gitOps: gitOps, change: func(r rotation) { r.ref.At[gitOps] = fstest.MapFS{} }, reason: "at commit 333333333333:"},
		"a file that does not load": {former: true, gitOps: gitOps, change: func(r rotation) {
			r.ref.At[gitOps].(fstest.MapFS)["app.yaml"] = &fstest.MapFile{Data: []byte("kind: Pipeline\nnew: key\n")}
		}, reason: "at commit 333333333333:"},
		"a stage that was not there": {former: true, gitOps: gitOps, change: func(r rotation) {
			text := strings.ReplaceAll(testworld.Pipeline("app", r.Host, "hydrator"), "production", "elsewhere")
			r.ref.At[gitOps].(fstest.MapFS)["app.yaml"] = &fstest.MapFile{Data: []byte(text)}
		}, reason: "declares no stage production of a pipeline app"},
		"of a release that was locked later": {former: true, gitOps: gitOps, change: func(r rotation) {
			delete(r.ref.At[gitOps].(fstest.MapFS), "locks/app/"+release+".yaml")
		}, reason: "and " + release + " was not locked so at commit 333333333333"},
		"by the new key, of a release that was locked later": {gitOps: gitOps, change: func(r rotation) {
			delete(r.ref.At[gitOps].(fstest.MapFS), "locks/app/"+release+".yaml")
		}},
		"of a release whose lock was rewritten later": {former: true, gitOps: gitOps, change: func(r rotation) {
			l := testworld.Lock(source)
			l.Packaging.SourcePath = "another"
			testworld.AddLock(r.ref.At[gitOps].(fstest.MapFS), "locks/app", l)
		}, reason: "was not locked so at commit 333333333333"},
		"of a release whose file held another one": {former: true, gitOps: gitOps, change: func(r rotation) {
			at := r.ref.At[gitOps].(fstest.MapFS)
			at["locks/app/"+release+".yaml"] = at["locks/app/git-"+older+".yaml"]
		}, reason: "was not locked so at commit 333333333333"},
		"taken out of the file": {former: true, gitOps: gitOps, change: func(r rotation) {
			r.files["keys/hydrator.pub"] = &fstest.MapFile{Data: r.next.PublicKey().PEM()}
		}, reason: "not signed by hydrator"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRotation(t)
			h := r.honest("production")
			h.gitOps, h.tip, h.key = c.gitOps, gitOps, r.next
			if c.former {
				h.key = r.key
			}
			if c.change != nil {
				c.change(r)
			}
			r.publish(h)
			if got := r.verify(); (got.Result() == policy.Pass) != (c.reason == "") || !strings.Contains(got.Reason(), c.reason) {
				t.Errorf("%s: %s", got.Result(), got.Reason())
			}
		})
	}
}

// What a former key signed beside a provenance of another key does not count.
func TestSignatureOfAFormerKey(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	h := r.honest("production")
	h.gitOps, h.tip = rotated, rotated
	desc := r.push(h, "a")
	former := r.attest(h, desc)
	h.key = r.next
	e := r.attest(h, desc)
	keys, err := verify.KeysOf(r.files, r.declared(t), pipeline.RoleHydrator)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bundles []sign.Bundle // signature and provenance
		counted int
		proven  bool
	}{
		"by the new key":      {e.Bundles, 2, true},
		"by the former one":   {former.Bundles, 0, false},
		"a former signature":  {[]sign.Bundle{former.Bundles[0], e.Bundles[1]}, 1, true},
		"a former provenance": {[]sign.Bundle{e.Bundles[0], former.Bundles[1]}, 1, false},
	} {
		e.Bundles = c.bundles
		h, proven, err := verify.Entry(t.Context(), e, keys, r.ref)
		if err != nil || proven != c.proven || len(h.Statements) != c.counted {
			t.Errorf("%s: %d statements count, proven %v, %v", name, len(h.Statements), proven, err)
		}
	}
}

func (r rotation) declared(t *testing.T) pipeline.Expanded {
	t.Helper()
	declared, err := r.pipelines[0].Expand("production", testworld.Lock(source), r.files)
	if err != nil {
		t.Fatal(err)
	}
	return declared
}

// What a former key says beside what counts changes nothing, whatever it names.
func TestWhatAFormerKeySaysBeside(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	h := r.honest("production")
	h.key = r.next
	desc := r.push(h, "a")
	e := r.attest(h, desc)
	h.key, h.claim.Release = r.key, "../x"
	e.Bundles = append(e.Bundles, r.attest(h, desc).Bundles...)
	keys, err := verify.KeysOf(r.files, r.declared(t), pipeline.RoleHydrator)
	if err != nil {
		t.Fatal(err)
	}
	if got, proven, err := verify.Entry(t.Context(), e, keys, r.ref); err != nil || !proven || len(got.Statements) != 2 {
		t.Errorf("%d statements count, proven %v, %v", len(got.Statements), proven, err)
	}
}

// A failure to read is an error.
func TestKeysThatCannotBeRead(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	r.publish(r.honest("production"))
	request := r.request()
	request.PolicyRef = unread{r.ref}
	if report, err := verify.Artifact(t.Context(), request); !errors.Is(err, errBroken) {
		t.Errorf("got %v, %v", report, err)
	}
}

type unread struct{ testworld.Files }

func (unread) FilesAt(context.Context, string) (fs.FS, error) { return nil, errBroken }

func (unread) PipelineAt(context.Context, string, string) (*pipeline.Pipeline, error) {
	return nil, errBroken
}
