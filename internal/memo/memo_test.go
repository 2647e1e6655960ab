package memo

import (
	"errors"
	"slices"
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

func TestRecent(t *testing.T) {
	t.Parallel()
	r := Recent[int, string]{Limit: 80}
	for i := range 9 {
		r.Put(i, "first", 10)
		if got := r.Put(i, "second", 10); got != "first" {
			t.Errorf("%d was put twice: %s", i, got)
		}
		r.Get(0)
	}
	var left []int
	for i := range 9 {
		if _, ok := r.Get(i); ok {
			left = append(left, i)
		}
	}
	if !slices.Contains(left, 0) || !slices.Contains(left, 8) || slices.Contains(left, 1) || len(left) > 8 {
		t.Errorf("left are %v", left)
	}
	r.Drop(0)
	r.Put(10, "large", 11)
	for _, key := range []int{0, 10} {
		if got, ok := r.Get(key); ok {
			t.Errorf("%d is still there: %s", key, got)
		}
	}
}
