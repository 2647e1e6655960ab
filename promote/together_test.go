package promote_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockage/lockage/promote"
)

// gate holds requests back until as many are under way.
type gate struct {
	mu      sync.Mutex
	waiting int
	full    chan struct{}
}

func (g *gate) wait(n int) (opened bool) {
	g.mu.Lock()
	if g.waiting++; g.waiting == n {
		close(g.full)
	}
	g.mu.Unlock()
	select {
	case <-g.full:
		return true
	case <-time.After(time.Minute): // too few are under way, or a machine that does nothing
		return false
	}
}

// Stages that do not depend on each other are read together and promoted together: a server that answers none of them before
// it was asked for all is not waited for in vain.
func TestStagesTogether(t *testing.T) {
	t.Parallel()
	const n = 24
	var names []string
	stages := "stages:\n"
	for i := range n {
		names = append(names, fmt.Sprintf("s%02d", i))
		stages += "  - name: " + names[i] + "\n"
	}
	s := newScene(t, true, mirrored+strings.NewReplacer(
		"vars: apps/codeai/deployments/{stage}/deployment.yaml\n", "",
		"\"{namespace}\"", "web",
		"[\"apps/codeai/envTypes/{envType}.values.yaml\", \"apps/codeai/deployments/{stage}/values.yaml\"]", "[apps/codeai/envTypes/production.values.yaml]",
	).Replace(head[:strings.Index(head, "stages:")])+stages)
	read, write := &gate{full: make(chan struct{})}, &gate{full: make(chan struct{})}
	s.faults.before(func(request string) {
		method, tag, _ := strings.Cut(strings.TrimPrefix(request, "registry "), " /v2/acme/codeai-manifests/manifests/s")
		if len(tag) != 2 {
			return
		}
		if at := map[string]*gate{"HEAD": read, "PUT": write}[method]; at != nil && !at.wait(n) {
			t.Errorf("%s of stage s%s had no others beside it", method, tag)
		}
	})
	results, err := promote.Promote(t.Context(), s.options("", names...))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil || r.Action != promote.Promoted {
			t.Errorf("%s: %s, %v", r.Stage, r.Action, r.Err)
		}
	}
}
