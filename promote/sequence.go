package promote

import (
	"iter"
	"sync"
)

// sequences are lists that are each read once, and only as far as needed.
type sequences[K comparable, T any] struct {
	mu    sync.Mutex
	byKey map[K]*sequence[T]
}

// of returns the sequence of a key, which is read from the given one unless it is known.
func (c *sequences[K, T]) of(key K, from iter.Seq2[T, error]) *sequence[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.byKey[key]
	if s == nil {
		if c.byKey == nil {
			c.byKey = map[K]*sequence[T]{}
		}
		s = &sequence[T]{}
		s.next, s.stop = iter.Pull2(from)
		c.byKey[key] = s
	}
	return s
}

// forget drops what was read of a key's sequence.
func (c *sequences[K, T]) forget(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.byKey[key]; s != nil {
		s.stop()
		delete(c.byKey, key)
	}
}

// close ends all reading.
func (c *sequences[K, T]) close() {
	for _, s := range c.byKey {
		s.stop()
	}
}

type sequence[T any] struct {
	mu    sync.Mutex
	next  func() (T, error, bool)
	stop  func()
	known []element[T]
}

type element[T any] struct {
	value T
	err   error
}

// at returns the element at an index; false after the last one.
func (s *sequence[T]) at(i int) (element[T], bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.known) <= i {
		value, err, ok := s.next()
		if !ok {
			return element[T]{}, false
		}
		s.known = append(s.known, element[T]{value, err})
	}
	return s.known[i], true
}

// first yields the first n elements. An error is yielded last.
func (s *sequence[T]) first(n int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for i := range n {
			if e, ok := s.at(i); !ok || !yield(e.value, e.err) || e.err != nil {
				return
			}
		}
	}
}
