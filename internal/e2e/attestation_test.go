package e2e

import (
	"strings"
	"testing"
)

// TestCosignAttestations promotes by what stock cosign attests, in its older form and in bundles: one version on each kind of registry.
func TestCosignAttestations(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	for n, kind := range registries {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			stock := []string{"cosign", "cosign3"}[n]
			w := newWorld(t, bin, kind.start(t))
			w.promotable()
			w.command(".", bin, "keys", "generate", "ci")
			write(t, w.path("gitops", "keys", "ci.pub"), read(t, w.path("ci.pub")))
			file := w.path("gitops", "lockage.yaml")
			write(t, file, strings.NewReplacer(
				"identities:\n", "identities:\n  ci: {key: keys/ci.pub}\n",
				"- {name: staging, auto: true}", `- name: staging
    gates:
      - attestation: {type: https://acme.dev/ui-tests/v1, subject: image, by: [ci], where: 'predicate.result == "PASSED"'}
      - image: {by: [ci], provenance: true}`,
			).Replace(read(t, file)))
			w.pushGitOps("gates")
			w.hydrate("staging")

			lock := read(t, w.path("gitops", "warehouses/codeai/builds/current.yaml"))
			_, digest, _ := strings.Cut(lock, "digest: ")
			digest, _, _ = strings.Cut(digest, "\n")
			image := w.registry + "/acme/codeai@" + strings.Trim(digest, "'\" ")
			_, commit, _ := strings.Cut(lock, "gitCommit: ")
			commit, _, _ = strings.Cut(commit, "\n")
			write(t, w.path("passed.json"), `{"result": "PASSED"}`)
			write(t, w.path("failed.json"), `{"result": "FAILED"}`)
			write(t, w.path("provenance.json"), `{"buildDefinition": {"buildType": "https://acme.dev/ci/v1", "externalParameters": {},
				"resolvedDependencies": [{"uri": "git+https://github.com/acme/codeai", "digest": {"gitCommit": "`+commit+`"}}]},
				"runDetails": {"builder": {"id": "https://acme.dev/ci"}}}`)
			cosign := func(verb string, args ...string) {
				t.Helper()
				w.command(".", stock, append([]string{verb, "--use-signing-config=false", "--tlog-upload=false", "--allow-http-registry=true", "--yes", "--key", w.path("ci.key")}, append(args, image)...)...)
			}
			denied := func(want string) {
				t.Helper()
				if output := w.refused("gitops", bin, "promote", "staging"); !strings.Contains(output, want) {
					t.Errorf("not denied for %q: %s", want, output)
				}
			}

			denied("fail attestation")
			// A bundle by somebody else, for whose sake other programs do not look at the older form at all.
			w.command(".", bin, "keys", "generate", "scanner")
			w.command(".", stock, "attest", "--use-signing-config=false", "--tlog-upload=false", "--allow-http-registry=true", "--yes", "--key", w.path("scanner.key"),
				"--new-bundle-format", "--type", "https://acme.dev/scan/v1", "--predicate", w.path("passed.json"), image)
			const older = "--new-bundle-format=false"
			cosign("attest", older, "--type", "https://acme.dev/ui-tests/v1", "--predicate", w.path("failed.json"))
			denied("fail attestation")
			cosign("sign", older)
			cosign("attest", older, "--type", "https://acme.dev/ui-tests/v1", "--predicate", w.path("passed.json"))
			denied("pass attestation")
			denied("fail image")
			cosign("attest", "--new-bundle-format", "--type", "slsaprovenance1", "--predicate", w.path("provenance.json"))
			w.command("gitops", bin, "promote", "staging")
		})
	}
}
