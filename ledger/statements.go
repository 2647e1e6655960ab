package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lockage/lockage/sign"
)

// Statements are what was signed about an artifact. A file of the ledger holds them as they are, a JSON object a line.
type Statements struct {
	Bundles []sign.Bundle
	Images  []sign.ImageSignature // in the older form
}

// encode returns the lines of the statements.
func (s Statements) encode() ([]byte, error) {
	var text bytes.Buffer
	for _, b := range s.Bundles {
		if len(b.JSON) == 0 || bytes.ContainsAny(b.JSON, "\r\n") {
			return nil, errors.New("a signed statement is not a single line, and its bytes must not change")
		}
		text.Write(append(b.JSON, '\n'))
	}
	for _, i := range s.Images {
		line, err := json.Marshal(i)
		if err != nil {
			return nil, err
		}
		text.Write(append(line, '\n'))
	}
	return text.Bytes(), nil
}

// parseStatements reads what encode writes. Nothing in it is proven.
func parseStatements(text []byte) (Statements, error) {
	var s Statements
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
