package promote

import (
	"iter"
	"sync"
)

// sequence is a list that is read as far as somebody asks, and once.
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

// at is the element at a place; false behind the end.
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

// close ends the reading.
func (s *sequence[T]) close() { s.stop() }
