package pipeline

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/strictyaml"
)

func helmLock() lock.Lock {
	l := sampleLock()
	l.Image.Ref = "ghcr.io/acme/app:v1"
	l.Packaging = lock.Packaging{Kind: lock.Helm, SourcePath: "k8s"}
	return l
}

// quoted is a string as JSON.
func quoted(text string) json.RawMessage { return json.RawMessage(strconv.Quote(text)) }

func TestTypedSet(t *testing.T) {
	t.Parallel()
	files := repo("a.yaml", header+`sourceRepo: https://github.com/acme/app.git
render:
  kubeVersion: "1.34"
  set:
    string: "1"
    number: 1
    big: 9223372036854775807
    bigger: 123456789012345678901234567890
    hex: 0x10
    float: 0.1
    exponent: 1e3
    yes: true
    word: yes
    day: 2026-01-02
    nothing: null
    empty: ~
    list: ["{stage}", 1, null, {deep: "{pipeline}", where: "{stage}"}]
    map: {a.b: 1.50}
    none: {}
`+stages)
	p, err := Load(files, nil, "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	e, err := p[0].Expand("s", helmLock(), files)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range e.Render.Set {
		got[s.Key] = string(s.Value)
	}
	want := map[string]string{
		"string": `"1"`, "number": "1", "big": "9223372036854775807", "bigger": "123456789012345678901234567890", "hex": "16", "float": "0.1",
		"exponent": "1000", "yes": "true", "word": `"yes"`, "day": `"2026-01-02"`, "nothing": "null", "empty": "null",
		"list": `["s",1,null,{"deep":"a","where":"s"}]`, "map": `{"a.b":1.5}`, "none": "{}",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	files := repo("a.yaml", `apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: app
sourceRepo: https://github.com/acme/app.git
lock: locks/{pipeline}
artifacts: ghcr.io/acme/{pipeline}-{stage}
vars: vars/{stage}.yaml
render:
  kubeVersion: "{kube}"
  namespace: app-{stage}
  values: ["env/{env}.yaml", common.yaml]
  set:
    z.image: "{image} {image.ref} {image.repository} {image.tag} {image.digest}"
    z.job: "{images.job} {images.job.ref} {images.job.repository} {images.job.tag} {images.job.digest}"
    a.release: "{release} {commit} {pipeline}"
    json: '{"stage":"{stage}","list":[1],"o":{}} {{stage}} {{ .Values.x }} a{2,3}'
    literal: "{sneaky}"
    size: "{size}"
    owner: default
  assertImage: true
sign: {hydrator: {key: "keys/{stage}.key"}}
identities: {hydrator: {key: "keys/{stage}.pub"}, promoter: {key: keys/p.pub}}
stages:
  - name: test
  - name: prod
    after: [test]
    render:
      releaseName: app
      values: [prod.yaml]
      set: {owner: prod}
      includeCRDs: false
      assertImage: anywhere
      hooks: none
      nondeterminism: allow
      layout: single
      apiVersions: [x/v1]
      allowSecrets: [s]
`,
		"vars/test.yaml", "env: dev\nkube: 1.30\nsneaky: '{image}'\nsize: 0x10\n",
		"vars/prod.yaml", "env: live\nkube: v1.31.2\nsneaky: ''\nsize: yes\nnested: {a: b}\n")
	pipelines, err := Load(files, nil, "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, l := pipelines[0], helmLock()
	l.Others = []lock.NamedImage{{Name: "job", Image: lock.Image{Ref: "ghcr.io/acme/job:v2", Digest: l.Image.Digest}}}
	if p.Lock != "locks/app" {
		t.Errorf("lock is %s", p.Lock)
	}
	set := func(stage, literal, owner, size string) []hydrate.SetValue {
		return []hydrate.SetValue{
			{Key: "a.release", Value: quoted(l.ReleaseID + " " + l.GitCommit + " app")},
			{Key: "json", Value: quoted(`{"stage":"` + stage + `","list":[1],"o":{}} {{stage}} {{ .Values.x }} a{2,3}`)},
			{Key: "literal", Value: quoted(literal)},
			{Key: "owner", Value: quoted(owner)},
			{Key: "size", Value: quoted(size)},
			{Key: "z.image", Value: quoted(l.Image.Pinned() + " ghcr.io/acme/app:v1 ghcr.io/acme/app v1 " + l.Image.Digest.String())},
			{Key: "z.job", Value: quoted(l.Others[0].Pinned() + " ghcr.io/acme/job:v2 ghcr.io/acme/job v2 " + l.Image.Digest.String())},
		}
	}
	for stage, want := range map[string]Expanded{
		"test": {
			Pipeline: "app", File: "a.yaml", Stage: "test", Argument: "test", Repository: "ghcr.io/acme/app-test", SourceRepo: "https://github.com/acme/app.git",
			Render: hydrate.Options{Request: hydrate.Request{ReleaseName: "test", Namespace: "app-test", KubeVersion: "1.30",
				Set: set("test", "{image}", "default", "0x10"), IncludeCRDs: true, Hooks: hydrate.HooksDeploy}, Layout: hydrate.PerObject},
			Values:     []ValuesFile{{File: "env/dev.yaml", Pos: strictyaml.Pos{File: "a.yaml", Line: 11, Column: 12}}, {File: "common.yaml", Pos: strictyaml.Pos{File: "a.yaml", Line: 11, Column: 30}}},
			Ledger:     Ledger{"origin", "live/app/test", "candidates/app"},
			Sign:       Sign{Hydrator: &Signer{Key: "keys/test.key"}},
			Identities: map[string]Identity{"hydrator": {Key: "keys/test.pub"}, "promoter": {Key: "keys/p.pub"}},
		},
		"prod": {
			Pipeline: "app", File: "a.yaml", Stage: "prod", Argument: "prod", Repository: "ghcr.io/acme/app-prod", SourceRepo: "https://github.com/acme/app.git",
			Render: hydrate.Options{Request: hydrate.Request{ReleaseName: "app", Namespace: "app-prod", KubeVersion: "v1.31.2", APIVersions: []string{"x/v1"},
				Set: set("prod", "", "prod", "yes"), Hooks: hydrate.HooksNone}, AllowNondeterminism: true, AllowSecrets: []string{"s"}, Layout: hydrate.Single, AssertImage: hydrate.AssertAnywhere},
			Values:     []ValuesFile{{File: "prod.yaml", Pos: strictyaml.Pos{File: "a.yaml", Line: 29, Column: 16}}},
			Ledger:     Ledger{"origin", "live/app/prod", "candidates/app"},
			Sign:       Sign{Hydrator: &Signer{Key: "keys/prod.key"}},
			Identities: map[string]Identity{"hydrator": {Key: "keys/prod.pub"}, "promoter": {Key: "keys/p.pub"}},
		},
	} {
		got, err := p.Expand(stage, l, files)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", stage, diff)
		}
	}
	l.Packaging.SourceRepo = "https://example.com/other.git"
	if got, err := p.Expand("test", l, files); err != nil || got.SourceRepo != l.Packaging.SourceRepo {
		t.Errorf("source repository is %q, %v", got.SourceRepo, err)
	}
}

func TestExpandDefaults(t *testing.T) {
	t.Parallel()
	files := repo("a.yaml", header+"mirror: {path: p}\nrender: {kubeVersion: \"1.34\"}\n"+stages)
	p, err := loader{files: files, loaded: &loaded{kinds: someKinds()}}.load([]string{"a.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	l := helmLock()
	l.Packaging.SourceRepo = "https://github.com/acme/app.git"
	got, err := p[0].Expand("s", l, files)
	if err != nil {
		t.Fatal(err)
	}
	want := hydrate.Options{Request: hydrate.Request{ReleaseName: "s", KubeVersion: "1.34", IncludeCRDs: true, Hooks: hydrate.HooksDeploy},
		Layout: hydrate.PerObject}
	if diff := cmp.Diff(want, got.Render); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&Mirror{Remote: "origin", Branch: "stage/s", Path: "p", When: OnHydrate, Review: NoReview}, got.Mirror); diff != "" {
		t.Error(diff)
	}
	// The input digest holds these bytes: they change for a reason only.
	const stable = `{"ReleaseName":"s","Namespace":"","KubeVersion":"1.34","IncludeCRDs":true,"Hooks":"deploy","Layout":"per-object",` +
		`"AssertImage":"","RewriteImages":false,"RequireDigests":false,"AllowNondeterminism":false,"Validate":false}`
	if data, err := json.Marshal(got.Render); err != nil || string(data) != stable {
		t.Errorf("options are encoded as %s, %v", data, err)
	}
}

func TestExpandForKustomize(t *testing.T) {
	t.Parallel()
	files := repo("a.yaml", header+"stages:\n  - {name: none}\n  - {name: overlay, render: {overlay: \"apps/{stage}\", namespace: n}}\n"+
		"  - {name: generated, render: {kustomize: {}}}\n")
	p, err := Load(files, nil, "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l := helmLock()
	l.Packaging.Kind, l.Packaging.SourceRepo = lock.Kustomize, "https://github.com/acme/app.git"
	if _, err := p[0].Expand("none", l, files); err == nil || !strings.Contains(err.Error(), "render.overlay or render.kustomize is missing for stage none") {
		t.Errorf("neither overlay nor kustomize: %v", err)
	}
	overlay, err := p[0].Expand("overlay", l, files)
	if err != nil || overlay.Render.Overlay != "apps/overlay" || overlay.Render.Namespace != "n" {
		t.Errorf("overlay %q in namespace %q, %v", overlay.Render.Overlay, overlay.Render.Namespace, err)
	}
	generated, err := p[0].Expand("generated", l, files)
	if err != nil || generated.Render.Kustomize == nil || generated.Render.Namespace != "" {
		t.Errorf("kustomize %v in namespace %q, %v", generated.Render.Kustomize, generated.Render.Namespace, err)
	}
}

func TestExpandRefuses(t *testing.T) {
	t.Parallel()
	files := repo("a.yaml", header+"sourceRepo: https://x/y\nrender:\n  set: {tag: \"{image.tag}\"}\nstages:\n  - name: s\n  - name: t\n    render: {kubeVersion: \"1.34\", set: {tag: x}}\n  - name: v\n    render: {kubeVersion: \"1.34\", validate: true}\n",
		"b.yaml", strings.Replace(header, "name: a", "name: b", 1)+"vars: v.yaml\nrender: {kubeVersion: \"1.34\", set: {x: \""+strings.Repeat("{v}", 100)+"\"}}\n"+stages,
		"c.yaml", strings.Replace(header, "name: a", "name: c", 1)+"sourceRepo: https://x/y\nrender:\n  kubeVersion: \"1.34\"\n  set: {tag: \"{images.job.tag}\"}\nstages:\n  - name: s\n  - {name: t, render: {set: {tag: \"{images.jobs}\"}}}\n",
		"v.yaml", "v: x")
	load := func(name string) *Pipeline {
		p, err := Load(files, nil, name)
		if err != nil {
			t.Fatal(err)
		}
		return p[0]
	}
	a, b := load("a.yaml"), load("b.yaml")
	untagged, tagged := helmLock(), helmLock()
	untagged.Others, tagged.Others = nil, nil
	untagged.Image.Ref = "ghcr.io/acme/app"
	further := helmLock()
	further.Others = []lock.NamedImage{{Name: "job", Image: lock.Image{Ref: "ghcr.io/acme/job", Digest: further.Image.Digest}}, {Name: "web", Image: further.Image}}
	c := load("c.yaml")
	files["v.yaml"].Data = []byte("v: " + strings.Repeat("x", 1000))
	for want, test := range map[string]struct {
		p     *Pipeline
		stage string
		lock  lock.Lock
	}{
		`a.yaml:8:14: placeholder {image.tag} has no value: the locked image "ghcr.io/acme/app" has no tag`:                                           {a, "s", untagged},
		`c.yaml:9:14: placeholder {images.job.tag} has no value: the locked image "ghcr.io/acme/job" has no tag`:                                      {c, "s", further},
		`c.yaml:9:14: placeholder {images.job.tag} has no value: the lock of git-0000000000000000000000000000000000000000 has no further images`:      {c, "s", tagged},
		`c.yaml:12:35: placeholder {images.jobs} has no value: images of the lock of git-0000000000000000000000000000000000000000 are named job, web`: {c, "t", further},
		`a.yaml:8:3: render.kubeVersion is missing for stage s: write the clusters' version, as kubeVersion: "1.34"`:                                  {a, "s", tagged},
		`pipeline a has no stage "x": it has s, t, v`: {a, "x", tagged},
		"a.yaml:14:13: render.schemas is missing for stage v, which render.validate needs: name the folder of schemas in the GitOps repository": {a, "v", tagged},
		"b.yaml:7:40: grows over 65536 bytes by its placeholders":                                                                               {b, "s", tagged},
	} {
		expanded, err := test.p.Expand(test.stage, test.lock, files)
		if err = errors.Join(err, expanded.Unrendered); err == nil || !slices.Contains(strings.Split(err.Error(), "\n"), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if e, err := c.Expand("s", tagged, files); err != nil || e.Unrendered == nil {
		t.Errorf("a placeholder of render fails more than a render: %v", err)
	}
	if _, err := a.Expand("t", untagged, files); err != nil {
		t.Errorf("an absent tag that nobody uses: %v", err)
	}
	files["v.yaml"].Data = []byte("v: x")
	if _, err := b.Expand("s", tagged, files); err == nil || !strings.Contains(err.Error(), "b.yaml:1:1: sourceRepo is missing, and lock "+tagged.ReleaseID+" names no packaging.sourceRepo") {
		t.Errorf("got %v", err)
	}
}
