package pipeline

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExpandReceivers(t *testing.T) {
	t.Parallel()
	files := repo("a.yaml", header+`render: {kubeVersion: "1.34"}
sourceRepo: https://github.com/acme/app.git
notify: [{flux: "https://flux-{stage}.example.com/hook/x", secret: "env://FLUX"}]
stages:
  - {name: inherits}
  - {name: replaces, notify: [{url: "https://{pipeline}.example.com", headers: {X-Stage: "{stage}"}}]}
  - {name: nobody, notify: null}
`)
	p, err := Load(files, someKinds(), "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for stage, want := range map[string][]Receiver{
		"inherits": {{Flux: "https://flux-inherits.example.com/hook/x", Secret: "env://FLUX"}},
		"replaces": {{URL: "https://a.example.com", Headers: map[string]string{"X-Stage": "replaces"}}},
		"nobody":   nil,
	} {
		got, err := p[0].Expand(stage, sampleLock(), files)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Notify); diff != "" {
			t.Errorf("%s: %s", stage, diff)
		}
	}
}
