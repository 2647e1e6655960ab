package health

import (
	"encoding/json"
	"strings"
	"testing"
)

// Whatever an object looks like, judging it ends, and without the digest in it nothing is ready.
func FuzzJudge(f *testing.F) {
	const d = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	f.Add(`{"status":{"sync":{"status":"Synced","revision":"` + d + `"},"health":{"status":"Healthy"}}}`)
	f.Add(`{"metadata":{"generation":1},"spec":{"sources":[{"repoURL":1},2]},"status":{"conditions":[{"type":"Ready","status":"True"},3],"artifact":{"revision":"x@` + d + `"},"observedGeneration":1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var fields map[string]any
		if json.Unmarshal([]byte(text), &fields) != nil {
			return
		}
		for _, state := range []State{
			judgeApplication(object{application, fields}, d),
			judgeFlux(object{ociRepository, fields}, d),
			judgeFlux(object{kustomization, fields}, d),
		} {
			if state.Ready && (!strings.Contains(text, "aaaa") && !strings.Contains(text, `\u`)) {
				t.Errorf("%s is ready", state.Kind)
			}
			if len(state.Status) > maxWords+len("…") || strings.ContainsAny(state.Status+state.Revision, "\x1b\n") {
				t.Errorf("status %q", state.Status)
			}
		}
	})
}
