package hydrate

import (
	"bytes"
	"testing"
)

// FuzzSplitStream checks that splitting loses nothing, and that only the start of a document is a marker.
func FuzzSplitStream(f *testing.F) {
	f.Add([]byte("a: 1\n---\nb: 2\n"))
	f.Add([]byte("--- a\n---"))
	f.Add([]byte("----\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		documents := SplitStream(data)
		if got := bytes.Join(documents, nil); !bytes.Equal(got, data) {
			t.Fatalf("%q became %q", data, got)
		}
		for i, document := range documents {
			if bytes.Contains(document, []byte("\n---\n")) || i > 0 && !bytes.HasPrefix(document, []byte("---")) {
				t.Fatalf("%q is not one document", document)
			}
		}
	})
}
