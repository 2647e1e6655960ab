package oci

import (
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/lockage/lockage/internal/retry"
)

// pacer slows down for hosts that answer 429 (Too Many Requests). Then one request at a time is under way, after the wait that the
// host asks for, and one more after each other answer.
type pacer struct {
	base    http.RoundTripper
	maxWait time.Duration

	mu    sync.Mutex
	hosts map[string]*pace
}

// pace is that of a host.
type pace struct {
	running, allowed int
	refused          int // in a row
	until            time.Time
	changed          chan struct{} // closed and replaced at each change
}

// unhurried is the number of requests under way from which a host is not held to be slow any more.
const unhurried = 64

func newPacer(base http.RoundTripper, maxWait time.Duration) *pacer {
	return &pacer{base: base, maxWait: maxWait, hosts: map[string]*pace{}}
}

// RoundTrip implements [http.RoundTripper].
func (p *pacer) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := p.enter(req); err != nil {
		return nil, err
	}
	resp, err := p.base.RoundTrip(req)
	p.leave(req.URL.Host, resp)
	return resp, err
}

// enter waits for the request's turn.
func (p *pacer) enter(req *http.Request) error {
	for {
		p.mu.Lock()
		host := p.hosts[req.URL.Host]
		if host == nil {
			host = &pace{allowed: math.MaxInt, changed: make(chan struct{})}
			p.hosts[req.URL.Host] = host
		}
		wait := time.Until(host.until)
		if wait <= 0 && host.running < host.allowed {
			host.running++
			p.mu.Unlock()
			return nil
		}
		changed := host.changed
		p.mu.Unlock()
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-timer:
		case <-changed:
		case <-req.Context().Done():
			return req.Context().Err()
		}
	}
}

// leave takes an answer over into the host's pace.
func (p *pacer) leave(name string, resp *http.Response) {
	p.mu.Lock()
	defer p.mu.Unlock()
	host := p.hosts[name]
	host.running--
	switch {
	case resp != nil && resp.StatusCode == http.StatusTooManyRequests:
		asked, _ := retry.After(resp.Header, time.Time{})
		wait := min(max(asked, firstWait<<min(host.refused, maxRefusals)), p.maxWait)
		host.allowed = 1
		host.refused++
		if until := time.Now().Add(wait); until.After(host.until) {
			host.until = until
		}
	case host.allowed == math.MaxInt:
		return
	default:
		host.refused = 0
		if host.allowed++; host.allowed > unhurried {
			host.allowed = math.MaxInt
		}
	}
	close(host.changed)
	host.changed = make(chan struct{})
}
