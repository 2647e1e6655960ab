package hydrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/hydrate/lock"
)

const (
	webDigest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	jobDigest = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

// texts is a package that renders to its documents, and by another seed, or with other keys, to others.
type texts struct {
	documents []string
	random    []string      // nil: it draws no random numbers
	generated []string      // nil: it generates nothing
	renders   *atomic.Int64 // counts renders, if it generates
}

func (p texts) Inputs() []Input { return []Input{{Path: "a"}, {Path: "b", SHA256: [32]byte{1}}} }

func (p texts) Render(_ context.Context, request Request) (Rendered, error) {
	rendered := manifests(p.documents)
	switch {
	case p.random != nil && request.Redraw && len(p.random) == 0:
		return Rendered{}, errors.New("bad luck")
	case p.random != nil && request.Redraw:
		rendered = manifests(p.random)
	case p.generated != nil && !request.Generate:
		return Rendered{}, errors.New("it generates keys")
	case p.generated != nil && p.renders.Add(1) > 1:
		rendered = manifests(p.generated)
	}
	rendered.Random, rendered.Generated = p.random != nil, p.generated != nil
	return rendered, nil
}

func manifests(documents []string) (rendered Rendered) {
	for i, text := range documents {
		rendered.Manifests = append(rendered.Manifests, Manifest{Source: fmt.Sprintf("%c.yaml", 'a'+i), Document: 1, Data: []byte(text)})
	}
	return rendered
}

const (
	deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: web, image: 'ghcr.io/acme/web@" + webDigest + "'}]}}}"
	secret     = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: hunter2}"
)

func stage(documents ...string) Stage {
	return Stage{
		Pipeline: "shop", Name: "staging", Renderer: "text v1", Options: Options{Layout: PerObject},
		Lock:    lock.File{Lock: lock.Lock{Image: lock.Image{Ref: "ghcr.io/acme/web:git-1", Digest: webDigest}}},
		Package: texts{documents: documents},
	}
}

func TestStageRules(t *testing.T) {
	t.Parallel()
	const tagged = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {initContainers: [{name: i, image: 'ghcr.io/acme/web:v1'}], containers: [{name: b, image: busybox}]}"
	for name, c := range map[string]struct {
		stage      Stage
		change     func(*Stage)
		allowances []string
		images     []string
		errs       []string // parts of the error
	}{
		"fine":              {stage: stage(deployment), images: []string{"ghcr.io/acme/web@" + webDigest}},
		"no image":          {stage: stage(secret), errs: []string{webDigest + " occurs in none of the 1 rendered objects", "a.yaml: Secret db"}},
		"no image, allowed": {stage: stage("apiVersion: v1\nkind: Pod\nmetadata: {name: a}"), change: func(s *Stage) { s.Options.AssertImage = AssertNothing }, allowances: []string{"assertImage: false"}},
		"an allowance not needed": {stage: stage(deployment), change: func(s *Stage) {
			s.Options.AssertImage, s.Options.AllowNondeterminism, s.Options.AllowSecrets = AssertNothing, true, []string{"db"}
		}, images: []string{"ghcr.io/acme/web@" + webDigest}},
		"secret allowed": {stage: stage(deployment, secret), change: func(s *Stage) { s.Options.AllowSecrets = []string{"db", "other"} },
			images: []string{"ghcr.io/acme/web@" + webDigest}, allowances: []string{"allowSecrets: db"}},
		"changing": {stage: stage(deployment, secret), change: func(s *Stage) {
			s.Package = texts{documents: []string{deployment, secret}, random: []string{deployment, strings.ReplaceAll(secret, "hunter2", "hunter3")}}
		}, errs: []string{"draw random numbers, which anybody who reads both repositories can compute", "  b.yaml: Secret db: stringData.password\n", "Secrets in the clear", "b.yaml: Secret db\n"}},
		"failing": {stage: stage(deployment), change: func(s *Stage) {
			s.Package = texts{documents: []string{deployment}, random: []string{}}
		}, errs: []string{"\n  with other random numbers the render fails: bad luck\n"}},
		"no object": {stage: stage(deployment), change: func(s *Stage) {
			s.Package = texts{documents: []string{deployment}, random: []string{"kind: Pod"}}
		}, errs: []string{"\n  with other random numbers the render gives no objects: a.yaml: document 1: "}},
		"changing, allowed": {stage: stage(deployment), change: func(s *Stage) {
			s.Package, s.Options.AllowNondeterminism = texts{documents: []string{deployment}, random: []string{deployment + "\nstatus: {a: 1}"}}, true
		}, images: []string{"ghcr.io/acme/web@" + webDigest}, allowances: []string{"nondeterminism: allow"}},
		"generated": {stage: stage(deployment), change: func(s *Stage) {
			s.Package = texts{documents: []string{deployment}, generated: []string{deployment}, renders: new(atomic.Int64)}
		}, errs: []string{"it generates keys"}},
		"generated, allowed": {stage: stage(deployment), change: func(s *Stage) {
			s.Options.AllowNondeterminism, s.Options.AllowSecrets = true, []string{"db"}
			s.Package = texts{documents: []string{deployment, secret}, generated: []string{deployment, strings.ReplaceAll(secret, "hunter2", "hunter3")}, renders: new(atomic.Int64)}
		}, images: []string{"ghcr.io/acme/web@" + webDigest}, allowances: []string{"allowSecrets: db", "nondeterminism: Secret db: stringData.password"}},
		"generated, not used": {stage: stage(deployment), change: func(s *Stage) {
			s.Options.AllowNondeterminism = true
			s.Package = texts{documents: []string{deployment}, generated: []string{deployment}, renders: new(atomic.Int64)}
		}, images: []string{"ghcr.io/acme/web@" + webDigest}},
		"not changing": {stage: stage(deployment), change: func(s *Stage) {
			s.Package = texts{documents: []string{deployment}, random: []string{deployment + " # a comment"}}
		}, images: []string{"ghcr.io/acme/web@" + webDigest}},
		"not pinned": {stage: stage(deployment, tagged), change: func(s *Stage) { s.Options.RequireDigests = true },
			errs: []string{"  b.yaml: Pod a: container b: busybox\n  b.yaml: Pod a: container i: ghcr.io/acme/web:v1\n", "render.requireDigests"}},
		"rewritten": {stage: stage(tagged), change: func(s *Stage) { s.Options.RewriteImages = true },
			images: []string{"busybox", "ghcr.io/acme/web@" + webDigest}},
		"rewritten and pinned": {stage: stage(tagged), change: func(s *Stage) {
			s.Options.RewriteImages, s.Options.RequireDigests = true, true
			s.Lock.Others = []lock.NamedImage{{Name: "box", Image: lock.Image{Ref: "docker.io/library/busybox:1", Digest: jobDigest}}}
		}, images: []string{"busybox@" + jobDigest, "ghcr.io/acme/web@" + webDigest}},
		"schemas": {stage: stage(deployment, secret), change: func(s *Stage) { s.Schemas, s.Options.Validate = noChecker{}, true }, errs: []string{"checked", "Secret db"}},
		"an image missing": {stage: stage(deployment), change: func(s *Stage) {
			s.Lock.Others = []lock.NamedImage{{Name: "job", Image: lock.Image{Ref: "ghcr.io/acme/job:1", Digest: jobDigest}}}
		}, errs: []string{"the locked image " + jobDigest + " occurs in none"}},
		"ambiguous": {stage: stage(tagged), change: func(s *Stage) {
			s.Options.RewriteImages = true
			s.Lock.Others = []lock.NamedImage{{Name: "job", Image: lock.Image{Ref: "ghcr.io/acme/web:job", Digest: jobDigest}}}
		}, errs: []string{"a.yaml: Pod a: the image ghcr.io/acme/web:v1 may be any of several"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := c.stage
			if c.change != nil {
				c.change(&s)
			}
			rendering, err := s.Render(t.Context())
			if (err != nil) != (len(c.errs) > 0) {
				t.Fatal(err)
			}
			for _, part := range c.errs {
				if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("got error:\n%v\nwant in it:\n%s", err, part)
				}
			}
			if diff := cmp.Diff(c.allowances, rendering.Allowances); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.images, rendering.Images); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRewriteKeepsTheOriginal: objects share their documents with those of other stages.
func TestRewriteKeepsTheOriginal(t *testing.T) {
	t.Parallel()
	s := stage("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: b, image: 'ghcr.io/acme/web:v1'}]}")
	s.Decoder = &Decoder{}
	s.Options.AssertImage = AssertNothing
	for _, rewrite := range []bool{false, false, true, false} {
		s.Options.RewriteImages = rewrite
		rendering, err := s.Render(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		data, err := fs.ReadFile(rendering.Tree, "pod-a.yaml")
		if err != nil || strings.Contains(string(data), webDigest) != rewrite {
			t.Errorf("rewrite %t: %v\n%s", rewrite, err, data)
		}
	}
}

// TestWhatIsWrittenCanBeRead renders stages around the bounds on what is decoded: one that is rendered can be read back.
func TestWhatIsWrittenCanBeRead(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("decodes millions of values")
	}
	const meta = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: "
	lines := func(n int) string { return `{a: "` + strings.Repeat(`x\n`, n) + `"}}` }
	for name, c := range map[string]struct{ document, err string }{
		"long list":        {meta + "[" + strings.Repeat("1,", maxMarks/2) + "1]}", "a.yaml: ConfigMap a: more values than can be read back"},
		"list below":       {meta + "[" + strings.Repeat("1,", maxMarks/2-20) + "1]}", ""},
		"lines of a text":  {meta + lines(maxMarks), "more values than can be read back"},
		"far to the right": {meta + strings.Repeat("[", 200) + strings.Repeat("1,", 100_000) + strings.Repeat("]", 200) + "}", "as it is written, and could not be read back"},
		"many objects":     {"{apiVersion: v1, kind: List, items: [" + strings.Repeat(meta+strings.Repeat("[", 200)+strings.Repeat("1,", 40_000)+strings.Repeat("]", 200)+"},", 5) + "]}", "the objects up to here have more than"},
		"text far away":    {meta + strings.Repeat("[", 200) + `"` + strings.Repeat(`x\n`, 100_000) + `"` + strings.Repeat("]", 200) + "}", "as it is written, and could not be read back"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, layout := range []Mode{PerObject, Single} {
				s := stage(c.document)
				s.Options.Layout, s.Options.AssertImage = layout, AssertNothing
				rendering, err := s.Render(t.Context())
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) {
						t.Errorf("%s: %.300v, want %q", layout, err, c.err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				for name, data := range rendering.Tree.Files() {
					if _, err := Objects([]Manifest{{Source: name, Data: data}}); err != nil {
						t.Errorf("%s: %v", layout, err)
					}
				}
			}
		})
	}
}

type noChecker struct{}

func (noChecker) Check([]Object) error { return errors.New("checked") }

// TestEveryFieldIsInTheInputDigest changes each field of a stage, alone, and expects another digest. Fields that are not
// inputs are listed: a new field needs a decision.
func TestEveryFieldIsInTheInputDigest(t *testing.T) {
	t.Parallel()
	noInput := map[string]bool{
		"Decoder": true, "Package": true, // its inputs are
		"Lock.Path": true, "Lock.Data": true, "Lock.Digest": true, // its fields are
		"Lock.Lock.SchemaVersion": true, "Lock.Lock.CreatedAt": true, // they are not of what it means
		"Schemas": true, "Options.Schemas": true, // that they are used is
		"Committed":             true,                                                                                                 // the locked commit is
		"Options.Request.Helm":  true,                                                                                                 // the renderer is
		"Options.Request.Clock": true, "Options.Request.Seed": true, "Options.Request.Redraw": true, "Options.Request.Generate": true, // Render sets them
		"Options.Overlay": true, "Options.Kustomize": true, "Options.Request.Values[0].Path": true, // the content is
	}
	full := func() *Stage {
		s := stage(deployment)
		s.Options.AllowSecrets, s.Absent = []string{"db"}, []string{"gitops/a"}
		s.Lock.Others = []lock.NamedImage{{Name: "job", Image: lock.Image{Ref: "ghcr.io/acme/job:1", Digest: jobDigest}}}
		s.Options.Request = Request{APIVersions: []string{"a/v1"}, Values: []File{{"a", []byte("a")}}, Set: []SetValue{{"a", json.RawMessage("[1]")}}}
		return &s
	}
	base := full().InputDigest()
	if full().InputDigest() != base {
		t.Fatal("equal stages have different digests")
	}
	var changeEach func(path string, find func(*Stage) reflect.Value)
	changeEach = func(path string, find func(*Stage) reflect.Value) {
		if noInput[path] {
			return
		}
		v := find(full())
		switch {
		case v.Type() == reflect.TypeFor[json.RawMessage]():
			s := full()
			if find(s).SetBytes([]byte("[2]")); s.InputDigest() == base {
				t.Errorf("%s is not in the input digest", path)
			}
			return
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				changeEach(strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), func(s *Stage) reflect.Value { return find(s).Field(i) })
			}
			return
		case v.Kind() == reflect.Slice:
			changeEach(path+"[0]", func(s *Stage) reflect.Value { return find(s).Index(0) })
		}
		s := full()
		switch v := find(s); v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Slice:
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		case reflect.Interface:
			v.Set(reflect.ValueOf(noChecker{}))
		case reflect.Uint8:
			v.SetUint(v.Uint() + 1)
		default:
			t.Fatalf("%s: this test cannot change a %s", path, v.Kind())
		}
		if s.InputDigest() == base {
			t.Errorf("%s is not in the input digest", path)
		}
	}
	changeEach("", func(s *Stage) reflect.Value { return reflect.ValueOf(s).Elem() })
}
