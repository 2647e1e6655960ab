package sign

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sigstore/cosign/v2/pkg/types"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/lockage/lockage/internal/loopback"
)

const (
	// Audience is that of the tokens which an instance of Sigstore gives certificates for.
	Audience = "sigstore"

	serviceRetries = 3
	renewBefore    = time.Minute // the end of a certificate
	rekorV2        = 2
)

// TokenFunc returns a token of OpenID Connect that names who signs. It is called again when a run outlives its certificate.
type TokenFunc func(ctx context.Context) (string, error)

// Keyless is a [Signer] whose identity is the subject of a short-lived certificate. It is safe for concurrent use.
type Keyless struct {
	instance *Instance
	token    TokenFunc
	now      func() time.Time
	key      sign.Keypair
	fulcio   *sign.Fulcio
	logs     []root.Service
	clocks   []clock
	author   Author

	mu          sync.Mutex
	certificate *x509.Certificate
	until       time.Time
}

var _ Signer = (*Keyless)(nil)

// NewKeyless makes a key that leaves the process never, and has an instance certify it as that of whom a token names.
func NewKeyless(ctx context.Context, instance *Instance, token TokenFunc, now func() time.Time) (*Keyless, error) {
	if instance == nil {
		return nil, errors.New("no Sigstore instance is named")
	}
	services, err := instance.services()
	if err != nil {
		return nil, err
	}
	k := &Keyless{instance: instance, token: token, now: now}
	if err := k.find(services, now()); err != nil {
		return nil, fmt.Errorf("signing config: %w", err)
	}
	if k.key, err = sign.NewEphemeralKeypair(nil); err != nil {
		return nil, err
	}
	cert, err := k.certify(ctx)
	if err != nil {
		return nil, err
	}
	k.author, err = certified(cert)
	return k, err
}

// find chooses the services of an instance.
func (k *Keyless) find(services *root.SigningConfig, now time.Time) error {
	authority, err := root.SelectService(services.FulcioCertificateAuthorityURLs(), sign.FulcioAPIVersions, now)
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	if at, err := url.Parse(authority.URL); err != nil || at.Scheme != "https" && !loopback.Is(at.Host) {
		return fmt.Errorf("certificate authority: %s is not https: everybody on the way could read the token", authority.URL)
	}
	k.fulcio = sign.NewFulcio(&sign.FulcioOptions{BaseURL: authority.URL, Retries: serviceRetries})
	if urls := services.RekorLogURLs(); len(urls) > 0 {
		if k.logs, err = root.SelectServices(urls, services.RekorLogURLsConfig(), sign.RekorAPIVersions, now); err != nil {
			return fmt.Errorf("log: %w", err)
		}
	}
	k.clocks, err = clocksOf(services, now)
	return err
}

// certify returns a certificate that holds for a while yet. The end of one is computed from its span, since the authority may have
// another clock.
func (k *Keyless) certify(ctx context.Context) (*x509.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	asked := k.now()
	if k.certificate != nil && asked.Before(k.until) {
		return k.certificate, nil
	}
	token, err := k.token(ctx)
	if err != nil {
		return nil, err
	}
	der, err := k.fulcio.GetCertificate(ctx, k.key, &sign.CertificateProviderOptions{IDToken: token})
	if err != nil {
		return nil, fmt.Errorf("%s gives no certificate for the token: %w%s", k.instance.name, err, refusable(token, k.now()))
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if by, err := certified(cert); err != nil || k.author != (Author{}) && by != k.author {
		return nil, errors.Join(err, fmt.Errorf("the certificate is for %s now, and the run began as %s", by, k.author))
	}
	k.certificate, k.until = cert, asked.Add(cert.NotAfter.Sub(cert.NotBefore)-renewBefore)
	return cert, nil
}

// refusable returns what of a token is a reason to refuse it, as far as it shows here; "" for nothing.
func refusable(token string, now time.Time) string {
	var claims struct {
		Issuer    string          `json:"iss"`
		Audience  json.RawMessage `json:"aud"` // a text or a list of texts
		NotBefore int64           `json:"nbf"`
		Expires   int64           `json:"exp"`
	}
	_, rest, _ := strings.Cut(token, ".")
	middle, _, _ := strings.Cut(rest, ".")
	if text, err := base64.RawURLEncoding.DecodeString(middle); err != nil || json.Unmarshal(text, &claims) != nil {
		return ""
	}
	at := func(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }
	switch {
	case !bytes.Contains(claims.Audience, []byte(`"`+Audience+`"`)):
		return fmt.Sprintf("; it is for the audience %.200s, and has to be for %q", claims.Audience, Audience)
	case claims.Expires <= now.Unix():
		return "; it expired at " + at(claims.Expires)
	case claims.NotBefore > now.Unix():
		return fmt.Sprintf("; it is not valid before %s: is a clock wrong?", at(claims.NotBefore))
	}
	return fmt.Sprintf("; its issuer is %.200q, which the certificate authority has to know by exactly this name", claims.Issuer)
}

// GetCertificate implements [sign.CertificateProvider].
func (k *Keyless) GetCertificate(ctx context.Context, _ sign.Keypair, _ *sign.CertificateProviderOptions) ([]byte, error) {
	cert, err := k.certify(ctx)
	if err != nil {
		return nil, err
	}
	return cert.Raw, nil
}

// Identity implements [Signer].
func (k *Keyless) Identity() Identity {
	return Identity{Issuer: k.author.Issuer, Subject: k.author.Subject, Instance: k.instance}
}

// SignStatement implements [Signer].
func (k *Keyless) SignStatement(ctx context.Context, statement []byte) ([]byte, error) {
	b, err := k.sign(ctx, &sign.DSSEData{Data: statement, PayloadType: types.IntotoPayloadType}, verify.WithoutArtifactUnsafe())
	if err != nil {
		return nil, err
	}
	return protojson.Marshal(b)
}

// SignPayload implements [Signer]. The older form has no place for what a log of Rekor v2 returns: there are no annotations then.
func (k *Keyless) SignPayload(ctx context.Context, payload []byte) (map[string]string, error) {
	for _, log := range k.logs {
		if log.MajorAPIVersion >= rekorV2 {
			return nil, nil
		}
	}
	b, err := k.sign(ctx, &sign.PlainData{Data: payload}, verify.WithArtifact(bytes.NewReader(payload)))
	if err != nil {
		return nil, err
	}
	return annotations(b)
}

// sign signs, and proves what it signed as everybody else does: a log whose key is not in the trusted root is found now.
func (k *Keyless) sign(ctx context.Context, content sign.Content, about verify.ArtifactPolicyOption) (*protobundle.Bundle, error) {
	options := sign.BundleOptions{CertificateProvider: k, CertificateProviderOptions: &sign.CertificateProviderOptions{}, Context: ctx}
	for _, c := range k.clocks {
		options.TransparencyLogs = append(options.TransparencyLogs, c)
	}
	for _, log := range k.logs { // their clients are not safe for concurrent use
		rekor := sign.NewRekor(&sign.RekorOptions{BaseURL: log.URL, Version: log.MajorAPIVersion, Retries: serviceRetries})
		options.TransparencyLogs = append(options.TransparencyLogs, witness{log.URL, rekor})
	}
	signed, err := sign.Bundle(content, k.key, options)
	if err != nil {
		return nil, fmt.Errorf("keyless signing as %s: %w", k.author, err)
	}
	b, err := bundle.NewBundle(signed)
	if err != nil {
		return nil, fmt.Errorf("keyless signing as %s: %w", k.author, err)
	}
	if _, _, err := k.instance.prove(b, about); err != nil {
		return nil, fmt.Errorf("keyless signing as %s: what was signed is not proven by the trusted root: %w", k.author, err)
	}
	return signed, nil
}

// witness is a log whose errors name it.
type witness struct {
	url string
	log *sign.Rekor
}

// GetTransparencyLogEntry implements [sign.Transparency].
func (w witness) GetTransparencyLogEntry(ctx context.Context, by []byte, b *protobundle.Bundle) error {
	if err := w.log.GetTransparencyLogEntry(ctx, by, b); err != nil {
		return fmt.Errorf("log %s: %w", w.url, err)
	}
	return nil
}
