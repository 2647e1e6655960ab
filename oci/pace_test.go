package oci

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/lockage/lockage/oci/registry"
)

// limited lets some requests pass a minute, and refuses the others: with the wait until the next minute, or without a word.
type limited struct {
	next    http.Handler
	perSpan int
	silent  bool

	mu      sync.Mutex
	span    int64
	used    int
	refused int
}

func (l *limited) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	l.mu.Lock()
	if span := now.Unix() / 60; span != l.span {
		l.span, l.used = span, 0
	}
	l.used++
	ok := l.used <= l.perSpan
	if !ok {
		l.refused++
	}
	l.mu.Unlock()
	if ok {
		l.next.ServeHTTP(w, r)
		return
	}
	if !l.silent {
		w.Header().Set("Retry-After", strconv.FormatInt(60-now.Unix()%60, 10))
	}
	w.WriteHeader(http.StatusTooManyRequests)
}

// TestRateLimit pushes forty artifacts at a time to a registry that takes a hundred requests a minute.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprintf("silent=%v", silent), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				backing := registry.New(registry.Options{})
				t.Cleanup(func() { _ = backing.Close() })
				limit := &limited{next: backing, perSpan: 100, silent: silent}
				client := NewClient(Options{Transport: inProcess(limit)})
				start := time.Now()
				var group sync.WaitGroup
				for i := range 40 {
					group.Go(func() {
						r, err := client.Repository(fmt.Sprintf("127.0.0.1:1/acme/app-%d", i))
						a := mustPack(t, fstest.MapFS{"x": {Data: fmt.Append(nil, i)}}, nil)
						if err == nil {
							err = r.PushArtifact(t.Context(), a)
						}
						if err == nil {
							err = r.Attach(t.Context(), a.Descriptor, proof("a"), proof("b"))
						}
						if err == nil {
							err = r.Tag(t.Context(), a.Descriptor, "one", "two", "three")
						}
						if err != nil {
							t.Error(err)
						}
					})
				}
				group.Wait()
				// 40 artifacts make some 700 requests, which fill seven minutes.
				t.Logf("%s, %d refused", time.Since(start), limit.refused)
				if minutes := time.Since(start).Minutes(); minutes > 12 || limit.refused > 400 {
					t.Errorf("%.1f minutes, %d requests in vain", minutes, limit.refused)
				}
			})
		})
	}
}
