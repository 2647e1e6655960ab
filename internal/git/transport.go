package git

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/loopback"
	"github.com/lockage/lockage/internal/redact"
)

// newTransport returns the way to the server of a URL, as git's configuration has it for the URL and the remote of a name.
func newTransport(conf *config, name string, u *url.URL, opts Options) (*http.Transport, error) {
	proxy, err := proxyOf(conf, name, u, opts)
	if err != nil {
		return nil, err
	}
	trust, err := trustOf(conf, u, opts)
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy:                 proxy,
		TLSClientConfig:       trust,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   30 * time.Second,
		ResponseHeaderTimeout: 5 * time.Minute, // the server may pack first
		IdleConnTimeout:       90 * time.Second,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
	}, nil
}

// proxyOf returns what chooses the proxy of a request. What is configured counts before the environment, and an empty value is none.
func proxyOf(conf *config, name string, u *url.URL, opts Options) (func(*http.Request) (*url.URL, error), error) {
	setting := "remote." + name + ".proxy"
	value, configured := conf.last(setting)
	if !configured {
		setting = "http.proxy"
		value, configured = conf.lastForURL("http", "proxy", u)
	}
	fixed, err := parseProxy(setting, value)
	if err != nil {
		return nil, err
	}
	env := func(name string) string { return cmp.Or(opts.getenv(name), opts.getenv(strings.ToUpper(name))) }
	spared := env("no_proxy")
	return func(req *http.Request) (*url.URL, error) {
		if sparesHost(spared, req.URL) {
			return nil, nil
		}
		if configured {
			return fixed, nil
		}
		if loopback.Is(req.URL.Host) {
			return nil, nil // as everywhere in Go: a proxy on another machine would reach itself
		}
		setting := req.URL.Scheme + "_proxy"
		return parseProxy(setting, cmp.Or(env(setting), env("all_proxy")))
	}, nil
}

// parseProxy reads the value of a setting that names a proxy; nil for an empty one.
func parseProxy(setting, value string) (*url.URL, error) {
	if value == "" {
		return nil, nil
	}
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%s: invalid URL %s", setting, redact.URL(value))
	}
	if !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return nil, fmt.Errorf("%s: scheme %s is not supported: use http, https or socks5", setting, u.Scheme)
	}
	return u, nil
}

// sparesHost reports whether a list such as NO_PROXY names the host of a URL: by its name or that of a domain above it, its address, a
// network, each with a port or without, or * for all.
func sparesHost(list string, u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	addr, err := netip.ParseAddr(host)
	return slices.ContainsFunc(strings.FieldsFunc(strings.ToLower(list), func(r rune) bool { return r == ',' || r == ' ' }), func(entry string) bool {
		if name, number, err := net.SplitHostPort(entry); err == nil {
			if number != port(u) {
				return false
			}
			entry = name
		}
		entry = strings.TrimPrefix(strings.TrimPrefix(strings.Trim(entry, "[]"), "*"), ".")
		if network, perr := netip.ParsePrefix(entry); perr == nil {
			return err == nil && network.Contains(addr)
		}
		return entry == "" || entry == host || err != nil && strings.HasSuffix(host, "."+entry)
	})
}

// trustOf returns whom to trust, and the certificate to show.
func trustOf(conf *config, u *url.URL, opts Options) (*tls.Config, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	file := func(env, key string) string {
		value := opts.getenv(env)
		if value == "" {
			value, _ = conf.lastForURL("http", key, u)
		}
		if rest, ok := strings.CutPrefix(value, "~/"); ok {
			value = filepath.Join(opts.getenv("HOME"), rest)
		}
		return value
	}
	var err error
	if trust.RootCAs, err = authorities(file("GIT_SSL_CAINFO", "sslcainfo"), file("GIT_SSL_CAPATH", "sslcapath")); err != nil {
		return nil, err
	}
	if cert := file("GIT_SSL_CERT", "sslcert"); cert != "" {
		pair, err := loadPair(cert, cmp.Or(file("GIT_SSL_KEY", "sslkey"), cert))
		if err != nil {
			return nil, err
		}
		trust.Certificates = []tls.Certificate{pair}
	}
	return trust, nil
}

// authorities returns the certificates in a file, or else the system's, and those in a folder; nil for the system's alone.
func authorities(file, dir string) (*x509.CertPool, error) {
	if file == "" && dir == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if file == "" {
		system, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("the system's certificates: %w", err)
		}
		pool = system
	} else {
		data, err := bounded.File(file, maxConfigBytes)
		if err != nil {
			return nil, fmt.Errorf("http.sslCAInfo: %w", err)
		}
		if !pool.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("http.sslCAInfo: %s holds no certificate", file)
		}
	}
	if dir == "" {
		return pool, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("http.sslCAPath: %w", err)
	}
	for _, e := range entries {
		if data, err := bounded.File(filepath.Join(dir, e.Name()), maxConfigBytes); err == nil {
			pool.AppendCertsFromPEM(data) // there may be other files, too
		}
	}
	return pool, nil
}

// loadPair reads a client's certificate and key.
func loadPair(cert, key string) (tls.Certificate, error) {
	certData, err := bounded.File(cert, maxConfigBytes)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("http.sslCert: %w", err)
	}
	keyData, err := bounded.File(key, maxConfigBytes)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("http.sslKey: %w", err)
	}
	for rest := keyData; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return tls.Certificate{}, fmt.Errorf("http.sslKey: %s has a password, which is not supported: store the key without one (openssl pkey)", key)
		}
	}
	pair, err := tls.X509KeyPair(certData, keyData)
	if err != nil {
		return pair, fmt.Errorf("http.sslCert %s with http.sslKey %s: %w", cert, key, err)
	}
	return pair, nil
}

const proxyRefuses = "the proxy refuses the user or password (HTTP 407): check http.proxy, or https_proxy"

// explain adds to an error of a connection what would help. Own authorities are in the place of the system's.
func explain(err error, own bool) error {
	var unknown x509.UnknownAuthorityError
	var name *net.DNSError
	switch {
	case errors.As(err, &unknown) && own:
		return fmt.Errorf("%w: http.sslCAInfo (GIT_SSL_CAINFO) counts in place of the system's authorities: "+
			"add the server's to that file, or set http.<url>.sslCAInfo for the one server that it is about", err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: name its authority with http.sslCAInfo (GIT_SSL_CAINFO) or http.sslCAPath", err)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return errors.New("the server speaks HTTP, and the URL begins with https://: check its port and scheme")
	case strings.HasSuffix(err.Error(), http.StatusText(http.StatusProxyAuthRequired)):
		return errors.New(proxyRefuses)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nothing answers there: check host and port, and http.proxy if the server is behind one", err)
	case errors.As(err, &name) && name.IsNotFound:
		return fmt.Errorf("%w: check the name of the host, and http.proxy if only a proxy knows it", err)
	case strings.Contains(err.Error(), "tls: certificate required"):
		return fmt.Errorf("%w: name a client certificate with http.sslCert and http.sslKey", err)
	}
	return err
}
