package sign

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/oauthflow"
)

// loginClient is the name of command line programs at the issuers of Sigstore instances.
const loginClient = "sigstore"

// Login has a person sign in at the issuer of an instance, in a browser, and returns the token. Where no browser opens, it prints the address
// to out and reads the code that the page shows from in. Announce is called with the issuer's URL before.
func Login(ctx context.Context, instance *Instance, now time.Time, in io.Reader, out io.Writer, announce func(issuer string)) (string, error) {
	services, err := instance.services()
	if err != nil {
		return "", err
	}
	issuer, err := root.SelectService(services.OIDCProviderURLs(), []uint32{1}, now)
	if err != nil {
		return "", fmt.Errorf("signing config: it names no issuer to sign in at: %w", err)
	}
	announce(issuer.URL)
	type answer struct {
		token *oauthflow.OIDCIDToken
		err   error
	}
	done := make(chan answer, 1)
	go func() { // which ends with the process if nobody signs in: the flow takes no context
		token, err := oauthflow.OIDConnect(issuer.URL, loginClient, "", "", &oauthflow.InteractiveIDTokenGetter{
			HTMLPage: "<!doctype html><title>Signed in</title><p>You are signed in. Go back to the terminal.", Input: in, Output: out,
		})
		done <- answer{token, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case a := <-done:
		if a.err != nil {
			return "", fmt.Errorf("sign in at %s: %w", issuer.URL, a.err)
		}
		return a.token.RawString, nil
	}
}
