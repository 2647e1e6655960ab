// Package retry decides which HTTP requests are worth repeating, and when. Callers say how often, and that repeating is safe.
package retry

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// MaxAfter bounds what [After] returns, whatever a server asks for.
const MaxAfter = 24 * time.Hour

// After returns the wait that a Retry-After header (RFC 9110, 10.2.3) asks for, and false if the header is missing or
// malformed. A date is relative to the response's own date, so that clocks need not agree; without that, to now, plus a second
// for the clock skew; and without either (now is the zero time) it is ignored.
func After(header http.Header, now time.Time) (wait time.Duration, ok bool) {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, MaxAfter), true
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	if served, err := http.ParseTime(header.Get("Date")); err == nil {
		now = served
	} else if now.IsZero() {
		return 0, false
	} else {
		until = until.Add(time.Second)
	}
	return min(max(until.Sub(now), 0), MaxAfter), true
}

// Status reports whether a response of this status may be another one soon.
func Status(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return code >= http.StatusInternalServerError
}

// Transient reports whether a request without a response may succeed soon. The caller's own deadline does not pass.
func Transient(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || Ended(err)
}

// Ended reports whether a server ended a connection that was in use, or a stream of one (RFC 9113, 5.4 and 6.8). For net/http these are
// private types, and it repeats by itself only what it holds for idempotent.
func Ended(err error) bool {
	return err != nil && slices.ContainsFunc([]string{
		"server closed idle connection", "http2: server sent GOAWAY", "http2: client connection lost", "stream error: stream ID",
	}, func(text string) bool { return strings.Contains(err.Error(), text) })
}

// Sleep waits for d, or until ctx is done: then it returns the context's error.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Policy bounds how often and how late something is repeated.
type Policy struct {
	Attempts int           // in all
	First    time.Duration // pause after the first attempt; it doubles each time
	Longest  time.Duration // of one pause, whatever a server asks for
}

// Pause returns how long to wait after an attempt, counted from 1, after which a server asked for a wait, or for none.
func (p Policy) Pause(attempt int, asked time.Duration) time.Duration {
	pause := p.First
	for ; attempt > 1 && pause < p.Longest; attempt-- {
		pause *= 2
	}
	return min(max(pause, asked), p.Longest)
}

// Again marks an error after which [Policy.Do] tries again, once the wait that a server asks for has passed.
func Again(err error, wait time.Duration) error { return &again{err, wait} }

type again struct {
	error
	wait time.Duration
}

func (a *again) Unwrap() error { return a.error }

// Do calls try until it returns nil or an error that [Again] did not mark, has been called Attempts times, or ctx is done. The
// error is the last one of try, unmarked, or the context's.
func (p Policy) Do(ctx context.Context, try func() error) error {
	for attempt := 1; ; attempt++ {
		err := try()
		var marked *again
		if !errors.As(err, &marked) {
			return err
		}
		if attempt >= p.Attempts || ctx.Err() != nil {
			return marked.error
		}
		if err := Sleep(ctx, p.Pause(attempt, marked.wait)); err != nil {
			return err
		}
	}
}
