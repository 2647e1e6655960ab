package worker

import (
	"crypto/sha256"
	"fmt"
	"slices"

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

// shorten returns manifests without the data that the parent keeps, and the number of each, 0 for none.
func (s *sent) shorten(manifests []hydrate.Manifest) ([]hydrate.Manifest, []int) {
	short, numbers := slices.Clone(manifests), make([]int, len(manifests))
	if s.met == nil {
		s.met = map[[sha256.Size]byte]int{}
	}
	for i, m := range manifests {
		if len(m.Data) < minShared {
			continue
		}
		key := sha256.Sum256(m.Data)
		number, met := s.met[key]
		switch {
		case number > 0:
			numbers[i], short[i].Data = number, nil
		case met && s.bytes+len(m.Data) <= maxShared:
			s.count++
			s.bytes += len(m.Data)
			s.met[key], numbers[i] = s.count, s.count
		case !met && len(s.met) < maxMet:
			s.met[key] = 0
		}
	}
	return short, numbers
}

// kept are the manifests of a package that have a number, in the parent: the first has 1.
type kept [][]byte

// complete puts back what shorten took out.
func (k *kept) complete(manifests []hydrate.Manifest, numbers []int) error {
	for i, number := range numbers {
		switch {
		case number == 0:
		case i >= len(manifests) || number < 0 || number > len(*k)+1 || number == len(*k)+1 && len(manifests[i].Data) == 0:
			return fmt.Errorf("a reply names manifest %d of %d that were kept", number, len(*k))
		case number == len(*k)+1:
			*k = append(*k, manifests[i].Data)
		default:
			manifests[i].Data = (*k)[number-1]
		}
	}
	return nil
}
