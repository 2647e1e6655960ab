package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestEnded meets a server of HTTP/2 that ends a stream before and in the middle of an answer, and one that ends the connection.
func TestEnded(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	for _, path := range []string{"/", "/half"} {
		resp, err := server.Client().Get(server.URL + path)
		if err == nil {
			if resp.ProtoMajor != 2 {
				t.Errorf("%s", resp.Proto)
			}
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		if !Ended(err) || !Transient(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, err := range []error{nil, errors.New("x509: certificate signed by unknown authority"), context.Canceled} {
		if Ended(err) {
			t.Errorf("%v", err)
		}
	}
}

func TestAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	const date, later = "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:37 GMT"
	for name, c := range map[string]struct {
		header http.Header
		now    time.Time
		want   time.Duration
		none   bool
	}{
		"seconds":            {header: http.Header{"Retry-After": {" 42 "}}, want: 42 * time.Second},
		"zero":               {header: http.Header{"Retry-After": {"0"}}},
		"date":               {header: http.Header{"Retry-After": {later}, "Date": {date}}, want: time.Minute},
		"the server's clock": {header: http.Header{"Retry-After": {later}, "Date": {date}}, now: now.Add(time.Hour), want: time.Minute},
		"our clock":          {header: http.Header{"Retry-After": {later}}, now: now, want: 61 * time.Second},
		"past":               {header: http.Header{"Retry-After": {date}, "Date": {later}}},
		"long past":          {header: http.Header{"Retry-After": {date}}, now: now.Add(time.Hour)},
		"no clock":           {header: http.Header{"Retry-After": {date}}, none: true},
		"negative":           {header: http.Header{"Retry-After": {"-1"}}, none: true},
		"signed":             {header: http.Header{"Retry-After": {"+1"}}, none: true},
		"fraction":           {header: http.Header{"Retry-After": {"1.5"}}, none: true},
		"absurd":             {header: http.Header{"Retry-After": {"99999999999999999999"}}, none: true},
		"long":               {header: http.Header{"Retry-After": {"4000000000"}}, want: MaxAfter},
		"far":                {header: http.Header{"Retry-After": {"Fri, 06 Nov 2994 08:49:37 GMT"}}, now: now, want: MaxAfter},
		"absent":             {none: true},
	} {
		if got, ok := After(c.header, c.now); got != c.want || ok == c.none {
			t.Errorf("%s: %s, %v, want %s", name, got, ok, c.want)
		}
	}
}

func FuzzAfter(f *testing.F) {
	f.Add("7", "")
	f.Add("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:37 GMT")
	f.Fuzz(func(t *testing.T, after, date string) {
		header := http.Header{"Retry-After": {after}, "Date": {date}}
		if wait, ok := After(header, time.Unix(1<<30, 0)); wait < 0 || wait > MaxAfter || !ok && wait != 0 {
			t.Errorf("%s, %v", wait, ok)
		}
	})
}

func TestWhat(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]bool{
		200: false, 301: false, 401: false, 404: false, 408: true, 409: false, 429: true, 500: true, 501: false, 502: true, 503: true, 504: true, 505: false,
	} {
		if Status(code) != want {
			t.Errorf("%d: %v", code, !want)
		}
	}
	for want, errs := range map[bool][]error{
		true: {
			io.EOF, io.ErrUnexpectedEOF, &url.Error{Err: io.EOF}, &net.OpError{Err: syscall.ECONNRESET}, fmt.Errorf("write: %w", syscall.EPIPE),
			&net.OpError{Err: os.ErrDeadlineExceeded}, errors.New("http: server closed idle connection"),
		},
		false: {
			nil, errors.New("no"), context.Canceled, &url.Error{Err: context.DeadlineExceeded}, &net.OpError{Err: syscall.ECONNREFUSED},
			&net.DNSError{IsNotFound: true},
		},
	} {
		for _, err := range errs {
			if Transient(err) != want {
				t.Errorf("%v: %v", err, !want)
			}
		}
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	p := Policy{First: time.Second, Longest: 10 * time.Second}
	for _, c := range []struct {
		attempt     int
		asked, want time.Duration
	}{{1, 0, time.Second}, {3, 0, 4 * time.Second}, {3, 3 * time.Second, 4 * time.Second}, {1, 7 * time.Second, 7 * time.Second}, {9, 0, 10 * time.Second}, {1 << 40, time.Hour, 10 * time.Second}} {
		if got := p.Pause(c.attempt, c.asked); got != c.want {
			t.Errorf("%d, %s: %s, want %s", c.attempt, c.asked, got, c.want)
		}
	}
}

func TestDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fault := errors.New("fault")
		policy := Policy{Attempts: 3, First: time.Second, Longest: time.Minute}
		for name, c := range map[string]struct {
			try    func(attempt int) error
			tries  int
			waited time.Duration
			want   error
		}{
			"at once":  {func(int) error { return nil }, 1, 0, nil},
			"for good": {func(int) error { return fault }, 1, 0, fault},
			"third": {func(attempt int) error {
				if attempt < 3 {
					return fmt.Errorf("try: %w", Again(fault, 0))
				}
				return nil
			}, 3, 3 * time.Second, nil},
			"always": {func(int) error { return Again(fault, 5*time.Second) }, 3, 10 * time.Second, fault},
		} {
			begin, tries := time.Now(), 0
			err := policy.Do(t.Context(), func() error { tries++; return c.try(tries) })
			if err != c.want || tries != c.tries || time.Since(begin) != c.waited { //nolint:errorlint // the mark is taken off
				t.Errorf("%s: %v after %d tries and %s", name, err, tries, time.Since(begin))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		tries := 0
		if err := policy.Do(ctx, func() error { tries++; return Again(fault, 0) }); !errors.Is(err, context.DeadlineExceeded) || tries != 2 {
			t.Errorf("%v after %d tries", err, tries)
		}
	})
}
