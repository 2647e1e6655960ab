package promote

import (
	"iter"
	"sync"
)

// sequence is a list that is read once, and only as far as needed.
type sequence[T any] struct {
	mu    sync.Mutex
	next  func() (T, error, bool)
	known []T
	err   error // that ended the list
}

// sequenceOf returns the sequence of a list, which is read no further once the run ends.
func sequenceOf[T any](r *run, list iter.Seq2[T, error]) *sequence[T] {
	next, stop := iter.Pull2(list)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stops = append(r.stops, stop)
	return &sequence[T]{next: next}
}

// first yields the first n elements. An error is yielded last.
func (s *sequence[T]) first(n int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for i := range n {
			if value, ok, err := s.at(i); !ok || !yield(value, err) || err != nil {
				return
			}
		}
	}
}

// at returns the element at an index, or the error before it; false after the last one.
func (s *sequence[T]) at(i int) (value T, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.known) <= i {
		if s.err == nil {
			value, s.err, ok = s.next()
		}
		if s.err != nil || !ok {
			return value, s.err != nil, s.err
		}
		s.known = append(s.known, value)
	}
	return s.known[i], true, nil
}
