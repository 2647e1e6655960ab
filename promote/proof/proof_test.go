package proof

import (
	"encoding/base64"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
)

// bundle makes a bundle of a statement, as far as the commands that verify it depend on it.
func bundle(predicateType string, digests ...string) sign.Bundle {
	var subjects []string
	for _, d := range digests {
		subjects = append(subjects, fmt.Sprintf(`{"name":"x","digest":{"sha256":%q}}`, d))
	}
	payload := fmt.Sprintf(`{"predicateType":%q,"subject":[%s]}`, predicateType, strings.Join(subjects, ","))
	return sign.Bundle{JSON: fmt.Appendf(nil, `{"dsseEnvelope":{"payload":%q}}`, base64.StdEncoding.EncodeToString([]byte(payload)))}
}

// TestStatements lets people of other gates sign what the commands name: a statement with several subjects, types that a shell would run, and
// that end a block of code.
func TestStatements(t *testing.T) {
	t.Parallel()
	artifact, image := digest.FromString("artifact"), digest.FromString("image")
	var p Promotion
	p.Promotion = live.Promotion{Statements: ledger.Statements{Bundles: []sign.Bundle{
		bundle("https://acme.dev/scan/v1", image.Encoded(), digest.FromString("another image").Encoded()),
		bundle("https://acme.dev/both/v1", image.Encoded(), artifact.Encoded()),
		bundle("https://acme.dev/'$(echo${IFS}RUN)'`echo${IFS}RUN`;echo${IFS}RUN", image.Encoded()),
		bundle("https://acme.dev/\n```\necho RUN\n```sh\n", artifact.Encoded()),
		bundle("https://acme.dev/v1", "$(echo RUN)"),
		bundle("https://acme.dev/v1"),
	}}}
	p.To.Digest = artifact
	text, err := p.statements(map[string][]byte{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "--digest " + image.Encoded() + " --digestAlg sha256"; strings.Count(text, want) != 2 {
		t.Errorf("%s is not in two commands of\n%s", want, text)
	}
	if want := "--type https://acme.dev/both/v1 artifact/manifest.json"; !strings.Contains(text, want) {
		t.Errorf("%s is not in\n%s", want, text)
	}
	commands := regexp.MustCompile("(?s)```sh\n(.*?)\n```\n").FindAllStringSubmatch(text, -1)
	if len(commands) != 6 {
		t.Errorf("%d commands, want 6:\n%s", len(commands), text)
	}
	for _, command := range commands {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "cosign() { :; }\n"+command[1]).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s\nran %s, %v", command[1], out, err)
		}
	}
}
