package sign_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/signtest"
)

// keyless returns an instance with the given services, and a signer for a subject.
func keyless(t *testing.T, s *signtest.Sigstore, subject string, services ...string) (*sign.Instance, *sign.Keyless) {
	t.Helper()
	i := instance(t, s, services...)
	signer, err := sign.NewKeyless(t.Context(), i, func(context.Context) (string, error) { return s.Token(subject), nil }, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return i, signer
}

func instance(t *testing.T, s *signtest.Sigstore, services ...string) *sign.Instance {
	t.Helper()
	trusted, config := files(t, s, services...)
	i, err := sign.NewInstance(trusted, config)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// files returns the trusted root and the signing config of an instance.
func files(t *testing.T, s *signtest.Sigstore, services ...string) (trusted, config []byte) {
	t.Helper()
	trusted, err := s.TrustedRoot(services...)
	if err != nil {
		t.Fatal(err)
	}
	config, err = s.SigningConfig(services...)
	if err != nil {
		t.Fatal(err)
	}
	return trusted, config
}

var (
	artifactDigest = digest.FromString("artifact")
	claim          = sign.Claim{Pipeline: "app", Stage: "test", Release: "r", Repository: "registry.example/app"}
)

func TestKeyless(t *testing.T) {
	t.Parallel()
	for _, services := range [][]string{{"tsa"}, {"log"}, {"log", "tsa"}} {
		t.Run(strings.Join(services, "+"), func(t *testing.T) {
			t.Parallel()
			s := signtest.New(t)
			i, signer := keyless(t, s, "alice@release.example", services...)
			bundle, err := sign.Sign(t.Context(), signer, sign.NewSignature(artifactDigest, claim))
			if err != nil {
				t.Fatal(err)
			}
			image, err := sign.NewImageSignature(t.Context(), signer, artifactDigest, claim)
			if err != nil {
				t.Fatal(err)
			}
			whole := func(text string) *sign.Expression {
				e, err := sign.ParseExpression(text)
				if err != nil {
					t.Fatal(err)
				}
				return e
			}
			for name, test := range map[string]struct {
				id   sign.Identity
				want string // "" if it is proven
			}{
				"exact":              {sign.Identity{Issuer: s.URL, Subject: "alice@release.example"}, ""},
				"expression":         {sign.Identity{Issuer: s.URL, Subjects: whole(`[a-z]+@release\.example`)}, ""},
				"alternatives":       {sign.Identity{Issuer: s.URL, Subjects: whole(`bob@x|alice@release\.example`)}, ""},
				"a part":             {sign.Identity{Issuer: s.URL, Subjects: whole(`alice`)}, "alice@release.example"},
				"a part at the end":  {sign.Identity{Issuer: s.URL, Subjects: whole(`bob|release\.example`)}, "claims to be signed by alice@release.example"},
				"another subject":    {sign.Identity{Issuer: s.URL, Subject: "bob@release.example"}, "bob@release.example of"},
				"another issuer":     {sign.Identity{Issuer: "https://issuer.example", Subject: "alice@release.example"}, "https://issuer.example"},
				"no subject":         {sign.Identity{Issuer: s.URL, Subjects: whole(``)}, "alice@release.example"},
				"another trust root": {sign.Identity{Issuer: s.URL, Subject: "alice@release.example", Instance: instance(t, signtest.New(t), services...)}, "does not prove it"},
			} {
				test.id.Name = "manager"
				if test.id.Instance == nil {
					test.id.Instance = i
				}
				verifier, err := sign.NewVerifier(test.id)
				if err != nil {
					t.Fatal(err)
				}
				verified, rejected := verifier.Verify(artifactDigest, []sign.Bundle{{JSON: bundle.JSON}})
				if test.want == "" {
					if len(verified) != 1 || verified[0].Identity() != "manager" || verified[0].Author().Subject != "alice@release.example" || !verifier.TrustsImage(image) {
						t.Errorf("%s: %v, rejected %v, image %v", name, verified, rejected, verifier.TrustsImage(image))
					} else if at := verified[0].Time(); time.Since(at.Time) > time.Hour || !strings.HasPrefix(at.Source, s.URL) {
						t.Errorf("%s: signed at %v", name, at)
					}
					continue
				}
				if len(verified) != 0 || len(rejected) != 1 || !strings.Contains(rejected[0].Reason, test.want) || verifier.TrustsImage(image) {
					t.Errorf("%s: %v, rejected %v, image %v", name, verified, rejected, verifier.TrustsImage(image))
				}
			}
			other, err := sign.NewVerifier(sign.Identity{Name: "m", Issuer: s.URL, Subject: "alice@release.example", Instance: i})
			if err != nil {
				t.Fatal(err)
			}
			if verified, _ := other.Verify(digest.FromString("another"), []sign.Bundle{{JSON: bundle.JSON}}); len(verified) != 0 {
				t.Error("a statement about another artifact is proven")
			}
		})
	}
}

// TestSubjects has identities match subjects that differ by what does not show, or hold what expressions are made of.
func TestSubjects(t *testing.T) {
	t.Parallel()
	s := signtest.New(t)
	i := instance(t, s, "tsa")
	long := "https://ci.example/" + strings.Repeat("a", 4000)
	for _, c := range []struct {
		subject           string
		exact, expression string // "" for the subject itself, and for none
		issuer            string // behind the instance's
		proven            bool
	}{
		{subject: "ada+ci@release.example", proven: true},
		{subject: "ada.lovelace@release.example", proven: true},
		{subject: "Ada@release.example", exact: "ada@release.example"},
		{subject: "ada@release.example\n", proven: true},
		{subject: "ada@release.example\n", exact: "ada@release.example"},
		{subject: "ada@release.example", exact: "ada@release.example\n"},
		{subject: " ada@release.example", exact: "ada@release.example"},
		{subject: "https://ci.example/a%20b", proven: true},
		{subject: "https://ci.example/a", exact: "https://ci.example/a/"},
		{subject: long, proven: true},
		{subject: long, exact: long[:len(long)-1]},
		{subject: "ada@release.example", issuer: "/"},
		{subject: "ada@release.example", expression: `ada@release\.example`, issuer: "/"},
		{subject: "ada@release.example", expression: `ada@release\.example|bob@release\.example`, proven: true},
		{subject: "bob@release.example", expression: `ada|bob@release\.example`, proven: true},
		{subject: "ada@release.example", expression: `ada|bob@release\.example`},
		{subject: "ada@release.example", expression: `^ada@release\.example$`, proven: true},
		{subject: "eve@evil.example\nada@release.example", expression: `(?m)^ada@release\.example$`},
		{subject: "ada@release.example\n@evil.example", expression: `(?m)^ada@release\.example$`},
		{subject: "ada@release.example\n", expression: `ada@release\.example$`},
		{subject: "eve@evil.example\nada@release.example", expression: `.*@release\.example`},
		{subject: "ada@release.example", expression: `(?i)ADA@RELEASE\.EXAMPLE`, proven: true},
		{subject: "ada@releaseXexample", expression: `ada@release.example`, proven: true}, // a dot is any character
		{subject: "ada@release.example.evil.example", expression: `ada@release\.example.*?`, proven: true},
	} {
		signer, err := sign.NewKeyless(t.Context(), i, func(context.Context) (string, error) { return s.Token(c.subject), nil }, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := sign.Sign(t.Context(), signer, sign.NewSignature(artifactDigest, claim))
		if err != nil {
			t.Fatal(err)
		}
		id := sign.Identity{Name: "manager", Issuer: s.URL + c.issuer, Instance: i, Subject: cmp.Or(c.exact, c.subject)}
		if c.expression != "" {
			id.Subject = ""
			if id.Subjects, err = sign.ParseExpression(c.expression); err != nil {
				t.Fatal(err)
			}
		}
		verifier, err := sign.NewVerifier(id)
		if err != nil {
			t.Fatal(err)
		}
		verified, rejected := verifier.Verify(artifactDigest, []sign.Bundle{{JSON: bundle.JSON}})
		if (len(verified) == 1) != c.proven {
			t.Errorf("%.60q as %.60q %s of %s: %v, rejected %v", c.subject, c.exact, c.expression, id.Issuer, verified, rejected)
		}
	}
	for _, expression := range []string{`a)|(b`, `a\`, `\Qa`, `(?`, `[a`} {
		if _, err := sign.ParseExpression(expression); err == nil {
			t.Errorf("%s compiles", expression)
		}
	}
}

func TestKeylessFailures(t *testing.T) {
	t.Parallel()
	s := signtest.New(t)
	i, signer := keyless(t, s, "alice@release.example", "log", "tsa")
	try := func() error {
		_, err := sign.Sign(t.Context(), signer, sign.NewSignature(artifactDigest, claim))
		return err
	}
	for _, service := range []string{"log", "tsa"} {
		s.Stop(service)
		if err := try(); err == nil || !strings.Contains(err.Error(), service+" is stopped") {
			t.Errorf("without the %s: %v", service, err)
		}
		s.Resume(service)
	}
	// The authority's clock and ours may differ; what is signed after the certificate's end is refused, and not written.
	s.Advance(time.Hour)
	if err := try(); err == nil || !strings.Contains(err.Error(), "not proven by the trusted root") {
		t.Errorf("with an expired certificate: %v", err)
	}
	_, later := keyless(t, s, "alice@release.example", "log", "tsa")
	if _, err := sign.Sign(t.Context(), later, sign.NewSignature(artifactDigest, claim)); err != nil {
		t.Errorf("with a clock that is an hour behind: %v", err)
	}
	secret := errors.New("no token")
	if _, err := sign.NewKeyless(t.Context(), i, func(context.Context) (string, error) { return "", secret }, time.Now); !errors.Is(err, secret) {
		t.Errorf("without a token: %v", err)
	}
}

func TestKeylessRenewsCertificates(t *testing.T) {
	t.Parallel()
	s := signtest.New(t)
	now, subjects := time.Now(), []string{"alice@release.example", "alice@release.example", "bob@release.example"}
	signer, err := sign.NewKeyless(t.Context(), instance(t, s, "tsa"), func(context.Context) (string, error) {
		token := s.Token(subjects[0])
		subjects = subjects[1:]
		return token, nil
	}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	try := func() error {
		_, err := sign.Sign(t.Context(), signer, sign.NewSignature(artifactDigest, claim))
		return err
	}
	if err := try(); err != nil || len(subjects) != 2 {
		t.Errorf("%v, %d tokens left", err, len(subjects))
	}
	now = now.Add(9*time.Minute + time.Second)
	if err := try(); err != nil || len(subjects) != 1 {
		t.Errorf("later: %v, %d tokens left", err, len(subjects))
	}
	now = now.Add(20 * time.Minute)
	if err := try(); err == nil || !strings.Contains(err.Error(), "is for bob@release.example") {
		t.Errorf("as another subject: %v", err)
	}
}

// printed passes on the address that a sign-in prints, and the code that its page shows.
type printed struct {
	t     *testing.T
	codes chan string
	rest  string
}

func (p *printed) Write(text []byte) (int, error) {
	for _, word := range strings.Fields(string(text)) {
		if !strings.HasPrefix(word, "http") {
			continue
		}
		response, err := http.Get(word)
		if err != nil {
			p.t.Error(err)
			continue
		}
		code, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			p.t.Error(err)
		}
		p.codes <- string(code) + "\n"
	}
	return len(text), nil
}

func (p *printed) Read(into []byte) (int, error) {
	if p.rest == "" {
		p.rest = <-p.codes
	}
	n := copy(into, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

func TestLogin(t *testing.T) {
	t.Setenv("PATH", "") // no browser opens
	s := signtest.New(t)
	i := instance(t, s, "tsa")
	page := &printed{t: t, codes: make(chan string, 3)}
	var issuer string
	login := func() (string, error) {
		return sign.Login(t.Context(), i, time.Now(), page, page, func(url string) { issuer = url })
	}
	if _, err := login(); err == nil || issuer != s.URL || !strings.Contains(err.Error(), s.URL) {
		t.Errorf("nobody signs in at %q: %v", issuer, err)
	}
	s.SignIn("alice@release.example")
	signer, err := sign.NewKeyless(t.Context(), i, func(context.Context) (string, error) { return login() }, time.Now)
	if err != nil || signer.Identity().Subject != "alice@release.example" {
		t.Fatal(signer, err)
	}
}

// TestKeylessSendsNoTokenInTheClear has a signing config name a certificate authority that is not https, on another machine.
func TestKeylessSendsNoTokenInTheClear(t *testing.T) {
	t.Parallel()
	s := signtest.New(t)
	trusted, config := files(t, s, "tsa")
	i, err := sign.NewInstance(trusted, []byte(strings.ReplaceAll(string(config), s.URL, "http://ca.example.com")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = sign.NewKeyless(t.Context(), i, func(context.Context) (string, error) { return "", errors.New("a token was asked for") }, time.Now)
	if err == nil || !strings.Contains(err.Error(), "http://ca.example.com is not https") {
		t.Errorf("got %v", err)
	}
}
