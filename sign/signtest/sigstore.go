// Package signtest is an instance of Sigstore for tests: an issuer of tokens, a certificate authority, a timestamp authority and a log that
// speaks the protocol of Rekor v1, on a loopback port. Unlike a true one, it believes any token, and its log is a new one for each entry.
package signtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
)

const (
	certificateLife = 10 * time.Minute
	maxRequest      = 1 << 20
)

// Sigstore is a running instance.
type Sigstore struct {
	URL string

	mu    sync.Mutex
	who   string        // signs in
	clock time.Duration // how far its clock is ahead
	down  map[string]bool

	rootKey, stampKey, logKey *ecdsa.PrivateKey
	root, stamp               *x509.Certificate
}

// New starts an instance that ends with the test.
func New(t testing.TB) *Sigstore {
	t.Helper()
	s, stop, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return s
}

// Start starts an instance. Stop ends it.
func Start() (s *Sigstore, stop func(), err error) {
	s = &Sigstore{down: map[string]bool{}}
	for _, key := range []**ecdsa.PrivateKey{&s.rootKey, &s.stampKey, &s.logKey} {
		if *key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, nil, err
		}
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test", Organization: []string{"test"}}, NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}
	if s.root, err = create(ca, ca, s.rootKey.Public(), s.rootKey); err != nil {
		return nil, nil, err
	}
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		return nil, nil, err
	}
	stamp := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "clock"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}
	if s.stamp, err = create(stamp, s.root, s.stampKey.Public(), s.rootKey); err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v2/signingCert", s.serve("ca", s.certify))
	mux.HandleFunc("POST /api/v1/timestamp", s.serve("tsa", s.timestamp))
	mux.HandleFunc("POST /api/v1/log/entries", s.serve("log", s.enter))
	s.login(mux)
	server := httptest.NewServer(mux)
	s.URL = server.URL
	return s, server.Close, nil
}

// SignIn makes a subject the one that signs in at the issuer from now on.
func (s *Sigstore) SignIn(subject string) { s.set(func() { s.who = subject }) }

// Stop stops a service: ca, tsa or log.
func (s *Sigstore) Stop(service string) { s.set(func() { s.down[service] = true }) }

// Resume starts it again.
func (s *Sigstore) Resume(service string) { s.set(func() { s.down[service] = false }) }

// Advance moves the clock of all services.
func (s *Sigstore) Advance(d time.Duration) { s.set(func() { s.clock += d }) }

func (s *Sigstore) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *Sigstore) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.clock)
}

// Token returns a token for a subject, which is an e-mail address or a URL.
func (s *Sigstore) Token(subject string) string { return s.token(subject, "") }

func (s *Sigstore) token(subject, nonce string) string {
	claims := map[string]any{"iss": s.URL, "aud": "sigstore", "sub": subject, "exp": time.Now().Add(time.Hour).Unix(), "nonce": nonce}
	if strings.Contains(subject, "@") && !strings.Contains(subject, "://") {
		claims["email"], claims["email_verified"] = subject, true
	}
	text, _ := json.Marshal(claims)
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"ES256","kid":"k"}`)) + "." + encode(text)
	sum := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.rootKey, sum[:])
	if err != nil {
		return ""
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	v.FillBytes(raw[32:])
	return signed + "." + encode(raw)
}

// TrustedRoot returns the trusted root, in JSON, with the given kinds of services besides the certificate authority: log, tsa.
func (s *Sigstore) TrustedRoot(services ...string) ([]byte, error) {
	from, until := time.Now().Add(-24*time.Hour), time.Now().Add(24*time.Hour)
	var clocks []root.TimestampingAuthority
	logs := map[string]*root.TransparencyLog{}
	for _, service := range services {
		switch service {
		case "tsa":
			clocks = append(clocks, &root.SigstoreTimestampingAuthority{Root: s.root, Leaf: s.stamp, URI: s.URL + "/api/v1/timestamp", ValidityPeriodStart: from, ValidityPeriodEnd: until})
		case "log":
			id, err := s.logID()
			if err != nil {
				return nil, err
			}
			logs[hex.EncodeToString(id)] = &root.TransparencyLog{
				BaseURL: s.URL, ID: id, ValidityPeriodStart: from, ValidityPeriodEnd: until, HashFunc: crypto.SHA256,
				PublicKey: s.logKey.Public(), SignatureHashFunc: crypto.SHA256,
			}
		}
	}
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, []root.CertificateAuthority{
		&root.FulcioCertificateAuthority{Root: s.root, ValidityPeriodStart: from, ValidityPeriodEnd: until, URI: s.URL},
	}, nil, clocks, logs)
	if err != nil {
		return nil, err
	}
	return trusted.MarshalJSON()
}

// SigningConfig returns the signing config, in JSON, with the same services.
func (s *Sigstore) SigningConfig(services ...string) ([]byte, error) {
	from := time.Now().Add(-24 * time.Hour)
	at := func(path string) []root.Service {
		return []root.Service{{URL: s.URL + path, MajorAPIVersion: 1, ValidityPeriodStart: from, Operator: "test"}}
	}
	one := root.ServiceConfiguration{Selector: prototrustroot.ServiceSelector_ANY}
	var logs, clocks []root.Service
	for _, service := range services {
		switch service {
		case "tsa":
			clocks = at("/api/v1/timestamp")
		case "log":
			logs = at("")
		}
	}
	config, err := root.NewSigningConfig(root.SigningConfigMediaType02, at(""), at(""), logs, one, clocks, one)
	if err != nil {
		return nil, err
	}
	return config.MarshalJSON()
}

func (s *Sigstore) logID() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(s.logKey.Public())
	sum := sha256.Sum256(der)
	return sum[:], err
}

// serve answers requests to a service, with an error while it is stopped.
func (s *Sigstore) serve(service string, answer func(w http.ResponseWriter, body []byte, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		down := s.down[service]
		s.mu.Unlock()
		body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
		if down {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden) // which nobody repeats
			_, _ = fmt.Fprintf(w, `{"code":403,"message":"%s is stopped"}`, service)
			return
		}
		if err == nil {
			err = answer(w, body, r)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}
}

// claims are what a token says.
type claims struct {
	Iss, Sub, Email string
	Exp             int64
}

func parseToken(token string) (c claims, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errors.New("not a token")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err == nil && c.Exp < time.Now().Unix() {
		err = errors.New("the token has expired")
	}
	return c, err
}

// certify makes a certificate of Fulcio for whom the token names.
func (s *Sigstore) certify(w http.ResponseWriter, body []byte, r *http.Request) error {
	var request struct {
		PublicKeyRequest struct {
			PublicKey         struct{ Content string }
			ProofOfPossession []byte
		}
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return err
	}
	claims, err := parseToken(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if err != nil {
		return err
	}
	block, _ := pem.Decode([]byte(request.PublicKeyRequest.PublicKey.Content))
	if block == nil {
		return errors.New("not a key")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	issuer, err := asn1.MarshalWithParams(claims.Iss, "utf8")
	if err != nil {
		return err
	}
	now := s.now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), NotBefore: now.Truncate(time.Second), NotAfter: now.Add(certificateLife), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: issuer}},
	}
	subject := claims.Sub
	if claims.Email != "" {
		template.EmailAddresses, subject = []string{claims.Email}, claims.Email
	} else if uri, err := url.Parse(claims.Sub); err == nil {
		template.URIs = []*url.URL{uri}
	}
	sum := sha256.Sum256([]byte(subject))
	if public, ok := key.(*ecdsa.PublicKey); !ok || !ecdsa.VerifyASN1(public, sum[:], request.PublicKeyRequest.ProofOfPossession) {
		return fmt.Errorf("the key does not sign for %s", subject)
	}
	cert, err := create(template, s.root, key, s.rootKey)
	if err != nil {
		return err
	}
	answer := map[string]any{"signedCertificateEmbeddedSct": map[string]any{"chain": map[string]any{"certificates": []string{inPEM(cert), inPEM(s.root)}}}}
	return json.NewEncoder(w).Encode(answer)
}

// timestamp answers as RFC 3161 says.
func (s *Sigstore) timestamp(w http.ResponseWriter, body []byte, _ *http.Request) error {
	request, err := timestamp.ParseRequest(body)
	if err != nil {
		return err
	}
	stamp := timestamp.Timestamp{
		HashAlgorithm: request.HashAlgorithm, HashedMessage: request.HashedMessage, Time: s.now(), Nonce: request.Nonce, AddTSACertificate: request.Certificates,
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2},
	}
	answer, err := stamp.CreateResponseWithOpts(s.stamp, s.stampKey, crypto.SHA256)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/timestamp-reply")
	w.WriteHeader(http.StatusCreated)
	_, err = w.Write(answer)
	return err
}

func create(template, parent *x509.Certificate, key crypto.PublicKey, by crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func inPEM(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}
