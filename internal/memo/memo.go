// Package memo makes each of several values once, and keeps what was used lately.
package memo

import "sync"

// Map makes one value for each key, when it is first asked for. The zero Map is ready; it is safe for concurrent use.
type Map[K comparable, V any] struct{ made sync.Map }

// Get returns the result of create at the first call with key.
func (m *Map[K, V]) Get(key K, create func() (V, error)) (V, error) {
	made, _ := m.made.LoadOrStore(key, sync.OnceValues(create))
	once, _ := made.(func() (V, error))
	return once()
}
