package oci

import (
	"fmt"
	"math"
	"net/http"
	"time"

	orasretry "oras.land/oras-go/v2/registry/remote/retry"

	"github.com/lockage/lockage/internal/retry"
)

const (
	maxRetries  = 6
	firstWait   = 250 * time.Millisecond
	noticedWait = 2 * time.Second // longer waits are reported
)

// newRetrier repeats requests after transient failures. oras-go's default policy waits three seconds at most and reads
// Retry-After on 429 only.
func newRetrier(base http.RoundTripper, maxWait time.Duration, jitter func() float64, warn func(string)) http.RoundTripper {
	policy := &orasretry.GenericPolicy{
		Retryable: func(resp *http.Response, err error) (bool, error) {
			if err == nil {
				return retry.Status(resp.StatusCode), nil
			}
			if retry.Transient(err) {
				return true, nil
			}
			return false, err
		},
		Backoff: func(attempt int, resp *http.Response) time.Duration {
			wait := time.Duration(float64(firstWait) * math.Pow(2, float64(attempt)) * (0.75 + jitter()/2))
			if resp == nil {
				return min(wait, maxWait)
			}
			asked, _ := retry.After(resp.Header, time.Time{})
			if wait = min(max(wait, asked), maxWait); wait >= noticedWait {
				warn(fmt.Sprintf("%s answered %s; trying again in %s", resp.Request.URL.Host, resp.Status, wait.Round(time.Second)))
			}
			return wait
		},
		MaxWait:  maxWait,
		MaxRetry: maxRetries,
	}
	return &orasretry.Transport{Base: base, Policy: func() orasretry.Policy { return policy }}
}
