package live

import (
	"fmt"
	"time"
)

// maxSkew is how far this machine's clock may be from that of a timestamp authority or a log.
const maxSkew = 5 * time.Minute

// onTime returns an error if this machine's clock, by which gates were judged, is not that of the service that vouches for the record's time.
func (s Stage) onTime(p Promotion, now time.Time) error {
	for _, b := range p.Statements.Bundles {
		at := s.Promoter.Timed(p.To.Digest, b)
		if b.Digest() == p.Statements.Record && !at.IsZero() && now.Sub(at.Time).Abs() > maxSkew {
			return fmt.Errorf("clock skew: it is %s here, and %s by %s: set the clock right", now.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339), at.Source)
		}
	}
	return nil
}
