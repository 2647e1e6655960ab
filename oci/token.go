package oci

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/origin"
)

// maxToken bounds the answer of a token service, in bytes.
const maxToken = 128 << 10

// errNoCredentials is returned if a registry wants a user and password, and none are configured.
var errNoCredentials = errors.New("the registry asks for credentials, and none are configured")

// basic returns the Authorization header of a user and password.
func basic(cred Credential) (string, error) {
	if !hasPassword(cred) {
		return "", errNoCredentials
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(cred.Username+":"+cred.Password)), nil
}

func hasPassword(cred Credential) bool {
	return cred.Password != "" || cred.Username != "" && cred.RefreshToken == "" && cred.AccessToken == ""
}

// token returns the Authorization header with a token of the token service that a challenge of a registry names
// (distribution.github.io/distribution/spec/auth).
func (a *authenticator) token(ctx context.Context, registry *url.URL, c challenge, cred Credential, scopes []string) (string, error) {
	if cred.AccessToken != "" {
		return "Bearer " + cred.AccessToken, nil
	}
	realm, err := url.Parse(c.params["realm"])
	if err != nil || realm.Host == "" {
		return "", errors.New("the registry names no token service")
	}
	if err := a.trust(ctx, registry, realm); err != nil {
		return "", err
	}
	req, err := tokenRequest(ctx, realm, c.params["service"], cred, scopes)
	if err != nil {
		return "", err
	}
	client := *a.http
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if req.Method != http.MethodGet && !origin.Same(realm, req.URL) {
			return errors.New("the token service redirects a password to another host")
		}
		if err := a.trust(req.Context(), registry, req.URL); err != nil {
			return err
		}
		return checkRedirect(req, via)
	}
	a.identify(req)
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		failed := refusal(resp)
		failed.known = cred != (Credential{})
		return "", fmt.Errorf("token service %s: %w", realm.Host, failed)
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	raw, err := bounded.Read(resp.Body, maxToken)
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	if err == nil && answer.AccessToken == "" && answer.Token == "" {
		err = errors.New("the answer has no token")
	}
	if err != nil {
		return "", fmt.Errorf("token service %s: %w", realm.Host, err)
	}
	if answer.AccessToken != "" {
		return "Bearer " + answer.AccessToken, nil
	}
	return "Bearer " + answer.Token, nil
}

// tokenRequest asks by password, by OAuth2 with a refresh token, or for an anonymous token.
func tokenRequest(ctx context.Context, realm *url.URL, service string, cred Credential, scopes []string) (*http.Request, error) {
	if cred.RefreshToken != "" {
		form := url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {cred.RefreshToken},
			"service": {service}, "client_id": {"lockage"}, "scope": {strings.Join(scopes, " ")},
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return req, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if err != nil {
		return nil, err
	}
	query := req.URL.Query()
	if service != "" {
		query.Set("service", service)
	}
	for _, scope := range scopes {
		query.Add("scope", scope)
	}
	req.URL.RawQuery = query.Encode()
	if hasPassword(cred) {
		req.SetBasicAuth(cred.Username, cred.Password)
	}
	return req, nil
}

// reach is how far an address can be reached from: what is at a greater one is protected from those at a smaller one.
type reach int

const (
	public reach = iota
	private
	thisMachine
	thisLink // where clouds keep the secrets of machines
)

// carrier is the shared address space of RFC 6598, which networks use as private.
var carrier = netip.MustParsePrefix("100.64.0.0/10")

func reachOf(addr netip.Addr) reach {
	switch addr = addr.Unmap(); {
	case addr.IsLinkLocalUnicast(), addr.IsLinkLocalMulticast(), addr.IsUnspecified():
		return thisLink
	case addr.IsLoopback():
		return thisMachine
	case addr.IsPrivate(), carrier.Contains(addr):
		return private
	}
	return public
}

// trust returns an error unless a registry may name this token service, which is asked from this machine and gets the registry's
// password: a connection as safe, to the registry's own host, or to one that is not in a network more private than the registry's,
// unless there is a credential for it.
func (a *authenticator) trust(ctx context.Context, registry, service *url.URL) error {
	if !origin.Safe(registry, service) {
		return fmt.Errorf("the registry names the token service %s, which is not https", service.Host)
	}
	if strings.EqualFold(registry.Hostname(), service.Hostname()) {
		return nil
	}
	_, farthest := a.reaches(ctx, service.Hostname())
	nearest, _ := a.reaches(ctx, registry.Hostname())
	if farthest <= nearest && farthest != thisLink {
		return nil
	}
	if cred, err := a.credentials(ctx, service.Host); err == nil && cred != (Credential{}) && farthest != thisLink {
		return nil
	}
	return fmt.Errorf("the registry %s names the token service %s, which is in a private network, and the registry is not; "+
		"if it may have the password, add a credential for %s to Docker's config.json", registry.Host, service.Host, service.Host)
}

// reaches returns the least and the most private of the addresses of a host. A name that this machine does not know, as behind a
// proxy, counts as public.
func (a *authenticator) reaches(ctx context.Context, host string) (least, most reach) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return reachOf(addr), reachOf(addr)
	}
	addrs, err := a.lookup(ctx, host)
	if err != nil || len(addrs) == 0 {
		return public, public
	}
	least = thisLink
	for _, ip := range addrs {
		if addr, ok := netip.AddrFromSlice(ip.IP); ok {
			least, most = min(least, reachOf(addr)), max(most, reachOf(addr))
		}
	}
	return least, most
}

func lookup(ctx context.Context, host string) ([]net.IPAddr, error) {
	return net.DefaultResolver.LookupIPAddr(ctx, host)
}
