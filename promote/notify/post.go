package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/lockage/lockage/internal/retry"
)

// maxAnswer bounds how much of an answer is read, so that the connection can be used again.
const maxAnswer = 64 << 10

// post sends a message once. Errors that may pass are marked for [retry.Policy.Do], and hold neither address nor headers.
func (s *sender) post(ctx context.Context, address string, m message) error {
	limited, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodPost, address, bytes.NewReader(m.body))
	if err != nil {
		return errors.New("the address is not a URL")
	}
	request.Header = m.header.Clone()
	request.Header.Set("User-Agent", s.userAgent)
	client := http.Client{Transport: s.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return unanswered(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer)
	if m.exact && response.StatusCode/100 == 2 && response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %d %s, as Flux's own event server does: name the service webhook-receiver", response.StatusCode, http.StatusText(response.StatusCode))
	}
	return refusal(response)
}

// refusal returns the error of an answer; nil if the message was taken.
func refusal(response *http.Response) error {
	status := fmt.Sprintf("it answers %d", response.StatusCode)
	if text := http.StatusText(response.StatusCode); text != "" {
		status += " " + text
	}
	switch code := response.StatusCode; {
	case code/100 == 2:
		return nil
	case code/100 == 3:
		return errors.New(status + ", and redirects are not followed: write the address that it leads to")
	case retry.Status(code):
		wait, _ := retry.After(response.Header, time.Time{})
		return retry.Again(errors.New(status), wait)
	case code == http.StatusBadRequest || code == http.StatusUnauthorized || code == http.StatusForbidden:
		return errors.New(status + ": compare the secret with the receiver's")
	case code == http.StatusNotFound:
		return errors.New(status + ": compare the path with the receiver's")
	}
	return errors.New(status)
}

// unansweredError is the error of a call without an answer.
type unansweredError struct{ error }

// unanswered returns the error of a call without an answer.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var named *url.Error
	if errors.As(err, &named) { // whose text has the whole address
		err = named.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s", maxWait)
	}
	return retry.Again(unansweredError{err}, 0)
}

func (s *sender) isLost(server string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost[server]
}

func (s *sender) lose(server string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == nil {
		s.lost = map[string]bool{}
	}
	s.lost[server] = true
}
