package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"oras.land/oras-go/v2/registry/remote/retry"
)

const (
	maxRetries  = 6
	firstWait   = 250 * time.Millisecond
	noticedWait = 2 * time.Second // longer waits are told
)

// newRetrier repeats requests that failed for a passing reason. oras-go's default
// would do, had it not a limit of three seconds and an eye for Retry-After on 429 only.
func newRetrier(base http.RoundTripper, maxWait time.Duration, jitter func() float64, warn func(string)) http.RoundTripper {
	policy := &retry.GenericPolicy{
		Retryable: isTransient,
		Backoff: func(attempt int, resp *http.Response) time.Duration {
			wait := time.Duration(float64(firstWait) * math.Pow(2, float64(attempt)) * (0.75 + jitter()/2))
			if asked := retryAfter(resp); asked > wait {
				wait = asked
			}
			wait = min(wait, maxWait)
			if wait >= noticedWait && resp != nil {
				warn(fmt.Sprintf("%s answered %s; trying again in %s", resp.Request.URL.Host, resp.Status, wait.Round(time.Second)))
			}
			return wait
		},
		MaxWait:  maxWait,
		MaxRetry: maxRetries,
	}
	return &retry.Transport{Base: base, Policy: func() retry.Policy { return policy }}
}

// isTransient is the predicate of retry.GenericPolicy.
func isTransient(resp *http.Response, err error) (bool, error) {
	if err == nil {
		switch resp.StatusCode {
		case http.StatusRequestTimeout, http.StatusTooManyRequests:
			return true, nil
		case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
			return false, nil // will not pass
		}
		return resp.StatusCode >= http.StatusInternalServerError, nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false, err
	}
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout(),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		// net/http repeats by itself only what it holds for idempotent.
		strings.Contains(err.Error(), "server closed idle connection"):
		return true, nil
	}
	return false, err
}

// retryAfter returns the wait that a response asks for, or zero. A date is taken
// relative to the server's own clock.
func retryAfter(resp *http.Response) time.Duration {
	if resp == nil {
		return 0
	}
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0
	}
	return max(0, until.Sub(now))
}
