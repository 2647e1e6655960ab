package memo

import "sync"

// Recent keeps what was asked for lately, up to Limit in sizes that the caller gives. It is safe for concurrent use.
type Recent[K comparable, V any] struct {
	Limit int

	mu             sync.Mutex
	recent, before map[K]sized[V]
	size           int // of recent
}

type sized[V any] struct {
	value V
	size  int
}

// Get returns the value of a key, if it is still there.
func (r *Recent[K, V]) Get(key K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.get(key)
	return found.value, ok
}

// Put keeps a value under a key, and returns the one that is there already, if there is one. A value of more than an eighth of the
// limit is not kept: it would replace many others.
func (r *Recent[K, V]) Put(key K, value V, size int) V {
	r.mu.Lock()
	defer r.mu.Unlock()
	if found, ok := r.get(key); ok {
		return found.value
	}
	if size <= r.Limit/8 {
		r.add(key, sized[V]{value, size})
	}
	return value
}

// Drop forgets a key.
func (r *Recent[K, V]) Drop(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.recent, key) // its size counts on
	delete(r.before, key)
}

func (r *Recent[K, V]) get(key K) (sized[V], bool) {
	found, ok := r.recent[key]
	if !ok {
		if found, ok = r.before[key]; ok {
			r.add(key, found)
		}
	}
	return found, ok
}

func (r *Recent[K, V]) add(key K, s sized[V]) {
	if r.size += s.size; r.recent == nil || r.size > r.Limit/2 {
		r.before, r.recent, r.size = r.recent, map[K]sized[V]{}, s.size
	}
	r.recent[key] = s
}
