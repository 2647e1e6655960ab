package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/strictyaml"
)

// repo builds a GitOps repository of path, content, path, content.
func repo(pairs ...string) fstest.MapFS {
	files := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		files[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return files
}

// fullRepo is a repository around testdata/full.yaml, which uses every key.
func fullRepo(t *testing.T) fstest.MapFS {
	t.Helper()
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files := repo("apps/codeai.yaml", string(full),
		"pipeline-defaults.yaml", "apiVersion: lockage.dev/v1alpha1\nkind: Pipeline\nsourceRepo: https://github.com/acme/app.git\n"+
			"render: {set: {owner: acme}, apiVersions: [a/v1]}\nstages: [{name: test, auto: true}, {name: staging}]\n")
	for _, stage := range []string{"staging", "test", "production"} {
		files["apps/codeai/deployments/"+stage+"/deployment.yaml"] = &fstest.MapFile{
			Data: []byte("envType: " + stage + "-env\nnamespace: codeai-" + stage + "\nversion: 1.10\nowners: [x]\nempty:\n")}
	}
	return files
}

func TestLoadFull(t *testing.T) {
	t.Parallel()
	got, err := loader{files: fullRepo(t), loaded: &loaded{kinds: someKinds()}}.load([]string{"apps/codeai.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	want := &Pipeline{
		File: "apps/codeai.yaml", APIVersion: APIVersion, Kind: Kind, Name: "codeai", Extends: "../pipeline-defaults.yaml",
		Lock: "warehouses/codeai/builds", SourceRepo: "https://github.com/acme/app.git", Artifacts: "ghcr.io/acme/codeai-manifests",
		Vars: "apps/codeai/deployments/{stage}/deployment.yaml",
		Render: Render{
			Helm: new(3), ReleaseName: "{stage}", Namespace: "{namespace}", KubeVersion: "1.34", APIVersions: []string{},
			Values: []ValuesFile{{File: "apps/codeai/envTypes/{envType}.values.yaml"}, {File: "apps/codeai/deployments/{stage}/values.yaml"}},
			Set:    map[string]Value{"image": {quoted("{image}")}, "owner": {quoted("acme")}}, IncludeCRDs: &yes, Hooks: "deploy",
			Overlay: "apps/codeai/deployments/{stage}/deploy", Nondeterminism: "deny", AllowSecrets: []string{}, Layout: "per-object",
		},
		Mirror: &Mirror{Remote: "origin", Branch: "stage/{stage}", Path: "apps/codeai/deployments/{stage}/deploy", When: OnHydrate, Review: NoReview,
			SignCommits: &SignCommits{"env://COMMIT_KEY"}},
		Ledger: Ledger{Remote: "origin", Live: "live/{pipeline}/{stage}", Candidates: "candidates/{pipeline}"},
		Sign:   Sign{&Signer{Key: "env://HYDRATOR_KEY"}, &Signer{Key: "kms://acme/promote-{stage}"}},
		Identities: map[string]Identity{
			"hydrator": {Key: "keys/hydrator.pub"}, "promoter": {Key: "keys/promote-{stage}.pub"}, "sre": {Key: "keys/sre.pub"},
			"ci":               {Issuer: "https://token.actions.githubusercontent.com", Subject: "https://github.com/acme/app/.github/workflows/ci.yml@refs/heads/main"},
			"release-managers": {Issuer: "https://accounts.example.com", SubjectRegexp: "[a-z.]+@release.example.com"},
		},
		Stages: []Stage{
			{Name: "test", Auto: true, After: After{Stages: []string{"staging"}},
				Render: Render{Kustomize: &hydrate.Kustomize{Base: "base", Components: []string{"apps/codeai/envTypes/{envType}"}, Image: "code-dot-org"}, Validate: true, Schemas: "schemas/kubernetes"},
				Sign:   Sign{Hydrator: &Signer{Keyless: &Keyless{}}}},
			{Name: "staging", Auto: true},
			{Name: "production", After: After{Stages: []string{"test"}}, Mirror: &Mirror{Review: PullRequest}, Gates: []Gate{{}, {}}},
		},
	}
	if diff := cmp.Diff([]*Pipeline{want}, got, cmpopts.IgnoreUnexported(Pipeline{}), cmpopts.IgnoreFields(ValuesFile{}, "Pos")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"staging", "test", "production"}, got[0].Order()); diff != "" {
		t.Error(diff)
	}
}

// header and footer make a small pipeline of the lines between them, which begin
// in line 6.
const (
	header = "apiVersion: lockage.dev/v1alpha1\nkind: Pipeline\nname: a\nlock: locks/a\nartifacts: ghcr.io/acme/a\n"
	stages = "stages: [{name: s}]\n"
)

// Two public keys, as far as anybody looks at them here.
const (
	publicKey = "-----BEGIN PUBLIC KEY-----\nc2FtZQ==\n-----END PUBLIC KEY-----\n"
	otherKey  = "-----BEGIN PUBLIC KEY-----\nb3RoZXI=\n-----END PUBLIC KEY-----\n"
)

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ in, want string }{
		"everything in one go": {"kind: Pipe\nname: A b\nlokc: x\nartifacts: acme/a:v1\nrender: {hooks: no, values: [../x], kubeVersion: 1.34, layuot: single}\nstages: [{name: Big}, {nam: x}]\n",
			`a.yaml:1:1: apiVersion is not lockage.dev/v1alpha1: this version of lockage reads no other
a.yaml:1:1: lock is missing
a.yaml:1:7: kind is not Pipeline: this version of lockage reads no other
a.yaml:2:7: name: "A b" is not at most 63 lower-case letters, digits and dashes
a.yaml:3:1: unknown key "lokc" (did you mean "lock"?)
a.yaml:4:12: artifacts: "acme/a:v1" is not a repository: write the registry's host and a lower-case name, without tag, as ghcr.io/acme/app-manifests, or oci-layout:DIR
a.yaml:5:17: render.hooks: "no" is not known: write deploy, all or none
a.yaml:5:30: render.values: "../x" holds ` + "`..`" + `: write it relative to the GitOps repository's root
a.yaml:5:50: render.kubeVersion: expected a string, found the number 1.34: write "1.34" with quotes
a.yaml:5:56: unknown key "layuot" in render (did you mean "layout"?)
a.yaml:6:17: stages[0].name: "Big" is not a stage name: at most 36 lower-case letters, digits and dashes
a.yaml:6:23: stages[1].name is missing
a.yaml:6:24: unknown key "nam" in stages[1] (did you mean "name"?)`},
		"no map":             {"[]", "a.yaml:1:1: a pipeline file is a map: it begins with apiVersion: lockage.dev/v1alpha1"},
		"bare placeholder":   {header + "render: {}\nvars: {stage}\n" + stages, `a.yaml:7:7: vars: {stage} without quotes is a YAML map: write "{stage}"`},
		"no stages":          {header + "stages: []", "a.yaml:6:9: stages: a pipeline has at least one stage"},
		"null stage":         {header + "stages: [null]", "a.yaml:6:10: stages[0] is empty: give it a value"},
		"stage twice":        {header + "stages: [{name: s}, {name: s}]", `a.yaml:6:28: stage "s" is given twice, first in line 6`},
		"unknown after":      {header + "stages: [{name: s, after: [t]}, {name: u, after: {all: [s, s]}}, {name: v, after: {all: []}}, {name: w, after: {any: [s]}}, {name: x, after: s}]", "a.yaml:6:28: after names stage \"t\", which does not exist: there are s, u, v, w, x\na.yaml:6:60: after names stage \"s\" twice\na.yaml:6:89: after.all is empty: name the stages\na.yaml:6:112: all is missing\na.yaml:6:113: unknown key \"any\" (did you mean \"all\"?)\na.yaml:6:142: after: expected a list, found a string"},
		"cycle":              {header + "stages:\n  - {name: a, after: [c]}\n  - {name: b, after: [a]}\n  - {name: c, after: {all: [b]}}\n  - {name: d}\n", "a.yaml:7:22: stages form a cycle: a → b → c → a"},
		"after itself":       {header + "stages: [{name: s, after: [s]}]", "a.yaml:6:27: stages form a cycle: s → s"},
		"lock outside":       {strings.Replace(header, "locks/a", "/locks", 1) + stages, `a.yaml:4:7: lock: "/locks" is absolute: write it relative to the GitOps repository's root`},
		"lock per stage":     {strings.Replace(header, "locks/a", `"{stage}"`, 1) + stages, "a.yaml:4:7: unknown placeholder {stage}: known in lock are {pipeline}"},
		"artifacts by image": {strings.Replace(header, "acme/a", "acme/{image}/{x}", 1) + stages, "a.yaml:5:12: placeholder {image} has no value here: this is read before a release is known\na.yaml:5:12: unknown placeholder {x}: known here are {pipeline}, {stage}"},
		"layout without dir": {strings.Replace(header, "ghcr.io/acme/a", "'oci-layout:'", 1) + stages, "a.yaml:5:12: artifacts: oci-layout: names no directory"},
		"source repo":        {header + "sourceRepo: https://a:hunter2@b/c\n" + stages, "a.yaml:6:13: sourceRepo carries credentials: revoke them, remove them from the URL and use git's credential helpers"},
		"vars missing":       {header + "vars: v/{stage}.yaml\nrender: {namespace: \"{ns}\"}\n" + stages, "a.yaml:6:7: vars file v/s.yaml of stage s does not exist"},
		"vars outside":       {header + "vars: ../{stage}.yaml\n" + stages, "a.yaml:6:7: vars: \"../s.yaml\" holds `..`: write it relative to the GitOps repository's root"},
		"vars by release":    {header + "vars: v/{release}.yaml\n" + stages, "a.yaml:6:7: placeholder {release} has no value here: this is read before a release is known"},
		"vars clash":         {header + "vars: clash.yaml\n" + stages, "clash.yaml:2:1: vars: {image} has a meaning of its own: rename the key\nclash.yaml:4:1: vars: merge keys (<<) are not read: write the keys out"},
		"vars no map":        {header + "vars: list.yaml\n" + stages, "list.yaml:1:1: vars: expected a map"},
		"vars broken":        {header + "vars: broken.yaml\n" + stages, "broken.yaml:1:9: key \"a\" is given twice, first in line 1\nbroken.yaml:1:15: key \"a\" is given twice, first in line 1"},
		"vars leave":         {header + "vars: vars.yaml\nrender: {values: [\"x/{up}/y\", \"{sub}/{up}\"], namespace: \"{brace}\"}\n" + stages, "a.yaml:7:19: render.values: \"x/../y\" holds `..`: write it relative to the GitOps repository's root\na.yaml:7:31: render.values: \"{stage}/..\" holds `..`: write it relative to the GitOps repository's root\na.yaml:7:57: render.namespace: \"{stage}\" is not a namespace: at most 63 lower-case letters, digits and dashes"},
		"unknown name":       {header + "vars: vars.yaml\nrender: {set: {x: \"{envtype}\", y: \"{{envtype}} {\\\"a\\\": {}} {1} { stage }\"}}\n" + stages, "a.yaml:7:19: unknown placeholder {envtype}: known in stage s are {brace}, {chart.digest}, {chart.version}, {commit}, {image}, {image.digest}, {image.ref}, {image.repository}, {image.tag}, {images.NAME}, {images.NAME.digest}, {images.NAME.ref}, {images.NAME.repository}, {images.NAME.tag}, {pipeline}, {release}, {stage}, {sub}, {up}"},
		"render":             {header + "render: {releaseName: A, namespace: a_b, kubeVersion: latest, apiVersions: [''], values: ['a\\b', a//b], nondeterminism: x, layout: y, allowSecrets: [''], set: {'': x, n: .inf, m: {stage}}, helm: 2}\n" + stages, "a.yaml:6:23: render.releaseName: \"A\" is not a Helm release name: at most 53 lower-case letters, digits, dashes and dots\na.yaml:6:37: render.namespace: \"a_b\" is not a namespace: at most 63 lower-case letters, digits and dashes\na.yaml:6:55: render.kubeVersion: \"latest\" is not a Kubernetes version: write one like \"1.34\"\na.yaml:6:77: render.apiVersions: \"\" is empty\na.yaml:6:91: render.values: \"a\\\\b\" holds a backslash: write slashes\na.yaml:6:98: render.values: \"a//b\" is not in its shortest form: write \"a/b\"\na.yaml:6:121: render.nondeterminism: \"x\" is not known: write deny or allow\na.yaml:6:132: render.layout: \"y\" is not known: write per-object or single\na.yaml:6:150: render.allowSecrets: \"\" is empty\na.yaml:6:160: render.set: a key is empty\na.yaml:6:171: the number .inf has no place in JSON: write a string, a number, true, false, null, a list or a map\na.yaml:6:180: {stage} without quotes is a YAML map: write \"{stage}\", or {stage: null} if the map is meant\na.yaml:6:196: render.helm: 2 is not known: write 3 or 4"},
		"identities": {header + "identities:\n  A_: {key: k}\n  both: {key: k, issuer: https://x, subject: y}\n  none: {}\n  half: {issuer: https://x}\n  two: {issuer: https://x, subject: y, subjectRegexp: z}\n  lone: {subject: y}\n  re: {issuer: x, subjectRegexp: '('}\n  out: {key: ../k}\n  hydrator: {key: keys/a}\n  promoter: {key: keys/b}\n" + stages,
			"a.yaml:7:7: identity name \"A_\" is not lower-case letters, digits and dashes\na.yaml:8:9: identity both: write either key, or issuer and subject\na.yaml:9:9: identity none: write either key, or issuer and subject\na.yaml:10:9: identity half: write exactly one of subject and subjectRegexp\na.yaml:11:8: identity two: write exactly one of subject and subjectRegexp\na.yaml:12:9: identity lone: issuer is missing: a subject means nothing without it\n" +
				"a.yaml:13:16: identities.re.issuer: \"x\" is not a URL: write one like https://token.actions.githubusercontent.com\na.yaml:13:34: identities.re.subjectRegexp: \"(\" does not compile: error parsing regexp: missing closing ): `(`\na.yaml:14:14: identities.out.key: \"../k\" holds `..`: write it relative to the GitOps repository's root\na.yaml:16:13: identities: hydrator and promoter are one identity: the one that renders must not promote, give each its own"},
		"one key for both":   {header + "identities: {hydrator: {key: k}, promoter: {key: k}}\nsign: {hydrator: {key: x}, promoter: {key: x}}\n" + stages, "a.yaml:6:44: identities: hydrator and promoter are one identity: the one that renders must not promote, give each its own\na.yaml:7:44: sign: hydrator and promoter use one key: give each role its own"},
		"once the other":     {header + "identities:\n  hydrator: {issuer: https://x, subject: h, former: {key: keys/a}}\n  promoter: {issuer: https://x, subject: p, former: {issuer: https://x, subjectRegexp: 'q', former: {key: keys/b}}}\n" + stages, "a.yaml:8:13: identities: hydrator and promoter are one identity: the one that renders must not promote, give each its own"},
		"the other's former": {header + "identities:\n  hydrator: {key: keys/a, former: {issuer: https://x, subjectRegexp: '[a-z]+'}}\n  promoter: {issuer: https://x, subject: p}\n" + stages, "a.yaml:8:13: identities: hydrator and promoter are one identity: the one that renders must not promote, give each its own"},
		"signer without key": {header + "sign: {hydrator: {}, promoter: {key: ''}}\n" + stages, "a.yaml:6:18: sign.hydrator: write either key or keyless\na.yaml:6:32: sign.promoter: write either key or keyless\na.yaml:6:38: sign.promoter.key: \"\" is empty"},
		"extends outside":    {header + "extends: ../x\n" + stages, "a.yaml:6:10: extends: \"../x\" leaves the GitOps repository"},
		"extends nothing":    {header + "extends: x.yaml\n" + stages, "a.yaml:6:10: extends: file x.yaml does not exist in the GitOps repository"},
		"extends twice":      {header + "extends: b.yaml\n" + stages, "b.yaml:1:1: apiVersion is not lockage.dev/v1alpha1: this version of lockage reads no other\nb.yaml:1:1: kind is not Pipeline: this version of lockage reads no other\nb.yaml:1:10: extends: this file is extended by a.yaml itself: only one level is read\nb.yaml:2:9: render: expected a map, found the number 1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := repo("a.yaml", test.in, "b.yaml", "extends: c.yaml\nrender: 1\n", "keys/a", publicKey, "keys/b", otherKey+publicKey,
				"vars.yaml", "up: ..\nsub: '{stage}'\nbrace: '{stage}'\n", "clash.yaml", "a: b\nimage: x\nx: &x {}\n<<: *x\n", "list.yaml", "[]", "broken.yaml", "{a: {}, a: b, a: c}")
			loaded, err := Load(files, nil, "a.yaml")
			if ofStage := []string{"vars missing", "vars clash", "vars no map", "vars broken"}; slices.Contains(ofStage, name) && err == nil {
				_, err = loaded[0].Expand("s", sampleLock(), files)
			}
			var problems strictyaml.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v, want problems", err)
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error repeats a password")
			}
		})
	}
}

// TestLoadRefusesLater judges keys that are not supported yet.
func TestLoadRefusesLater(t *testing.T) {
	t.Parallel()
	in := header + `mirror: {remote: --x, branch: a..b, path: ., when: x, review: y, reviewers: [''], signCommits: {}}
ledger: {live: "{stage}.lock", candidates: /x}
render: {overlay: ../o, kustomize: {base: /x}}
identities: {ci: {key: k}}
stages:
  - name: plain
  - name: s
    mirror: {branch: ok, path: p/q}
  - name: t
    mirror: {branch: ok, path: p}
  - name: u
    mirror: null
`
	_, err := loader{files: repo("a.yaml", in), loaded: &loaded{kinds: nil}}.load([]string{"a.yaml"})
	want := `a.yaml:6:18: mirror.remote is not a repository URL: write one like https://github.com/acme/app.git
a.yaml:6:31: mirror.branch: "a..b" is not a branch name
a.yaml:6:43: mirror.path: "." is the whole branch: name a directory
a.yaml:6:52: mirror.when: "x" is not known: write hydrate or promote
a.yaml:6:63: mirror.review: "y" is not known: write none or pull-request
a.yaml:6:78: mirror.reviewers: "" is empty
a.yaml:6:96: mirror.signCommits.key is missing
a.yaml:7:16: ledger.live: "plain.lock" is not a branch name
a.yaml:7:44: ledger.candidates: "/x" is not a branch name
a.yaml:8:19: render.overlay: "../o" holds ` + "`..`" + `: write it relative to the GitOps repository's root
a.yaml:8:36: render: overlay and kustomize exclude each other: keep one
a.yaml:8:43: render.kustomize.base: "/x" is absolute: write it relative to the lock's sourcePath
a.yaml:15:32: mirror.path "p" overlaps "p/q", which stage s of a.yaml writes on branch ok of remote --x`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestLoadSeveral(t *testing.T) {
	t.Parallel()
	b := strings.Replace(header, "name: a", "name: b", 1)
	mirrored := "mirror: {branch: all, path: x}\n"
	files := repo("p/a.yaml", header+stages, "p/b.yaml", strings.Replace(b, "acme/a", "acme/b-{stage}", 1)+stages,
		"same-name.yaml", strings.Replace(header, "acme/a", "acme/c", 1)+stages, "same-repository.yaml", b+stages,
		"spelled.yaml", strings.Replace(b, "ghcr.io", "GHCR.io:443", 1)+stages,
		"m1.yaml", header+mirrored+stages, "m2.yaml", strings.Replace(b, "acme/a", "acme/b", 1)+strings.Replace(mirrored, "x}", "x/y}", 1)+stages)
	ok, err := Load(files, nil, "p/a.yaml", "./p/b.yaml")
	if err != nil || len(ok) != 2 || ok[0].Name != "a" || ok[1].Name != "b" {
		t.Errorf("got %v, %v", ok, err)
	}
	if got := ok[1].Repository("s"); got != "ghcr.io/acme/b-s" {
		t.Errorf("repository is %s", got)
	}
	for want, names := range map[string][]string{
		`same-name.yaml:3:7: pipeline name "a" is taken by p/a.yaml`:                                                     {"p/a.yaml", "same-name.yaml"},
		"same-repository.yaml:5:12: artifacts: repository ghcr.io/acme/a is used by p/a.yaml: one repository a pipeline": {"p/a.yaml", "same-repository.yaml"},
		"spelled.yaml:5:12: artifacts: repository GHCR.io:443/acme/a is used by p/a.yaml: one repository a pipeline":     {"p/a.yaml", "spelled.yaml"},
		`m2.yaml:6:29: mirror.path "x/y" overlaps "x", which stage s of m1.yaml writes on branch all of remote origin`:   {"m1.yaml", "m2.yaml"},
		`pipeline file "../a.yaml" lies outside the GitOps repository`:                                                   {"../a.yaml"},
		`read pipeline file: open none.yaml: file does not exist`:                                                        {"none.yaml"},
	} {
		_, err := loader{files: files, loaded: &loaded{kinds: someKinds()}}.load(names)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %s", names, err, want)
		}
	}
}

// TestBranchesThatCannotBe: Git keeps a branch's name as a path, and no place belongs to two.
func TestBranchesThatCannotBe(t *testing.T) {
	t.Parallel()
	for mirror, want := range map[string]string{
		"{path: x, branch: review, review: pull-request}":     `Git has no branch "review/a/s" beside "review", which stage s of p.yaml writes: rename one of them`,
		"{path: x, branch: live}":                             `mirror.branch: Git has no branch "live" beside "live/a/s"`,
		"{path: x, branch: live/a/s/more}":                    `mirror.branch: Git has no branch "live/a/s/more" beside "live/a/s"`,
		"{path: x, branch: b}\nledger: {live: b}":             `mirror.branch: branch b is written by stage s of p.yaml: name another one`,
		"{path: x}\nledger: {candidates: live/a/s}":           `ledger.live: branch live/a/s is written by pipeline p.yaml: name a branch of its own, with {pipeline} and {stage} in it`,
		"{path: x, when: promote}\nledger: {live: l}":         "ledger.live: with mirror.when: promote the stage branch records what is live",
		"{path: x, branch: live, when: promote}":              "",
		"{path: x, branch: /live}":                            "is not a branch name",
		"{path: x, branch: größe/日本/env-١}":                   "",
		"{path: x, branch: \"a\u202eb\"}":                     "is not a branch name",
		"{path: x, branch: \"a\u200bb\"}":                     "is not a branch name",
		"{path: x, branch: a b}":                              "is not a branch name",
		"{path: x, branch: stage/s}\nledger: {live: stage/l}": "",
	} {
		text := "apiVersion: lockage.dev/v1alpha1\nkind: Pipeline\nname: a\nlock: l\nartifacts: ghcr.io/acme/a\nrender: {kubeVersion: \"1.34\"}\nmirror: " +
			mirror + "\nstages: [{name: s}]\n"
		_, err := Load(fstest.MapFS{"p.yaml": &fstest.MapFile{Data: []byte(text)}}, nil, "p.yaml")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", mirror, err, want)
		}
	}
}

// brokenFS fails to read one file for a reason that is nobody's mistake.
type brokenFS struct {
	fs.FS
	name string
}

var errDisk = errors.New("disk on fire")

func (b brokenFS) Open(name string) (fs.File, error) {
	if name == b.name {
		return nil, errDisk
	}
	return b.FS.Open(name)
}

// TestLoadReadErrors distinguishes a failure to read from a mistake in a file.
func TestLoadReadErrors(t *testing.T) {
	t.Parallel()
	files := repo("a.yaml", header+"extends: b.yaml\nvars: v.yaml\nidentities: {hydrator: {key: h}, promoter: {key: p}}\n"+stages,
		"b.yaml", "apiVersion: lockage.dev/v1alpha1\nkind: Pipeline\n", "v.yaml", "a: b", "h", "x", "p", "y")
	if _, err := Load(files, nil, "a.yaml"); err != nil {
		t.Fatal(err)
	}
	for name := range files {
		_, err := Load(brokenFS{files, name}, nil, "a.yaml")
		var problems strictyaml.Problems
		if !errors.Is(err, errDisk) || errors.As(err, &problems) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	files := repo("a.yaml", header+"stages: [{name: d, after: {all: [b, c]}}, {name: c, after: [a]}, {name: e}, {name: b, after: [a, c]}, {name: a}]")
	p, err := Load(files, nil, "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"e", "a", "c", "b", "d"}, p[0].Order()); diff != "" {
		t.Error(diff)
	}
	if s, ok := p[0].Stage("d"); !ok || !s.After.All {
		t.Errorf("stage d is %+v, %v", s, ok)
	}
	if _, ok := p[0].Stage("x"); ok {
		t.Error("there is a stage x")
	}
}

func TestFormerName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ before, after, name, want string }{ // ! is disabled
		{"a b", "a b", "a", "a"},
		{"a b", "b a", "a", "a"},
		{"a", "b", "b", "a"},
		{"a b", "b c", "c", "a"}, // one alone, wherever it stands
		{"a b", "c d", "c", "a"},
		{"a b", "c d", "d", "b"},
		{"a x b", "c x d", "d", "b"},
		{"a x b", "x c d", "d", ""},
		{"a b", "c", "c", ""},
		{"a", "b c", "b", ""},
		{"a", "a b", "b", ""},
		{"!a", "b", "b", ""},
		{"a x", "!a b x", "b", ""},
		{"!a x", "a x", "a", "a"},
		{"!a x y", "!a b c", "b", "x"},
	} {
		of := func(names string) *Pipeline {
			var stages []string
			for _, name := range strings.Fields(names + " z") {
				off := strings.HasPrefix(name, "!")
				stages = append(stages, fmt.Sprintf("{name: %s, disabled: %v}", strings.TrimPrefix(name, "!"), off))
			}
			p, err := Load(repo("a.yaml", header+"stages: ["+strings.Join(stages, ", ")+"]"), nil, "a.yaml")
			if err != nil {
				t.Fatal(err)
			}
			return p[0]
		}
		if got := of(test.after).FormerName(test.name, of(test.before)); got != test.want {
			t.Errorf("%s, then %s: %s was %q, want %q", test.before, test.after, test.name, got, test.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full, []byte("envType: a\nnamespace: b"))
	f.Add([]byte(header+"vars: vars.yaml\nrender: {set: {a: '{x}'}}\n"+stages), []byte("x: 1.10"))
	f.Add([]byte(header+"extends: vars.yaml\n"+stages), []byte(header))
	f.Add([]byte(header+"stages: [{name: a, after: [b]}, {name: b, after: {all: [a]}}]"), []byte("[]"))
	f.Fuzz(func(t *testing.T, data, vars []byte) {
		files := fstest.MapFS{"dir/a.yaml": {Data: data}, "vars.yaml": {Data: vars}, "dir/vars.yaml": {Data: vars}, "pipeline-defaults.yaml": {Data: vars}}
		pipelines, err := loader{files: files, loaded: &loaded{kinds: someKinds()}}.load([]string{"dir/a.yaml"})
		if err != nil {
			return
		}
		for _, p := range pipelines {
			for _, stage := range p.Order() {
				e, err := p.Expand(stage, sampleLock(), files)
				if err != nil {
					continue // what only a real lock decides
				}
				for _, v := range e.Values {
					if RepositoryPath(v.File) != "" {
						t.Errorf("path %q was let through", v.File)
					}
				}
			}
		}
	})
}
