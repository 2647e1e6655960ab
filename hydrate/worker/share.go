package worker

import (
	"crypto/sha256"
	"fmt"

	"github.com/lockage/lockage/hydrate"
)

// Stages of one package have manifests in common, definitions of custom resources above all. The child sends such a manifest when
// it is rendered first, again with a number when it is rendered for another stage, and from then on the number alone. One that
// is fixed has a number from the first time on.

const (
	minShared = 4 << 10  // bytes of a manifest that gets a number
	maxMet    = 1 << 14  // manifests of one package that the child knows again
	maxShared = 32 << 20 // bytes that the parent keeps of one package
)

// sent is what a child knows of the manifests of a package that it sent.
type sent struct {
	met   map[[sha256.Size]byte]int // the number; 0 if it was sent once
	fixed map[*byte]int             // the numbers of fixed manifests, by their addresses
	count int
	bytes int
}

// shorten returns a manifest with its number, 0 for none, and without the data that the parent keeps.
func (s *sent) shorten(m hydrate.Manifest) *manifest {
	if s.met == nil {
		s.met, s.fixed = map[[sha256.Size]byte]int{}, map[*byte]int{}
	}
	short := &manifest{Manifest: m}
	switch {
	case len(m.Data) < minShared:
	case m.Fixed:
		first := &m.Data[0]
		if s.fixed[first] == 0 {
			s.fixed[first] = s.number(short)
			break
		}
		short.Number, short.Data = s.fixed[first], nil
	default:
		key := sha256.Sum256(m.Data)
		number, met := s.met[key]
		switch {
		case number > 0:
			short.Number, short.Data = number, nil
		case met:
			s.met[key] = s.number(short)
		case len(s.met) < maxMet:
			s.met[key] = 0
		}
	}
	return short
}

// number returns the number that it adds to a manifest, 0 if the parent would keep too much.
func (s *sent) number(m *manifest) int {
	if s.bytes+len(m.Data) <= maxShared {
		s.count++
		s.bytes += len(m.Data)
		m.Number = s.count
	}
	return m.Number
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
