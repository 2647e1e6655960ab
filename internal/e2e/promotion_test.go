package e2e

import (
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/testworld"
)

// promotable makes the demo's pipeline one that can be promoted, with a promoter's key for each stage and a live ref.
func (w *world) promotable() {
	w.t.Helper()
	pipeline := w.path("gitops", "lockage.yaml")
	text := strings.NewReplacer(
		"identities:\n", "identities:\n  promoter: {key: \"keys/promote-{stage}.pub\"}\n",
		"sign:\n", "sign:\n  promoter: {key: \"../promote-{stage}.key\"}\n",
		"stages:\n", "mirror: {path: \"apps/codeai/{stage}/deploy\"}\nstages:\n",
	).Replace(read(w.t, pipeline))
	write(w.t, pipeline, text)
	for _, stage := range []string{"staging", "test", "review", "production"} {
		w.promoterKey(stage)
	}
	w.pushGitOps("promoters")
}

// promoterKey makes a stage's promoter: its keys beside the GitOps repository, the public one in there, too.
func (w *world) promoterKey(stage string) {
	w.t.Helper()
	pair, err := testworld.KeyPair()
	if err != nil {
		w.t.Fatal(err)
	}
	write(w.t, w.path("promote-"+stage+".key"), string(pair.Private))
	write(w.t, w.path("promote-"+stage+".pub"), string(pair.Public))
	write(w.t, w.path("gitops", "keys", "promote-"+stage+".pub"), string(pair.Public))
}

// signedBy reports whether stock cosign finds a reference signed by a stage's promoter, in all its versions.
func (w *world) signedBy(stage, reference string) bool {
	w.t.Helper()
	var verdicts []bool
	w.eachCosign(func() {
		_, _, err := w.try(".", "cosign", w.cosign("verify", "--new-bundle-format=true", "--key", w.path("promote-"+stage+".pub"), reference)...)
		verdicts = append(verdicts, err == nil)
	})
	if verdicts[0] != verdicts[1] {
		w.t.Errorf("versions of cosign differ on %s by %s: %v", reference, stage, verdicts)
	}
	return verdicts[0]
}

// TestPromoterSignature has cosign distinguish what was promoted to production from everything else.
func TestPromoterSignature(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	for _, kind := range registries {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, bin, kind.start(t))
			w.promotable()
			stages := w.hydrate()
			repository, _, _ := strings.Cut(stages[0].Reference, "@")
			is := func(stage, reference string, want bool) {
				t.Helper()
				if got := w.signedBy(stage, reference); got != want {
					t.Errorf("cosign with promote-%s.pub on %s: %t", stage, reference, got)
				}
			}
			production := stages[3].Reference
			is("production", production, false)
			for _, stage := range []string{"staging", "test", "review"} {
				w.refused("gitops", bin, "promote", "production")
				is("production", production, false)
				w.command("gitops", bin, "promote", stage)
			}
			w.command("gitops", bin, "promote", "production", "--dry-run")
			is("production", production, false)
			w.command("gitops", bin, "promote", "production")
			is("production", production, true)
			is("production", repository+":production", true)
			for _, stage := range stages[:3] {
				is(stage.Stage, repository+":"+stage.Stage, true)
				is("production", stage.Reference, false)
				is(stage.Stage, production, false)
			}
		})
	}
}

// TestReproduced has somebody else render again what the hydrator published, and cosign judge by a policy whether the summary of the promotion says so.
func TestReproduced(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	w := newWorld(t, bin, startOlareg(t))
	w.promotable()
	w.command(".", bin, "keys", "generate", "second")
	write(t, w.path("gitops", "keys", "second.pub"), read(t, w.path("second.pub")))
	file := w.path("gitops", "lockage.yaml")
	write(t, file, strings.NewReplacer(
		"identities:\n", "identities:\n  hydrator-2: {key: keys/second.pub}\n",
		"- {name: staging, auto: true}", "- {name: staging, gates: [reproduced: {by: [hydrator-2]}]}",
	).Replace(read(t, file)))
	w.pushGitOps("a second hydrator")
	stages := w.hydrate()
	w.denies("fail reproduced none: it takes 1 render", "promote", "staging")
	w.command("gitops", bin, "attest", "--rebuilt", "staging", "--key", w.path("second.key"))
	for _, stage := range []string{"staging", "test"} {
		w.command("gitops", bin, "promote", stage)
	}
	_, policy, found := strings.Cut(read(t, "../../docs/consumers/slsa-verifier.md"), "```cue\n")
	if policy, _, _ = strings.Cut(policy, "```"); !found {
		t.Fatal("the page shows no policy")
	}
	write(t, w.path("reproduced.cue"), policy)
	w.eachCosign(func() {
		for i, reproduced := range []bool{true, false} {
			verify := w.cosign("verify-attestation", "--new-bundle-format=true", "--type", "https://slsa.dev/verification_summary/v1",
				"--key", w.path("promote-"+stages[i].Stage+".pub"), stages[i].Reference)
			w.command(".", "cosign", verify...)
			if _, stderr, err := w.try(".", "cosign", append(verify, "--policy", w.path("reproduced.cue"))...); (err == nil) != reproduced {
				t.Errorf("cosign and the summary of %s: %v: %s", stages[i].Stage, err, stderr)
			}
		}
	})
}
