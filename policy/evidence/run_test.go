package evidence_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/evidence"
)

// TestRunReadsOnce has stages of one run: what their artifacts share is decoded once, policies are compiled once, and what is live is
// read for the gates that name it.
func TestRunReadsOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	shared := s.publish(layer{conftestRego, "deny.rego", []byte("package main\ndeny contains \"no\" if input.kind == \"Pod\"")})
	changes := s.publish(layer{conftestRego, "deny.rego", []byte("package main\ndeny contains \"no\" if data.lockage.diff.counts.removed > 9")})
	run := evidence.NewRun()
	compiled := map[string]any{}
	const stages = 5
	read := 0
	for i := range stages {
		candidate, live := s.push("manifests", fmt.Sprint("candidate ", i)), s.push("manifests", fmt.Sprint("live ", i))
		collect := func(gates ...[2]string) {
			t.Helper()
			r := s.request(candidate)
			r.Run, r.Live = run, func(context.Context) (*oci.Tree, error) { read++; return live.tree, nil }
			for _, g := range gates {
				r.Declared.Gates = append(r.Declared.Gates, gate(t, g[0], g[1]))
			}
			for argument, policies := range s.collect(r).Policies {
				if before := compiled[argument]; before != nil && before != any(policies) {
					t.Errorf("%s is compiled again", argument)
				}
				compiled[argument] = policies
			}
		}
		parsed := run.Decoder.Parses()
		collect([2]string{"cel", `stage == "diff" && pipeline != "objects"`})
		if got := run.Decoder.Parses() - parsed; got != 0 {
			t.Errorf("%d documents are parsed for no gate", got)
		}
		collect([2]string{"rego", shared}, [2]string{"cel", `objects.all(o, o.kind != "Pod")`})
		if read != i {
			t.Fatal("what is live was read, and no gate names it")
		}
		collect([2]string{"rego", shared}, [2]string{"rego", changes})
		if read != i+1 {
			t.Fatal("policies that name the comparison need what is live")
		}
	}
	// A ConfigMap of each candidate and of what was live before, and one Deployment of all.
	if got := run.Decoder.Parses(); got != 2*stages+1 {
		t.Errorf("%d documents were parsed, want %d", got, 2*stages+1)
	}
	if len(compiled) != 2 {
		t.Errorf("policies are %v", compiled)
	}
}

// A stage whose policies cannot be read, or whose live artifact cannot, takes nothing from the others.
func TestRunForgetsFailures(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	bundle := s.publish(layer{conftestRego, "deny.rego", []byte("package main\ndeny contains \"no\" if data.lockage.diff.counts.removed > 9")})
	r := s.request(s.push("manifests", "hello"), gate(t, "rego", bundle))
	r.Run, r.Live = evidence.NewRun(), func(context.Context) (*oci.Tree, error) { return nil, errors.New("connection lost") }
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, ctx := range []context.Context{stopped, t.Context()} {
		if _, err := evidence.Collect(ctx, r); err == nil {
			t.Error("nothing failed")
		}
	}
	r.Live = nil
	if facts := s.collect(r); facts.Policies[bundle] == nil || facts.Diff == nil {
		t.Errorf("%+v", facts)
	}
}
