// Package notify calls receivers once a stage's tag moved, so that clusters need not poll.
//
// A receiver of Flux and any URL get a CloudEvent in structured mode ([EventType]). Argo CD gets what makes it compare again: a push
// to the tag and one to the live ref, as GitHub reports them. The body is signed with the secret of the receiver, if it has one:
// HMAC-SHA256 in X-Signature, as Flux's generic-hmac asks for, and for Argo CD in X-Hub-Signature-256.
//
// # Promises
//
//   - What is decided and written stays: a receiver that does not answer is an [Outcome], and no error.
//   - A call is repeated at most [maxAttempts] times, for [maxWait] each. A server that never answered is not called again by the same
//     run.
//   - Redirects are not followed, and plain HTTP is for this machine alone.
//   - Secrets come from variables of the environment. No outcome holds one, nor the path of an address, which may be one: webhooks of
//     chats and Flux's receivers have nothing else.
package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/retry"
	"github.com/lockage/lockage/publish"
)

// Bounds on the calls of a run.
const (
	concurrency = 8
	maxAttempts = 3                // of one call
	maxWait     = 10 * time.Second // for one answer
	firstPause  = time.Second
	maxPause    = 10 * time.Second // that a server may ask for
)

// sender calls receivers.
type sender struct {
	transport http.RoundTripper // nil for the default, which uses the proxies of the environment
	getenv    func(string) string
	userAgent string

	mu   sync.Mutex
	lost map[string]bool // servers that did not answer
}

// Notice is an event, and who gets it.
type Notice struct {
	Event     Event
	Receivers []pipeline.Receiver
}

// Outcome is what became of one call.
type Outcome struct {
	Receiver string `json:"receiver"` // its kind and server
	Error    string `json:"error,omitempty"`
}

// Send calls the receivers of each notice, warns of those that did not take it, and returns the outcomes in the same order.
func Send(ctx context.Context, e publish.Environment, notices []Notice) [][]Outcome {
	s := &sender{getenv: e.Getenv, userAgent: "lockage/" + e.Version}
	outcomes := s.send(ctx, notices)
	for i, n := range notices {
		for _, o := range outcomes[i] {
			if o.Error != "" {
				e.Warn(fmt.Sprintf("%s/%s is promoted, and %s was not notified: %s", n.Event.Pipeline, n.Event.Stage, o.Receiver, o.Error))
			}
		}
	}
	return outcomes
}

// send calls the receivers of each notice.
func (s *sender) send(ctx context.Context, notices []Notice) [][]Outcome {
	outcomes := make([][]Outcome, len(notices))
	var group errgroup.Group
	group.SetLimit(concurrency)
	for i, n := range notices {
		outcomes[i] = make([]Outcome, len(n.Receivers))
		for k, r := range n.Receivers {
			group.Go(func() error {
				outcomes[i][k] = s.call(ctx, r, n.Event)
				return nil
			})
		}
	}
	_ = group.Wait() // the outcomes hold the errors
	return outcomes
}

// call calls one receiver.
func (s *sender) call(ctx context.Context, r pipeline.Receiver, e Event) Outcome {
	kind, address := r.Address()
	o := Outcome{Receiver: kind + " " + address}
	value, err := s.resolve(address)
	if err != nil {
		o.Error = err.Error()
		return o
	}
	u, fault := pipeline.ReceiverURL(value)
	if fault != "" {
		o.Error = "the address " + fault
		return o
	}
	server := u.Scheme + "://" + u.Host
	o.Receiver = kind + " " + server
	if s.isLost(server) {
		o.Error = "it did not answer before, and is not called again by this run"
		return o
	}
	if err = s.deliver(ctx, r, e, u.String()); err != nil {
		o.Error = err.Error()
	}
	if errors.As(err, &unansweredError{}) {
		s.lose(server)
	}
	return o
}

// resolve returns the value of env://NAME, and any other value as it is.
func (s *sender) resolve(value string) (string, error) {
	name, ok := strings.CutPrefix(value, "env://")
	if !ok {
		return value, nil
	}
	resolved := strings.TrimSpace(s.getenv(name))
	if resolved == "" {
		return "", errors.New("the variable " + name + " is not set")
	}
	return resolved, nil
}

// deliver makes the calls that a receiver takes for an event.
func (s *sender) deliver(ctx context.Context, r pipeline.Receiver, e Event, address string) error {
	secret, err := s.resolve(r.Secret)
	if err != nil {
		return err
	}
	messages, err := e.messages(r, secret)
	if err != nil {
		return err
	}
	for name, value := range r.Headers {
		if value, err = s.resolve(value); err != nil {
			return err
		}
		for _, m := range messages {
			m.header.Set(name, value)
		}
	}
	policy := retry.Policy{Attempts: maxAttempts, First: firstPause, Longest: maxPause}
	for _, m := range messages {
		if err := policy.Do(ctx, func() error { return s.post(ctx, address, m) }); err != nil {
			return err
		}
	}
	return nil
}
