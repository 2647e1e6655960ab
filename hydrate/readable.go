package hydrate

import "fmt"

// checkReadable refuses objects that [Decoder.Objects] would refuse when it reads what is written of them: written out, a list
// takes more lines than it has commas, and indentation many times its bytes.
func checkReadable(objects []Object) error {
	const between = "---\n" // of documents in one file
	count, size := 0, 0
	for _, o := range objects {
		if len(o.YAML()) > maxDocumentBytes {
			return fmt.Errorf("%s: %v: it has more than %d bytes as it is written, and could not be read back; does a loop write more than it should?",
				o.Source, o, maxDocumentBytes)
		}
		if size += len(o.YAML()) + len(between); size > maxWrittenBytes {
			return fmt.Errorf("%s: %v: the objects up to here have more than %d bytes as they are written; does a loop write more than it should?",
				o.Source, o, maxWrittenBytes)
		}
		if count += o.marks() + len(between); count > maxMarks {
			return fmt.Errorf("%s: %v: more values than can be read back: the objects up to here have more than %d newlines and characters of %q as they are written; "+
				"does a loop write more than it should?", o.Source, o, maxMarks, marks[1:])
		}
	}
	return nil
}
