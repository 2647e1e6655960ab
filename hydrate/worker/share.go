package worker

import (
	"crypto/sha256"
	"fmt"

	"github.com/lockage/lockage/hydrate"
)

// Stages of one package have manifests in common, definitions of custom resources above all. The child sends such a manifest when
// it is rendered first, again with a number when it is rendered for another stage, and from then on the number alone.

const (
	minShared = 4 << 10  // bytes of a manifest that gets a number
	maxMet    = 1 << 14  // manifests of one package that the child knows again
	maxShared = 32 << 20 // bytes that the parent keeps of one package
)

// sent is what a child knows of the manifests of a package that it sent.
type sent struct {
	met   map[[sha256.Size]byte]int // the number; 0 if it was sent once
	count int
	bytes int
}

// shorten returns a manifest with its number, 0 for none, and without the data that the parent keeps.
func (s *sent) shorten(m hydrate.Manifest) *manifest {
	short := &manifest{Manifest: m}
	if len(m.Data) < minShared {
		return short
	}
	if s.met == nil {
		s.met = map[[sha256.Size]byte]int{}
	}
	key := sha256.Sum256(m.Data)
	number, met := s.met[key]
	switch {
	case number > 0:
		short.Number, short.Data = number, nil
	case met && s.bytes+len(m.Data) <= maxShared:
		s.count++
		s.bytes += len(m.Data)
		s.met[key], short.Number = s.count, s.count
	case !met && len(s.met) < maxMet:
		s.met[key] = 0
	}
	return short
}

// kept are the manifests of a package that have a number, in the parent: the first has 1.
type kept [][]byte

// complete puts back what shorten took out.
func (k *kept) complete(m *manifest) error {
	switch next := len(*k) + 1; {
	case m.Number == 0:
	case m.Number < 0 || m.Number > next || m.Number == next && len(m.Data) == 0:
		return fmt.Errorf("it names manifest %d of %d that were kept", m.Number, len(*k))
	case m.Number == next:
		*k = append(*k, m.Data)
	default:
		m.Data = (*k)[m.Number-1]
	}
	return nil
}
