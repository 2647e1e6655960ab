package forge

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lockage/lockage/internal/terminal"
)

// Error is a forge's refusal.
type Error struct {
	Status  int    // of HTTP, or 422 where GraphQL refuses with 200
	Message string // of the forge, one line, at most 1,000 bytes
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// RateLimitError is returned if the forge accepts no more requests before Until, which is later than one request may wait.
// The request was not carried out.
type RateLimitError struct {
	Host  string
	Until time.Time
}

func (e *RateLimitError) Error() string {
	return fmt.Sprintf("rate limit of %s reached: run again after %s", e.Host, e.Until.UTC().Format(time.RFC3339))
}

// fail adds the repository and the next step to an error. It returns nil for nil.
func (r *Repository) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	// The libraries' wrapping only repeats the request's URL.
	advice := ""
	if limit, ok := errors.AsType[*RateLimitError](err); ok {
		err = limit
	} else if refusal, ok := errors.AsType[*Error](err); ok {
		err = refusal
		advice = map[int]string{
			http.StatusUnauthorized: "; the token was not accepted: renew it",
			http.StatusForbidden:    "; the token needs " + r.access,
			http.StatusNotFound:     "; it does not exist, or the token cannot see it: it needs " + r.access,
		}[refusal.Status]
	}
	return fmt.Errorf("%s on %s: %w%s", what, r, err, advice)
}

// Refused reports whether an error is the forge's lasting refusal of the request, rather than a fault, a rate limit or an
// invalid token.
func Refused(err error) bool {
	refusal, ok := errors.AsType[*Error](err)
	return ok && refusal.Status >= 400 && refusal.Status < 500 && refusal.Status != http.StatusUnauthorized
}

func hasStatus(err error, statuses ...int) bool {
	refusal, ok := errors.AsType[*Error](err)
	return ok && slices.Contains(statuses, refusal.Status)
}

// unsettled reports whether a request may have been carried out although it failed.
func unsettled(err error) bool {
	_, limited := errors.AsType[*RateLimitError](err)
	refusal, refused := errors.AsType[*Error](err)
	return !limited && (!refused || refusal.Status >= 500)
}

// maxMessage bounds the message of a refusal, in bytes.
const maxMessage = 1000

// message returns the text in the body of a refusal. GitHub: {"message", "errors": [{"message"}]}; GitLab: {"message": a
// string, a list, or an object of lists} or {"error"}; Gitea: {"message"}.
func message(body []byte) string {
	var object struct {
		Message     any `json:"message"`
		Error       any `json:"error"`
		Errors      any `json:"errors"`
		Description any `json:"error_description"`
	}
	if json.Unmarshal(body, &object) != nil {
		return ""
	}
	var words []string
	var collect func(value any, depth int)
	collect = func(value any, depth int) {
		if depth > 5 {
			return
		}
		switch value := value.(type) {
		case string:
			if word := strings.TrimSpace(value); word != "" {
				words = append(words, word)
			}
		case []any:
			for _, item := range value {
				collect(item, depth+1)
			}
		case map[string]any:
			if text, ok := value["message"]; ok {
				collect(text, depth+1)
				return
			}
			for _, key := range slices.Sorted(maps.Keys(value)) {
				words = append(words, key)
				collect(value[key], depth+1)
			}
		}
	}
	collect([]any{object.Message, object.Error, object.Description, object.Errors}, 0)
	return terminal.Words(strings.Join(words, ": "), maxMessage)
}

func checkRedirect(request *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet {
		return errors.New("the repository has moved: use its new address")
	}
	if len(via) >= 5 {
		return errors.New("more than 5 redirects")
	}
	if request.URL.Host != via[0].URL.Host || request.URL.Scheme != via[0].URL.Scheme {
		return fmt.Errorf("redirected to another host, %s", (&url.URL{Scheme: request.URL.Scheme, Host: request.URL.Host}))
	}
	return nil
}
