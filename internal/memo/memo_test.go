package memo

import (
	"errors"
	"sync"
	"testing"
)

func TestMap(t *testing.T) {
	t.Parallel()
	var m Map[string, *int]
	var calls int
	var group sync.WaitGroup
	values := make([]*int, 8)
	for i := range values {
		group.Go(func() {
			values[i], _ = m.Get("a", func() (*int, error) {
				calls++ // the race detector sees a second call
				return new(int), nil
			})
		})
	}
	group.Wait()
	for _, v := range values {
		if v == nil || v != values[0] {
			t.Fatalf("values differ: %v", values)
		}
	}
	if calls != 1 {
		t.Errorf("made %d times", calls)
	}
	failed := errors.New("failed")
	for range 2 {
		if _, err := m.Get("b", func() (*int, error) {
			calls++
			return nil, failed
		}); !errors.Is(err, failed) {
			t.Error(err)
		}
	}
	if calls != 2 {
		t.Errorf("a failure is tried again: %d calls", calls)
	}
}
