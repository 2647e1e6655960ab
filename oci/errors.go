package oci

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/loopback"
	"github.com/lockage/lockage/internal/redact"
	"github.com/lockage/lockage/internal/terminal"
)

// ErrNotFound is returned for a missing repository, tag, manifest or blob. It is [fs.ErrNotExist] too.
var ErrNotFound error = notFoundError{}

type notFoundError struct{}

func (notFoundError) Error() string        { return "not found" }
func (notFoundError) Is(target error) bool { return target == fs.ErrNotExist }

// maxMessage bounds a registry's words in an error, in bytes.
const maxMessage = 1000

// opError holds what failed, on which object, the cause and the next step.
type opError struct {
	text string // without secrets
	err  error
}

func (e *opError) Error() string { return e.text }
func (e *opError) Unwrap() error { return e.err }

// Is makes all representations of «not found» equal.
func (e *opError) Is(target error) bool { return errors.Is(ErrNotFound, target) && isNotFound(e.err) }

// explain wraps an error of the network or a registry; host is empty for layouts.
func explain(err error, op, thing, host string) error {
	var done *opError
	if err == nil || errors.As(err, &done) {
		return err
	}
	cause := describeCause(err, host)
	text := op + " " + thing + ": " + cause
	if next := hint(err, cause, op, thing, host); host != "" && next != "" {
		text += "; " + next
	}
	return &opError{text, err}
}

func isNotFound(err error) bool {
	return statusOf(err) == http.StatusNotFound || errors.Is(err, ErrNotFound)
}

func statusOf(err error) int {
	var failed *refused
	if errors.As(err, &failed) {
		return failed.status
	}
	return 0
}

// describeCause returns the cause without URLs: those of uploads and redirects carry tokens.
func describeCause(err error, host string) string {
	var via *url.Error
	var store credentialError
	switch {
	case errors.As(err, &store):
		return harmless(store.Error())
	case host != "" && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return "the connection was closed before the response arrived"
	case errors.As(err, &via):
		return harmless(via.Err.Error())
	}
	return harmless(err.Error())
}

func hint(err error, cause, op, thing, host string) string {
	lower := strings.ToLower(cause)
	var (
		answer    *refused
		store     credentialError
		unknownCA x509.UnknownAuthorityError
		noTLS     tls.RecordHeaderError
		unknown   *net.DNSError
	)
	switch status := statusOf(err); {
	case hydrationTag.MatchString(thing) && strings.HasPrefix(op, "tag") && (status == http.StatusConflict || strings.Contains(lower, "immutable")):
		return "this tag never moves, and another artifact has it: delete the tag if nothing uses it, and run hydrate again"
	case strings.Contains(lower, "immutable"):
		return "exclude this tag from the registry's immutability rule"
	case errors.As(err, &store):
		return "check Docker's config.json and its credential helpers"
	case errors.Is(err, ErrNotFound):
		return ""
	case status == http.StatusUnauthorized && errors.As(err, &answer) && answer.known:
		return "the credentials that are configured for " + host + " are not accepted; log in again with: docker login " + host
	case status == http.StatusUnauthorized, errors.Is(err, errNoCredentials):
		return "log in with: docker login " + host
	case status == http.StatusForbidden:
		return "the account lacks permission; log in with another one: docker login " + host
	case status == http.StatusProxyAuthRequired, strings.HasSuffix(err.Error(), http.StatusText(http.StatusProxyAuthRequired)):
		return "the proxy refuses the user or password: check HTTPS_PROXY, or name " + host + " in NO_PROXY"
	case status == http.StatusNotFound && strings.HasPrefix(op, "push"):
		return "does the repository exist, and may the account push to it? some registries want it created first"
	case status == http.StatusConflict && strings.HasPrefix(op, "tag"):
		return "the registry does not let this tag move; exclude it from immutability rules"
	case status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		return "the registry failed; run again later to continue"
	case errors.As(err, &noTLS), strings.Contains(lower, "server gave http response to https client"):
		return "plain HTTP is used for loopback hosts only; give " + host + " a certificate"
	case errors.As(err, &unknownCA):
		return "trust its certificate authority on this system, or name it in SSL_CERT_FILE"
	case loopback.Is(host) && wantsTLS(lower):
		return "plain HTTP is used for loopback hosts, and " + host + " expects TLS"
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return "check the name of the host"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "is a registry running at " + host + "?"
	case errors.Is(err, context.DeadlineExceeded):
		return "allow more time, or check that " + host + " responds"
	}
	return ""
}

// hydrationTag matches a reference by the tag of a hydration, see [StageTags].
var hydrationTag = regexp.MustCompile(`\.(git-|img-sha256-|chart-)[^:/]*\.[0-9a-f]{12}$`)

// wantsTLS reports whether a server answered to plain HTTP as those of TLS do: in words (Go, nginx, Apache), or with an alert.
func wantsTLS(cause string) bool {
	return strings.Contains(cause, "http request to an https server") || strings.Contains(cause, "plain http request was sent to https port") ||
		strings.Contains(cause, "speaking plain http to an ssl-enabled server") || strings.Contains(cause, `malformed http response "\x15\x03`)
}

// unfitError is returned for what cannot be read by its form, whatever the registry does.
type unfitError struct{ error }

func (e unfitError) Unwrap() error { return e.error }

// Unfit reports whether what a manifest or list names cannot be as it says there, whatever the registry does: anybody who may push can
// write such names. What they name is as good as not there.
func Unfit(err error) bool {
	var unfit unfitError
	return errors.As(err, &unfit) || errors.Is(err, bounded.ErrTooLarge)
}

// harmless takes secrets and control sequences out of a registry's words, and bounds them.
func harmless(s string) string { return terminal.Words(redact.Text(s), maxMessage) }
