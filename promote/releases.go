package promote

import "context"

// maxReleases bounds how far back in the lock's history a release is looked for.
const maxReleases = 500

// releases are those of a lock directory, the newest first.
func (r *run) releases(ctx context.Context, dir string) *sequence[string] {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.histories[dir]
	if s == nil {
		s = newSequence(r.trunk.Releases(ctx, r.files, dir))
		r.histories[dir] = s
	}
	return s
}

// place is where a release stands in the history, 0 for the newest; -1 where it was never current.
func place(history *sequence[string], release string) (int, error) {
	for i := range maxReleases {
		id, ok, err := history.at(i)
		switch {
		case err != nil:
			return -1, err
		case !ok:
			return -1, nil
		case id == release:
			return i, nil
		}
	}
	return -1, nil
}
