package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/testworld"
)

// sigstore is Fulcio, Rekor v2 and a timestamp authority, built from upstream, with an issuer of tokens, all on loopback ports.
type sigstore struct {
	services
	issuer *httptest.Server
	key    *rsa.PrivateKey
	fulcio string
	rekor  string
	clock  string
	logAt  string
	log    *exec.Cmd

	authority    *x509.Certificate
	authorityKey *ecdsa.PrivateKey
	entry        atomic.Pointer[func()] // called before an entry of the log; nil for nothing
}

const since = "2020-01-01T00:00:00Z"

// startSigstore starts the services, and writes trusted_root.json and signing_config.json with cosign.
func startSigstore(t *testing.T, w *world) *sigstore {
	t.Helper()
	s := &sigstore{services: services{t: t, dir: t.TempDir()}}
	s.startIssuer()
	s.fulcio, s.clock, s.logAt = "http://"+freeAddress(t), "http://"+freeAddress(t), "http://"+freeAddress(t)
	s.rekor = s.watchLog()
	s.writeAuthority()
	s.start("fulcio", "serve", "--ca", "fileca", "--fileca-cert", s.path("ca.pem"), "--fileca-key", s.path("ca.key"), "--fileca-key-passwd", password, "--fileca-watch=false",
		"--ct-log-url=", "--config-path", s.path("fulcio.yaml"), "--host", "127.0.0.1", "--port", port(s.fulcio), "--grpc-host", "127.0.0.1", "--grpc-port", port(freeAddress(t)),
		"--metrics-port", port(freeAddress(t)), "--legacy-unix-domain-socket", s.path("fulcio.sock"))
	s.start("timestamp-server", "serve", "--host", "127.0.0.1", "--port", port(s.clock), "--timestamp-signer", "memory", "--disable-ntp-monitoring")
	s.startLog()
	s.await(s.fulcio + "/api/v2/configuration")
	s.await(s.clock + "/api/v1/timestamp/certchain")
	s.await(s.rekor + "/healthz")
	write(t, s.path("tsa.pem"), s.get(s.clock+"/api/v1/timestamp/certchain"))
	service := func(url, version string) string {
		return fmt.Sprintf("url=%s,api-version=%s,start-time=%s,operator=test", url, version, since)
	}
	w.trustedRoot(s)
	w.command(".", "cosign", "signing-config", "create", "--fulcio", service(s.fulcio, "1"), "--rekor", service(s.rekor, "2"), "--rekor-config", "ANY",
		"--tsa", service(s.clock+"/api/v1/timestamp", "1"), "--tsa-config", "ANY", "--oidc-provider", service(s.issuer.URL, "1"),
		"--out", w.path("gitops", "keys", "signing_config.json"))
	return s
}

// trustedRoot writes the trusted root of the services' keys.
func (w *world) trustedRoot(s *sigstore) {
	w.t.Helper()
	w.command(".", "cosign", "trusted-root", "create", "--fulcio", "url="+s.fulcio+",certificate-chain="+s.path("ca.pem")+",start-time="+since,
		"--rekor", "url="+s.rekor+",public-key="+s.path("rekor.pub")+",start-time="+since+",origin=127.0.0.1",
		"--tsa", "url="+s.clock+"/api/v1/timestamp,certificate-chain="+s.path("tsa.pem")+",start-time="+since, "--out", w.path("gitops", "keys", "trusted_root.json"))
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

func (s *sigstore) startLog() {
	s.log = s.start("rekor-server", "serve", "--storage-dir", s.path("rekor"), "--hostname", "127.0.0.1", "--signer-filepath", s.path("rekor.key"), "--http-address", "127.0.0.1",
		"--http-port", port(s.logAt), "--grpc-port", port(freeAddress(s.t)), "--http-metrics-port", port(freeAddress(s.t)), "--checkpoint-interval", "1s", "--batch-max-age", "200ms")
}

// watchLog serves the log behind a proxy that sees its entries.
func (s *sigstore) watchLog() string {
	s.t.Helper()
	target, err := url.Parse(s.logAt)
	if err != nil {
		s.t.Fatal(err)
	}
	log := httputil.NewSingleHostReverseProxy(target)
	log.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before := s.entry.Load(); before != nil && r.Method == http.MethodPost {
			(*before)()
		}
		log.ServeHTTP(w, r)
	}))
	s.t.Cleanup(server.Close)
	return server.URL
}

// await waits until a service answers, or its process has ended.
func (s *sigstore) await(url string) {
	eventually(func() bool {
		response, err := http.Get(url)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

func (s *sigstore) get(url string) string {
	s.t.Helper()
	response, err := http.Get(url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// writeAuthority writes the files of the certificate authority and of the log.
func (s *sigstore) writeAuthority() {
	s.t.Helper()
	check := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"test"}, CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(err)
	write(s.t, s.path("ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	s.authority, err = x509.ParseCertificate(der)
	check(err)
	s.authorityKey = key
	private, err := x509.MarshalECPrivateKey(key)
	check(err)
	box, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", private, []byte(password), x509.PEMCipherAES256) //nolint:staticcheck // what fulcio reads
	check(err)
	write(s.t, s.path("ca.key"), string(pem.EncodeToMemory(box)))
	write(s.t, s.path("fulcio.yaml"), fmt.Sprintf("oidc-issuers:\n  %s:\n    issuer-url: %s\n    client-id: sigstore\n    type: email\n", s.issuer.URL, s.issuer.URL))
	public, log, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	der, err = x509.MarshalPKCS8PrivateKey(log)
	check(err)
	write(s.t, s.path("rekor.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	der, err = x509.MarshalPKIXPublicKey(public)
	check(err)
	write(s.t, s.path("rekor.pub"), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	check(os.MkdirAll(s.path("rekor"), 0o700))
}

// startIssuer serves the keys of an issuer of tokens.
func (s *sigstore) startIssuer() {
	s.t.Helper()
	var err error
	if s.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		s.t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, value any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": s.issuer.URL, "jwks_uri": s.issuer.URL + "/keys", "authorization_endpoint": s.issuer.URL + "/auth", "token_endpoint": s.issuer.URL + "/token",
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "kid": "k", "use": "sig", "alg": "RS256", "n": encode(s.key.N.Bytes()), "e": "AQAB"}}})
	})
	s.issuer = httptest.NewServer(mux)
	s.t.Cleanup(s.issuer.Close)
}

// token returns a token for an e-mail address.
func (s *sigstore) token(email string) string {
	s.t.Helper()
	return s.tokenOf(email, nil)
}

// tokenOf returns a token for an e-mail address with other claims than one has.
func (s *sigstore) tokenOf(email string, others map[string]any) string {
	s.t.Helper()
	now := time.Now()
	all := map[string]any{"iss": s.issuer.URL, "aud": "sigstore", "sub": email, "email": email, "email_verified": true,
		"iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix()}
	maps.Copy(all, others)
	claims, err := json.Marshal(all)
	if err != nil {
		s.t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"RS256","kid":"k","typ":"JWT"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	signed, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		s.t.Fatal(err)
	}
	return text + "." + encode(signed)
}

// TestKeyless hydrates, promotes and approves without keys, with upstream's Fulcio, Rekor v2 and timestamp authority, and lets cosign judge.
func TestKeyless(t *testing.T) {
	bin := requireE2E(t)
	for _, service := range []string{"fulcio", "rekor-server", "timestamp-server"} {
		if _, err := exec.LookPath(service); err != nil {
			t.Fatalf("LOCKAGE_E2E=1, but a service is missing: %v; run `make e2e`", err)
		}
	}
	first := testworld.Serve(t, newOlareg(t, true))
	w := newWorld(t, bin, first.Host)
	s := startSigstore(t, w)
	w.roots(s)
	w.keyless(s)
	w.refusedTokens(s)

	done := w.as(s.token("promoter@example.com"))
	w.denies("sign.hydrator signs as promoter@example.com", "hydrate")
	done()
	done = w.as(s.token("hydrator@example.com"))
	w.stopsHalfWay(s)
	stages := w.hydrate()
	w.judgeKeyless(s, stages[0], "hydrator@example.com")
	done()

	defer w.as(s.token("promoter@example.com"))()
	w.judgeCertificates(s, stages[0])
	done = w.as(s.token("hydrator@example.com"))
	w.denies("sign.promoter signs as hydrator@example.com", "promote", stages[0].Stage)
	done()
	w.command("gitops", bin, "promote", stages[0].Stage)
	w.judgeKeyless(s, stages[0], "promoter@example.com")
	w.command("gitops", bin, "verify", "live:"+stages[0].Stage)
	next := stages[1].Stage
	w.approve(s, next)
	w.command("gitops", bin, "verify", "live:"+next)
	if out := w.command("gitops", bin, "history", next); !strings.Contains(out, "grace@release.example.com") && !strings.Contains(out, "promoted") {
		t.Errorf("history: %s", out)
	}
	commands := w.proven(next, 7) // the hydrator's two, the promoter's three and two approvals
	w.eachCosign(func() {
		w.docs("docs/copies.md", "cosign verify-blob-attestation --new-bundle-format --trusted-root trusted_root.json \\\n  --use-signed", "proof",
			"--use-signed-timestamps", "--use-signed-timestamps --insecure-ignore-sct", "https://accounts.example.com", s.issuer.URL,
			"statements/06-approval-v1.sigstore.json", w.statement(commands, "ada@release.example.com"))
		for _, command := range commands {
			if forged := strings.ReplaceAll(command, "@", "@evil."); forged == command {
				t.Errorf("cosign is not asked who signed: %s", command)
			} else if _, _, err := w.try("proof", "sh", "-c", forged); err == nil {
				t.Errorf("cosign finds another subject: %s", forged)
			}
		}
	})
	w.swapped(s, next)
	w.replacedRoot(s, next)
	w.copied(s, next, first)
}

// denies makes sure that a verb of lockage fails, with a text.
func (w *world) denies(want string, args ...string) {
	w.t.Helper()
	if out := w.refused("gitops", w.bin, args...); !strings.Contains(out, want) {
		w.t.Errorf("%v: not refused for %q: %s", args, want, out)
	}
}

// approve has people approve until a stage is promoted: twice the same, one whose address matches in part, and another.
func (w *world) approve(s *sigstore, stage string) {
	w.t.Helper()
	for i, email := range []string{"ada@release.example.com", "ada@release.example.com", "eve@release.example.com.evil.example"} {
		done := w.as(s.token(email))
		w.command("gitops", w.bin, "approve", stage, "--comment", fmt.Sprint(i))
		done()
		w.denies("1 of 2, by managers (ada@release.example.com of", "promote", stage)
	}
	done := w.as(s.token("grace@release.example.com"))
	w.command("gitops", w.bin, "approve", stage)
	done()
	w.command("gitops", w.bin, "promote", stage)
}

// keyless makes the demo's pipeline one without keys.
func (w *world) keyless(s *sigstore) {
	w.t.Helper()
	name := w.path("gitops", "lockage.yaml")
	text := read(w.t, name)
	before, _, found := strings.Cut(text, "sign:")
	if !found {
		w.t.Fatalf("the demo's pipeline has no sign: %s", text)
	}
	text = before + fmt.Sprintf(`sigstore: {trustedRoot: keys/trusted_root.json, signingConfig: keys/signing_config.json}
sign: {hydrator: {keyless: {}}, promoter: {keyless: {}}}
identities:
  hydrator: {issuer: "%[1]s", subject: hydrator@example.com}
  promoter: {issuer: "%[1]s", subject: promoter@example.com}
  managers: {issuer: "%[1]s", subjectRegexp: '[a-z]+@release\.example\.com'}
  officers: {issuer: "%[1]s", subject: officer@example.com}
stages:
  - name: %[2]s
    gates:
      - approval: {by: [officers]}
  - name: %[3]s
    after: [%[2]s]
    gates:
      - approval: {by: [managers], count: 2}
`, s.issuer.URL, "staging", "production")
	write(w.t, name, text)
	w.pushGitOps("keyless")
}

// as puts a token into the environment of what runs next, until the returned function is called.
func (w *world) as(token string) func() {
	before := w.env
	w.env = append(w.env[:len(w.env):len(w.env)], "SIGSTORE_ID_TOKEN="+token)
	return func() { w.env = before }
}

// judgeKeyless asks cosign, offline, and makes sure that it can say no.
func (w *world) judgeKeyless(s *sigstore, stage hydrated, email string) {
	w.t.Helper()
	verify := func(subject string) []string {
		return []string{"verify", "--new-bundle-format=true", "--trusted-root", w.path("gitops", "keys", "trusted_root.json"), "--certificate-oidc-issuer", s.issuer.URL,
			"--certificate-identity", subject, "--insecure-ignore-sct", "--use-signed-timestamps", "--allow-http-registry", stage.Reference}
	}
	w.eachCosign(func() {
		w.command(".", "cosign", verify(email)...)
		w.refused(".", "cosign", verify("eve@example.com")...)
	})
}

// TestStampedKeys signs with keys, and has a timestamp authority say when. Cosign accepts what is signed as it does without timestamps.
func TestStampedKeys(t *testing.T) {
	t.Parallel()
	bin := requireE2E(t)
	w := newWorld(t, bin, startOlareg(t))
	w.promotable()
	s := startSigstore(t, w)
	file := w.path("gitops", "lockage.yaml")
	write(t, file, strings.Replace(read(t, file), "sign:\n", "sigstore: {trustedRoot: keys/trusted_root.json, signingConfig: keys/signing_config.json}\nsign:\n", 1))
	w.pushGitOps("timestamps")
	stages := w.hydrate()
	w.command(".", bin, "keys", "generate", "stranger")
	w.eachCosign(func() {
		w.judgeSignatures(stages[0])
		w.judgeRefusals(stages[0])
	})
	w.command("gitops", bin, "promote", "staging")
	if out := w.command("gitops", bin, "history", "staging", "-o", "json"); !strings.Contains(out, `"timeSource": "`+s.clock) {
		t.Errorf("the record has no time of the authority: %s", out)
	}
	w.proven("staging", 5)
}
