package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/sign"
)

// Statements are what was signed about an artifact. A file of the ledger holds them, a JSON object a line: enough to put them
// back into a registry.
type Statements struct {
	Bundles []sign.Bundle
	Images  []sign.ImageSignature // in the older form
	Record  digest.Digest         // of a promotion's record, which is among Bundles; not in the file
}

// encode returns the lines of the statements, each once. A bundle of several lines becomes one line.
func (s Statements) encode() ([]byte, error) {
	var lines [][]byte
	for _, b := range s.Bundles {
		lines = append(lines, b.JSON)
	}
	for _, i := range s.Images {
		line, err := json.Marshal(i)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	var text bytes.Buffer
	seen := map[digest.Digest]bool{}
	for _, line := range lines {
		d := digest.FromBytes(line)
		if seen[d] {
			continue
		}
		if seen[d] = true; !bytes.ContainsAny(line, "\r\n") {
			text.Write(line)
		} else if err := json.Compact(&text, line); err != nil {
			return nil, fmt.Errorf("statement %s: %w", d, err)
		}
		text.WriteByte('\n')
	}
	if len(seen) > maxStatements || text.Len() > maxEntryBytes {
		return nil, fmt.Errorf("%d statements of %d bytes, at most %d of %d are recorded", len(seen), text.Len(), maxStatements, maxEntryBytes)
	}
	return text.Bytes(), nil
}

// parseStatements reads what encode writes. Nothing in it is proven.
func parseStatements(text []byte) (Statements, error) {
	var s Statements
	if len(text) > maxEntryBytes {
		return s, fmt.Errorf("%d bytes of statements, at most %d are read", len(text), maxEntryBytes)
	}
	for line := range bytes.Lines(text) {
		if len(s.Bundles)+len(s.Images) == maxStatements {
			return Statements{}, fmt.Errorf("more than %d statements", maxStatements)
		}
		var kind struct {
			MediaType string `json:"mediaType"`
			sign.ImageSignature
		}
		if err := json.Unmarshal(line, &kind); err != nil {
			return Statements{}, fmt.Errorf("a line is not a statement: %w", err)
		}
		if kind.MediaType == "" && kind.Payload != nil {
			s.Images = append(s.Images, kind.ImageSignature)
			continue
		}
		s.Bundles = append(s.Bundles, sign.Bundle{JSON: bytes.TrimSuffix(line, []byte("\n"))})
	}
	return s, nil
}

// Statements reads the statements beside a version's files. A version without them, or with a file that lockage did not write,
// has none.
func (v Version) Statements(ctx context.Context, remote *git.Remote) (Statements, error) {
	if v.statements == "" {
		return Statements{}, nil
	}
	if err := remote.FetchFiles(ctx, v.statements); err != nil {
		return Statements{}, err
	}
	text, err := remote.File(ctx, v.statements)
	if err != nil {
		return Statements{}, err
	}
	s, err := parseStatements(text)
	if err != nil {
		return Statements{}, nil //nolint:nilerr // nobody signed that
	}
	return s, nil
}
