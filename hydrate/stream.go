package hydrate

import (
	"bytes"
	"strings"
)

// SplitStream splits a stream of YAML documents before each document marker in the first column, which ends a document even
// within a block scalar (YAML 1.2.2, 9.1.2). Markers and blanks are kept.
func SplitStream(stream []byte) [][]byte {
	var documents [][]byte
	start := 0
	for line := 0; line < len(stream); {
		end := len(stream)
		if i := bytes.IndexByte(stream[line:], '\n'); i >= 0 {
			end = line + i + 1
		}
		rest, marker := bytes.CutPrefix(stream[line:end], []byte("---"))
		if marker && line > start && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0) {
			documents = append(documents, stream[start:line])
			start = line
		}
		line = end
	}
	return append(documents, stream[start:])
}
