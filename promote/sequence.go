package promote

import (
	"iter"
	"sync"
)

// sequence is a list that is read once, and only as far as needed.
type sequence[T any] struct {
	mu    sync.Mutex
	next  func() (T, error, bool)
	stop  func()
	known []T
	err   error
	ended bool
}

func newSequence[T any](from iter.Seq2[T, error]) *sequence[T] {
	next, stop := iter.Pull2(from)
	return &sequence[T]{next: next, stop: stop}
}

// at returns the element at an index; false after the last one.
func (s *sequence[T]) at(i int) (T, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.known) <= i && !s.ended {
		element, err, ok := s.next()
		if !ok || err != nil {
			s.ended, s.err = true, err
			break
		}
		s.known = append(s.known, element)
	}
	if i < len(s.known) {
		return s.known[i], true, nil
	}
	var none T
	return none, false, s.err
}

// first yields the first n elements. An error is yielded last.
func (s *sequence[T]) first(n int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for i := range n {
			element, ok, err := s.at(i)
			if err != nil {
				yield(element, err)
			}
			if !ok || !yield(element, nil) {
				return
			}
		}
	}
}

// close ends the reading.
func (s *sequence[T]) close() { s.stop() }
