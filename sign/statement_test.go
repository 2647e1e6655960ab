package sign

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/encoding/protojson"
)

var update = flag.Bool("update", false, "write testdata/*.json anew")

func provenance() Provenance {
	commit := strings.Repeat("1", 40)
	return Provenance{
		Claim:      claim("production"),
		File:       "warehouses/codeai/lockage.yaml",
		Options:    json.RawMessage(`{"KubeVersion":"1.34"}`),
		Values:     []FileRead{{Name: "values/production.yaml", ID: commit}, {Name: "values.yaml", Source: true}},
		Reads:      []FileRead{{Name: "base", Path: "bases/2", Folder: true}, {Name: "base/Kustomization"}},
		Meaning:    digest.FromString("lock"),
		Lock:       ResourceDescriptor{Name: "lock", URI: "warehouses/codeai/builds/current.yaml", Digest: map[string]string{"sha256": strings.Repeat("a", 64)}},
		Allowances: []string{"allowSecrets: db"},
		Dependencies: []ResourceDescriptor{
			GitCommit("source", "https://token:hunter2@github.com/acme/app.git?x=hunter2", commit).CommittedAt(time.Date(2026, 3, 22, 14, 0, 0, 0, time.FixedZone("", 2*60*60))),
			GitCommit("gitops", "git@github.com:acme/gitops.git", strings.Repeat("2", 40)),
			Image("image", "ghcr.io/acme/app", digest.FromString("image")),
		},
		Version:  "v0.1.0",
		Renderer: "helm v3.22.0",
		Packer:   "output 2",
		Started:  time.Date(2026, 3, 22, 14, 0, 0, 5, time.FixedZone("", 2*60*60)),
		Finished: time.Date(2026, 3, 22, 12, 0, 1, 0, time.UTC),
	}
}

// What is signed is a format that others read: it changes on purpose or not at all. Two readers that are not ours
// check it too.
func TestGoldenStatements(t *testing.T) {
	t.Parallel()
	d := digest.FromString("artifact")
	prov, err := NewProvenance(d, provenance())
	if err != nil {
		t.Fatal(err)
	}
	for name, statement := range map[string]Statement{"signature": NewSignature(d, claim("production")), "provenance": prov} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			payload, err := statement.payload()
			if err != nil {
				t.Fatal(err)
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, payload, "", "  "); err != nil {
				t.Fatal(err)
			}
			pretty.WriteByte('\n')
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, pretty.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
				t.Errorf("%s (-want +got; go test ./sign -update writes it):\n%s", path, diff)
			}
			if strings.Contains(pretty.String(), "hunter2") {
				t.Error("the statement tells a secret")
			}

			var st intoto.Statement
			if err := protojson.Unmarshal(payload, &st); err != nil {
				t.Fatal(err)
			}
			if err := st.Validate(); err != nil {
				t.Errorf("in-toto: %v", err)
			}
			if statement.PredicateType == PredicateProvenance {
				var p slsa.Provenance
				if err := protojson.Unmarshal(statement.Predicate, &p); err != nil {
					t.Fatal(err)
				}
				if err := p.Validate(); err != nil {
					t.Errorf("SLSA: %v", err)
				}
			}
		})
	}
}

func TestProvenanceRoundTrip(t *testing.T) {
	t.Parallel()
	want := provenance()
	statement, err := NewProvenance(digest.FromString("a"), want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseProvenance(statement.Predicate)
	if err != nil {
		t.Fatal(err)
	}
	want.Started = want.Started.UTC().Truncate(time.Second)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if source, absent := got.Commit("source"), got.Commit("absent"); source != strings.Repeat("1", 40) || absent != "" {
		t.Errorf("source commit %q, and %q of an absent dependency", source, absent)
	}
	if at, ok := got.Committed("source"); !ok || !at.Equal(time.Date(2026, 3, 22, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("the source was committed at %s, %v", at, ok)
	}
	if at, ok := got.Committed("gitops"); ok {
		t.Errorf("the GitOps commit was committed at %s", at)
	}
	for old, bad := range map[string]string{
		BuildTypeHydrate: "https://example.com/other",
		BuilderID:        "https://example.com/other",
		`{`:              `[`,
	} {
		text := strings.Replace(string(statement.Predicate), `"`+old+`"`, `"`+bad+`"`, 1)
		if old == "{" {
			text = "[]"
		}
		if _, err := parseProvenance(json.RawMessage(text)); err == nil {
			t.Errorf("accepted provenance with %s for %s", bad, old)
		}
	}
	if _, err := parseProvenance(json.RawMessage(`{"buildDefinition":{"buildType":"` + BuildTypeHydrate +
		`"},"runDetails":{"builder":{"id":"` + BuilderID + `"}}}`)); err == nil {
		t.Error("accepted provenance without parameters")
	}
}

func TestGitURI(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"https://github.com/acme/app.git":              "git+https://github.com/acme/app.git",
		"https://u:p@github.com/acme/app.git?t=p#p":    "git+https://github.com/acme/app.git",
		"ssh://git@github.com:22/acme/app.git":         "git+ssh://github.com:22/acme/app.git",
		"git@github.com:acme/app.git":                  "git+ssh://github.com/acme/app.git",
		"git+https://github.com/acme/app":              "git+https://github.com/acme/app",
		"/srv/git/app.git":                             "git+file:///srv/git/app.git",
		"file:///srv/git/app.git":                      "git+file:///srv/git/app.git",
		"https://user:pa ss@host:not-a-port/secret?%%": "",
	} {
		if got := gitURI(remote); got != want {
			t.Errorf("gitURI(%q) = %q, want %q", remote, got, want)
		}
	}
}

func TestStatementRefuses(t *testing.T) {
	t.Parallel()
	good := digest.FromString("a")
	for name, s := range map[string]Statement{
		"no digest":        {PredicateType: "x"},
		"short digest":     {Subject: Subject{Digest: "sha256:abc"}, PredicateType: "x"},
		"sha512":           {Subject: Subject{Digest: digest.SHA512.FromString("a")}, PredicateType: "x"},
		"no type":          {Subject: Subject{Digest: good}},
		"array":            {Subject: Subject{Digest: good}, PredicateType: "x", Predicate: json.RawMessage(`[]`)},
		"a key twice":      {Subject: Subject{Digest: good}, PredicateType: "x", Predicate: json.RawMessage(`{"a":1,"a":2}`)},
		"broken predicate": {Subject: Subject{Digest: good}, PredicateType: "x", Predicate: json.RawMessage(`{"a":`)},
	} {
		if payload, err := s.payload(); err == nil {
			t.Errorf("%s: wrote %s", name, payload)
		}
	}
}

func TestParseStatement(t *testing.T) {
	t.Parallel()
	d := digest.FromString("a")
	sub := `{"name":"x","digest":{"sha256":"` + d.Encoded() + `"}}`
	other := `{"name":"y","digest":{"sha256":"` + digest.FromString("b").Encoded() + `"}}`
	for name, test := range map[string]struct{ text, want string }{
		"minimal":            {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + sub + `],"predicateType":"p"}`, ""},
		"older type":         {`{"_type":"https://in-toto.io/Statement/v0.1","subject":[` + sub + `],"predicateType":"p","predicate":{}}`, ""},
		"among others":       {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + other + `,` + sub + `],"predicateType":"p"}`, ""},
		"odd annotation":     {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + strings.Replace(sub, `"name":"x"`, `"name":"x","annotations":{"a":[1]}`, 1) + `],"predicateType":"p"}`, ""},
		"other subject":      {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + other + `],"predicateType":"p"}`, "not about"},
		"no subject":         {`{"_type":"https://in-toto.io/Statement/v1","predicateType":"p"}`, "not about"},
		"sha512 only":        {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + strings.Replace(sub, "sha256", "sha512", 1) + `],"predicateType":"p"}`, "not about"},
		"another type":       {`{"_type":"https://in-toto.io/Link/v1","subject":[` + sub + `],"predicateType":"p"}`, "its type is"},
		"no predicate type":  {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + sub + `]}`, "no predicate type"},
		"predicate a string": {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + sub + `],"predicateType":"p","predicate":"x"}`, "not a JSON object"},
		"many subjects":      {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + sub + strings.Repeat(","+sub, maxSubjects) + `],"predicateType":"p"}`, "1025 subjects"},
		"not json":           {`hello`, "not an in-toto statement"},
		"foreign predicate":  {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + sub + `],"predicateType":"p","predicate":{"env":{"PATH":1,"Path":2}}}`, ""},
		"key twice":          {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + sub + `],"predicateType":"p","predicateType":"p"}`, "duplicate field \"predicateType\""},
		"key in two cases":   {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + sub + `],"predicateType":"p","PredicateType":"q"}`, "key \"predicatetype\" in two cases"},
		"key in other case":  {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + sub + `],"PredicateType":"p"}`, "no predicate type"},
		"subject twice":      {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + strings.Replace(sub, `"name":"x"`, `"name":"x","name":"x"`, 1) + `],"predicateType":"p"}`, "duplicate field"},
		"subject's cases":    {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + strings.Replace(sub, `"digest"`, `"Digest":{},"digest"`, 1) + `],"predicateType":"p"}`, "in two cases"},
		"predicate's keys":   {`{"_type":"https://in-toto.io/Statement/v1","subject":[` + sub + `],"predicateType":"p","predicate":{"a":[{"b":1,"b":2}]}}`, "duplicate field"},
	} {
		s, err := parseStatement([]byte(test.text), d)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want == "" && (s.Subject.Name != "x" || s.Subject.Digest != d || s.PredicateType != "p" || string(s.Predicate) != "{}" && name != "foreign predicate"):
			t.Errorf("%s: %+v", name, s)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}

// Whatever is accepted is about the artifact, and can be written and read again.
func FuzzParseStatement(f *testing.F) {
	d := digest.FromString("a")
	payload, err := NewSignature(d, claim("test")).payload()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"digest":{}}],"predicateType":"p","predicate":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseStatement(text, d)
		if err != nil {
			return
		}
		if !bytes.Contains(text, []byte(d.Encoded()[:8])) && !bytes.Contains(text, []byte(`\u`)) {
			t.Errorf("accepted a statement without the digest: %s", text)
		}
		again, err := s.payload()
		if err != nil {
			t.Fatalf("cannot be written: %v", err)
		}
		s2, err := parseStatement(again, d)
		if err != nil {
			t.Fatalf("cannot be read again: %v", err)
		}
		if s2.Subject.Name != s.Subject.Name || s2.PredicateType != s.PredicateType {
			t.Errorf("%+v became %+v", s, s2)
		}
	})
}
