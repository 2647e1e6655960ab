package pipeline

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// someKinds are two kinds of gates: the real ones are declared by package policy, which tests them.
func someKinds() []GateKind {
	type soak struct {
		Stage string `yaml:"stage,required"`
		For   string `yaml:"for,required"`
	}
	return []GateKind{
		NewGateKind("soak", "", func(s soak, d *Declaration) Condition {
			d.Stage(s.Stage, "stage")
			return condition{d.Duration("for"), s.Stage}
		}),
		NewGateKind("file", "", func(name string, d *Declaration) Condition {
			d.Rule("", RepositoryPath)
			return condition{text: name}
		}),
	}
}

type condition struct {
	wait time.Duration
	text string
}

func (condition) Signers() Signers { return Signers{} }

func TestExpandGates(t *testing.T) {
	t.Parallel()
	files := repo("a.yaml", header+"sourceRepo: https://x/y\nrender: {kubeVersion: \"1.34\"}\nidentities: {sre: {key: s}}\n"+
		"stages:\n  - name: s\n    gates: [{name: merged, file: \"{stage}/{release}\"}, {soak: {stage: t, for: 90m}}]\n    waivers: {by: [sre]}\n  - name: t\n")
	p, err := Load(files, someKinds(), "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l := helmLock()
	s, err := p[0].Expand("s", l, files)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Gates) != 2 || s.Gates[0].Name != "merged" || s.Gates[0].Kind != "file" || s.Gates[1].Kind != "soak" {
		t.Fatalf("gates are %+v", s.Gates)
	}
	if got := s.Gates[0].Condition; got != (condition{text: "s/" + l.ReleaseID}) {
		t.Errorf("file is %v", got)
	}
	if got := s.Gates[1].Condition; got != (condition{text: "t", wait: 90 * time.Minute}) {
		t.Errorf("soak is %v", got)
	}
	if diff := cmp.Diff(Waivers{By: []string{"sre"}}, s.Waivers); diff != "" {
		t.Error(diff)
	}
	if other, err := p[0].Expand("t", l, files); err != nil || other.Waivers.By != nil {
		t.Errorf("another stage's waivers are %v, %v", other.Waivers, err)
	}
}

// TestGatesOfExtendedFile: what another file's gates replace is judged too.
func TestGatesOfExtendedFile(t *testing.T) {
	t.Parallel()
	files := repo("a.yaml", header+"extends: b.yaml\nstages: [{name: s, gates: [{file: x}]}]\n",
		"b.yaml", "apiVersion: lockage.dev/v1alpha1\nkind: Pipeline\nstages: [{name: s, gates: [{soak: {for: 2}}, {fiel: x}]}]\n")
	_, err := Load(files, someKinds(), "a.yaml")
	want := `b.yaml:3:41: stages[0].gates[0].soak.for: expected a string, found the number 2: write "2" with quotes
b.yaml:3:47: unknown key "fiel" in stages[0].gates[1] (did you mean "file"?)`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestOnce makes each thing once for all stages of the pipelines that are loaded together.
func TestOnce(t *testing.T) {
	t.Parallel()
	made := 0
	kinds := []GateKind{NewGateKind("file", "", func(name string, d *Declaration) Condition {
		made, _ = Once(d, "file "+name, func() (int, error) { return made + 1, nil })
		return condition{}
	})}
	files := repo("a.yaml", header+"stages: [{name: s, gates: [{file: x}, {file: x}]}, {name: t, gates: [{file: x}]}]\n")
	if _, err := Load(files, kinds, "a.yaml"); err != nil || made != 1 {
		t.Errorf("made %d times, %v", made, err)
	}
}
