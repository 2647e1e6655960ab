package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// vault is a server of HashiCorp's Vault whose transit engine has keys.
type vault struct {
	services
	address, root string
}

func startVault(t *testing.T) *vault {
	t.Helper()
	if _, err := exec.LookPath("vault-server"); err != nil {
		t.Fatalf("LOCKAGE_E2E=1, but a service is missing: %v; run `make e2e`", err)
	}
	v := &vault{services: services{t: t, dir: t.TempDir()}}
	v.start("vault-server")
	eventually(func() bool {
		for line := range strings.Lines(read(t, v.path("vault-server.log"))) {
			if strings.HasPrefix(line, "http://") && strings.HasSuffix(line, "\n") {
				v.address, v.root, _ = strings.Cut(strings.TrimSpace(line), " ")
			}
		}
		return v.root != ""
	})
	v.ask(http.MethodPost, "sys/mounts/transit", map[string]any{"type": "transit"})
	return v
}

// ask sends a request to the API, as root, and returns its answer.
func (v *vault) ask(method, path string, body any) (answer struct {
	Auth struct {
		ClientToken string `json:"client_token"`
	}
	Data struct {
		LatestVersion int `json:"latest_version"`
		Keys          map[string]struct {
			PublicKey string `json:"public_key"`
		}
	}
},
) {
	v.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		v.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(v.t.Context(), method, v.address+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		v.t.Fatal(err)
	}
	request.Header.Set("X-Vault-Token", v.root)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err = io.ReadAll(response.Body)
	if err != nil || response.StatusCode/100 != 2 {
		v.t.Fatalf("%s %s: %s %v: %s", method, path, response.Status, err, text)
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &answer); err != nil {
			v.t.Fatal(err)
		}
	}
	return answer
}

// key makes a key that Vault keeps, and returns its public half and a token that may do with it what docs/identities.md says, and nothing else.
func (v *vault) key(name, kind string) (public, token string) {
	v.t.Helper()
	v.ask(http.MethodPost, "transit/keys/"+name, map[string]any{"type": kind})
	form := "/sha2-256"
	if kind == "ed25519" {
		form = ""
	}
	rules := fmt.Sprintf("path \"transit/keys/%[1]s\" { capabilities = [\"read\"] }\npath \"transit/sign/%[1]s%[2]s\" { capabilities = [\"update\"] }\n", name, form)
	v.ask(http.MethodPut, "sys/policies/acl/"+name, map[string]any{"policy": rules})
	return v.public(name), v.ask(http.MethodPost, "auth/token/create", map[string]any{"policies": []string{name}, "no_default_policy": true}).Auth.ClientToken
}

// public returns the newest public key of a name, in PEM.
func (v *vault) public(name string) string {
	v.t.Helper()
	data := v.ask(http.MethodGet, "transit/keys/"+name, nil).Data
	text := data.Keys[fmt.Sprint(data.LatestVersion)].PublicKey
	if strings.HasPrefix(text, "-----BEGIN") {
		return text
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		v.t.Fatalf("public key of %s: %q", name, text)
	}
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(raw))
	if err != nil {
		v.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// TestVault signs as every role, and approves, with keys that Vault keeps, by a build that has its client. Cosign judges.
func TestVault(t *testing.T) {
	t.Parallel()
	requireE2E(t)
	v := startVault(t)
	bin := filepath.Join(t.TempDir(), "lockage")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "hashivault", "-ldflags", "-s", "-o", bin, "../../cmd/lockage")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w := newWorld(t, bin, startOlareg(t))
	tokens := map[string]string{}
	for name, kind := range map[string]string{"hydrator": "ecdsa-p256", "promote-staging": "ed25519", "promote-test": "rsa-2048", "sre": "ecdsa-p256"} {
		var public string
		public, tokens[name] = v.key(name, kind)
		write(t, w.path(name+".pub"), public)
		write(t, w.path("gitops", "keys", name+".pub"), public)
	}
	file := w.path("gitops", "lockage.yaml")
	write(t, file, strings.NewReplacer(
		"{key: env://HYDRATOR_KEY}\n", "{key: hashivault://hydrator}\n  promoter: {key: \"hashivault://promote-{stage}\"}\n",
		"identities:\n", "identities:\n  promoter: {key: \"keys/promote-{stage}.pub\"}\n  sre: {key: keys/sre.pub}\n",
		"  - {name: test, after: [staging]}\n", "  - {name: test, after: [staging], gates: [approval: {by: [sre]}]}\n",
		"  - {name: review, after: [staging]}\n  - {name: production, after: {all: [test, review]}}\n", "").Replace(read(t, file)))
	w.pushGitOps("keys in Vault")
	w.env = append(w.env, "VAULT_ADDR="+v.address)
	as := func(name string) { w.env = append(w.env, "VAULT_TOKEN="+tokens[name]) }

	as("sre")
	if out := w.refused("gitops", bin, "hydrate"); !strings.Contains(out, "permission denied") || strings.Contains(out, tokens["sre"]) {
		t.Errorf("with a token for another key: %s", out)
	}
	as("hydrator")
	if out := w.command(".", "cosign", "public-key", "--key", "hashivault://hydrator"); strings.TrimSpace(out) != strings.TrimSpace(v.public("hydrator")) {
		t.Errorf("cosign's public key: %s", out)
	}
	stages := w.hydrate()
	w.eachCosign(func() { w.judgeSignatures(stages[0]) })
	as("promote-staging")
	w.command("gitops", bin, "promote", "staging")
	as("promote-test")
	w.denies("approval", "promote", "test")
	as("sre")
	w.command("gitops", bin, "approve", "test", "--key", "hashivault://sre")
	as("promote-test")
	w.command("gitops", bin, "promote", "test")
	w.command("gitops", bin, "verify", "live:test")
	for stage, signed := range map[string]bool{"staging": true, "test": false} {
		if w.signedBy(stage, stages[0].Reference) != signed {
			t.Errorf("cosign with promote-%s.pub on what staging runs: %t", stage, !signed)
		}
	}

	// A key that is rotated in Vault is another key: it is named, and nothing is written.
	v.ask(http.MethodPost, "transit/keys/hydrator/rotate", nil)
	as("hydrator")
	w.release()
	w.denies("the key hashivault://hydrator (sign.hydrator) is not the one that identities.hydrator trusts", "hydrate")
	write(t, w.path("gitops", "keys", "hydrator.pub"), v.public("hydrator")+read(t, w.path("gitops", "keys", "hydrator.pub")))
	w.pushGitOps("the rotated key, before the former one")
	w.hydrate()
	w.command("gitops", bin, "verify", "live:staging")

	v.ask(http.MethodPut, "sys/seal", nil)
	w.release()
	if out := w.refused("gitops", bin, "hydrate"); !strings.Contains(out, "sealed") || !strings.Contains(out, "it takes an unsealed server at VAULT_ADDR") {
		t.Errorf("with a sealed server: %s", out)
	}
}
