package e2e

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	lockagesign "github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// refusedTokens hydrates with tokens of the hydrator that the authority refuses, or that name somebody else.
func (w *world) refusedTokens(s *sigstore) {
	w.t.Helper()
	const hydrator = "hydrator@example.com"
	now := time.Now()
	tokens := map[string]string{
		"it expired at ": s.tokenOf(hydrator, map[string]any{"exp": now.Add(-time.Minute).Unix()}),
		`it is for the audience "other", and has to be`:    s.tokenOf(hydrator, map[string]any{"aud": "other"}),
		"it is not valid before ":                          s.tokenOf(hydrator, map[string]any{"nbf": now.Add(time.Hour).Unix()}),
		"its issuer is " + strconv.Quote(s.issuer.URL+"/"): s.tokenOf(hydrator, map[string]any{"iss": s.issuer.URL + "/"}),
		`its issuer is "https://issuer.example"`:           s.tokenOf(hydrator, map[string]any{"iss": "https://issuer.example"}),
		"its issuer is " + strconv.Quote(s.issuer.URL):     s.tokenOf(hydrator, map[string]any{"email_verified": false}),
		"gives no certificate for the token":               s.token(hydrator)[:100] + "x" + s.token(hydrator)[101:],
	}
	for want, token := range tokens {
		done := w.as(token)
		w.denies(want, "hydrate")
		done()
	}
	for _, email := range []string{hydrator + "\n", " " + hydrator, "hydrat\u043er@example.com", "a b@example.com"} {
		done := w.as(s.token(email))
		w.denies("gives no certificate for the token", "hydrate")
		done()
	}
	for _, email := range []string{"Hydrator@example.com", hydrator + ".", "hydrator+ci@example.com", strings.Repeat("h", 300) + "@example.com"} {
		done := w.as(s.token(email))
		w.denies("sign.hydrator signs as "+email+" of ", "hydrate")
		done()
	}
	if stdout, _, err := w.try(".", "crane", "ls", "--insecure", w.registry+"/acme/codeai-manifests"); err == nil && strings.TrimSpace(stdout) != "" {
		w.t.Errorf("tags of hydrations that failed: %s", stdout)
	}
}

// stopsHalfWay stops the log at the third entry of a hydration, which fails without a tag, and starts it again.
func (w *world) stopsHalfWay(s *sigstore) {
	w.t.Helper()
	var entries atomic.Int64
	stop := func() {
		if entries.Add(1) == 3 {
			_ = s.log.Process.Kill()
			_ = s.log.Wait()
		}
	}
	s.entry.Store(&stop)
	w.denies(s.rekor, "hydrate")
	s.entry.Store(nil)
	if entries.Load() < 3 {
		w.t.Errorf("the log was asked for %d entries, and never stopped", entries.Load())
	}
	if stdout, _, err := w.try(".", "crane", "ls", "--insecure", w.registry+"/acme/codeai-manifests"); err == nil && strings.Contains(stdout, "git-") {
		w.t.Errorf("tags of a hydration that failed: %s", stdout)
	}
	s.startLog()
	s.await(s.rekor + "/healthz")
}

// certified signs by a certificate that the authority gave for some minutes; whether they are over is up to the test.
type certified struct {
	*sigstore
	email       string
	from, until time.Time
}

// Identity implements sign.Signer.
func (c certified) Identity() lockagesign.Identity {
	return lockagesign.Identity{Issuer: c.issuer.URL, Subject: c.email}
}

// SignPayload implements sign.Signer.
func (certified) SignPayload(context.Context, []byte) (map[string]string, error) { return nil, nil }

// SignStatement implements sign.Signer.
func (c certified) SignStatement(ctx context.Context, statement []byte) ([]byte, error) {
	key, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, err
	}
	bundle, err := sign.Bundle(&sign.DSSEData{Data: statement, PayloadType: "application/vnd.in-toto+json"}, key, sign.BundleOptions{
		CertificateProvider: c, Context: ctx,
		TimestampAuthorities: []*sign.TimestampAuthority{sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: c.clock + "/api/v1/timestamp"})},
		TransparencyLogs:     []sign.Transparency{sign.NewRekor(&sign.RekorOptions{BaseURL: c.rekor, Version: 2})},
	})
	if err != nil {
		return nil, err
	}
	return protojson.Marshal(bundle)
}

// GetCertificate implements sign.CertificateProvider, as Fulcio did at that time.
func (c certified) GetCertificate(_ context.Context, key sign.Keypair, _ *sign.CertificateProviderOptions) ([]byte, error) {
	issuer, err := asn1.MarshalWithParams(c.issuer.URL, "utf8")
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(c.until.UnixNano()), NotBefore: c.from, NotAfter: c.until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, EmailAddresses: []string{c.email},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: issuer}},
	}
	return x509.CreateCertificate(rand.Reader, leaf, c.authority, key.GetPublicKey(), c.authorityKey)
}

// judgeCertificates has an officer approve by a certificate that ended half an hour ago, then by one that is valid.
func (w *world) judgeCertificates(s *sigstore, stage hydrated) {
	w.t.Helper()
	now := time.Now()
	name, digest, _ := strings.Cut(stage.Reference, "@")
	repository, err := oci.NewClient(oci.Options{}).Repository(name)
	if err != nil {
		w.t.Fatal(err)
	}
	subject, err := repository.Resolve(w.t.Context(), digest)
	if err != nil {
		w.t.Fatal(err)
	}
	release := "git-" + strings.TrimSpace(w.command("source", "git", "rev-parse", "HEAD"))
	claim := lockagesign.Claim{Pipeline: "codeai", Stage: stage.Stage, Release: release, Repository: name}
	for _, valid := range []bool{false, true} {
		by := certified{s, "officer@example.com", now.Add(-50 * time.Minute), now.Add(-30 * time.Minute)}
		if valid {
			by.until = now.Add(30 * time.Minute)
		}
		statement, err := predicate.NewStatement(predicate.Approval{Claim: claim, Time: now}, subject.Digest)
		if err == nil {
			_, err = lockagesign.Attest(w.t.Context(), repository, subject, by, statement)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		w.eachCosign(func() {
			_, _, err := w.try(".", "cosign", "verify-attestation", "--new-bundle-format=true", "--type", predicate.TypeApproval, "--trusted-root", w.path("gitops", "keys", "trusted_root.json"),
				"--certificate-oidc-issuer", s.issuer.URL, "--certificate-identity", by.email, "--insecure-ignore-sct", "--use-signed-timestamps", "--allow-http-registry", stage.Reference)
			if (err == nil) != valid {
				w.t.Errorf("an approval by a certificate that is valid (%t): cosign says %v", valid, err)
			}
		})
		if !valid {
			w.denies("fail approval", "promote", stage.Stage)
		}
	}
}

// copied copies what is live to a second registry, and through a file to a third one, and verifies both without the first one: lockage by the
// pipeline file, cosign by the trusted root.
func (w *world) copied(s *sigstore, stage string, first *testworld.Server) {
	w.t.Helper()
	second, third := testworld.NewRegistry(w.t, registry.Options{}), testworld.NewRegistry(w.t, registry.Options{})
	to := second.Host + "/acme/copy"
	file := w.path("gitops", "lockage.yaml")
	write(w.t, file, strings.Replace(read(w.t, file), "sigstore: {", "copies: ["+to+"]\nsigstore: {", 1))
	w.pushGitOps("copies")
	var copied struct {
		Results []struct {
			Digest   string
			Verified bool
		}
	}
	if err := json.Unmarshal([]byte(w.command("gitops", w.bin, "copy", "live:"+stage, to, "-o", "json")), &copied); err != nil {
		w.t.Fatal(err)
	}
	if !copied.Results[0].Verified {
		w.t.Error("the copy is not verified")
	}
	w.command("gitops", w.bin, "copy", "live:"+stage, w.path("airgap.tar"))
	first.Intercept(func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) })
	w.command("gitops", w.bin, "verify", to+":"+stage, "--identity", "promoter")
	w.command("gitops", w.bin, "copy", w.path("airgap.tar"), third.Host+"/acme/copy")
	for _, host := range []string{second.Host, third.Host} {
		w.judgeKeyless(s, hydrated{Reference: host + "/acme/copy@" + copied.Results[0].Digest}, "promoter@example.com")
	}
}

// swapped has the pipeline file say that the promoter hydrates, and the hydrator promotes: what was signed so is not accepted.
func (w *world) swapped(s *sigstore, stage string) {
	w.t.Helper()
	file := w.path("gitops", "lockage.yaml")
	before := read(w.t, file)
	write(w.t, file, strings.NewReplacer("subject: hydrator@example.com", "subject: promoter@example.com", "subject: promoter@example.com", "subject: hydrator@example.com").Replace(before))
	w.pushGitOps("swapped")
	w.denies("the record of what is live is broken", "verify", "live:"+stage)
	w.denies("it claims to be signed by hydrator@example.com", "verify", stage)
	back := w.as(s.token("hydrator@example.com"))
	w.denies("was signed by the promoter of commit", "promote", stage)
	back()
	write(w.t, file, before)
	w.pushGitOps("swapped back")
	w.command("gitops", w.bin, "verify", "live:"+stage)
}

// replacedRoot has the pipeline file name the trusted root of another authority.
func (w *world) replacedRoot(s *sigstore, stage string) {
	w.t.Helper()
	root := w.path("gitops", "keys", "trusted_root.json")
	before := read(w.t, root)
	s.writeAuthority()
	w.trustedRoot(s)
	w.pushGitOps("another root")
	w.denies("does not prove it", "verify", stage)
	w.denies("is denied", "verify", "live:"+stage)
	w.denies("put the former ones back beside the new ones", "promote", stage)
	write(w.t, root, before)
	w.pushGitOps("the root of before")
	w.command("gitops", w.bin, "verify", "live:"+stage)
}
