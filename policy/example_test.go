package policy_test

import (
	"fmt"
	"testing/fstest"
	"time"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/policy"
)

// Gates are parsed and compiled once, and judged by facts that the caller collects.
func Example() {
	doc, problems := strictyaml.Parse("gates.yaml", []byte(`gates:
  - cel: objects.all(o, o.spec.replicas >= 2)
  - {name: office-hours, window: {allow: ["Mon-Fri 09:00-17:00"]}}
  - file: approved/{release}.yaml
`))
	if doc == nil {
		fmt.Println(problems)
		return
	}
	l := lock.Lock{ReleaseID: "git-1a2b3c"}
	gates, waivers, err := pipeline.ParseGates(policy.Kinds(), doc, "production", l, fstest.MapFS{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("files to look for:", policy.NeedsOf(gates).Files)
	results := policy.Gates(gates, waivers, policy.Facts{
		Now:     time.Date(2026, 3, 24, 18, 0, 0, 0, time.UTC),
		Objects: []map[string]any{{"kind": "Deployment", "spec": map[string]any{"replicas": 3}}},
		Exists:  map[string]bool{"approved/git-1a2b3c.yaml": true},
	})
	fmt.Println(policy.Outcome(results))
	fmt.Print(policy.Text(results))
	// Output:
	// files to look for: [approved/git-1a2b3c.yaml]
	// pending
	//   pass     cel           true: objects.all(o, o.spec.replicas >= 2)
	//   pending  office-hours  allowed only Mon-Fri 09:00-17:00; it is Tue 2026-03-24 18:00 UTC, and the window opens Wed 2026-03-25 09:00 UTC (ask again at 2026-03-25 09:00:00 UTC)
	//   pass     file          approved/git-1a2b3c.yaml exists on the policy ref
}

// A declaration that does not compile is an error, at its place, when the file is read.
func Example_mistakes() {
	doc, _ := strictyaml.Parse("gates.yaml", []byte(`gates:
  - cel: objects.all(o, )
  - soak: {stage: staging, for: 2 days}
`))
	_, _, err := pipeline.ParseGates(policy.Kinds(), doc, "production", lock.Lock{}, fstest.MapFS{})
	fmt.Printf("%.47s…\n", err)
	// Output:
	// gates.yaml:2:10: gates[0].cel: does not compile…
}
