package hydrate

import (
	"reflect"
	"strings"
	"testing"
)

// literalDocuments are documents with a long literal that is cut, or that only looks like one.
func literalDocuments() map[string]string {
	long := strings.Repeat("    expr: sum(rate(x[5m])) # \"quoted\" {a: b}\n", 8)
	return map[string]string{
		"clip":         "data:\n  a: |\n" + long + "b: 1\n",
		"strip":        "data:\n  a: |-\n" + long + "\n    \n  b: c\n",
		"keep":         "data:\n  a: |+\n" + long + "\n\n  b: c\n",
		"at the end":   "data:\n  a: |+\n" + long + "\n      \n",
		"deep lines":   "data:\n  a: |\n" + long + "      more\n       \n\n    less\n",
		"two":          "data:\n  a: |\n" + long + "  b.yaml: |-\n" + long,
		"in a list":    "list:\n- x: y\n  a: |\n" + long + "- b\n",
		"comment":      "data:\n  a: |\n" + long + "# end\n  b: c\n",
		"marker":       "a: |\n" + long + "---\n",
		"nested":       "data:\n  a: |\n" + strings.ReplaceAll("data:\n  a: |\n"+long, "\n", "\n    ") + "\n",
		"twice":        "data:\n  a: |\n" + long + "  a: |\n" + long,
		"anchored":     "x: &x\n  a: |\n" + long + "y: *x\n",
		"merged":       "x: &x\n  a: |\n" + long + "y:\n  <<: *x\n",
		"twice, once":  "x: &x\n  a: |\n" + long + "y: *x\nz:\n  a: |\n" + long + "  a: b\n",
		"in a flow":    "x: {\n  a: |\n" + long + "  }\n",
		"in quotes":    "x: \"\n  a: |\n" + strings.ReplaceAll(long, `"`, "") + "  \"\n",
		"plain":        "x: y\n  a: |\n" + long,
		"not ASCII":    "data:\n  a: |\n" + long + "    é\n",
		"tab":          "data:\n  a: |\n" + long + "\t\n",
		"returns":      strings.ReplaceAll("data:\n  a: |\n"+long+"b: 1\n", "\n", "\r\n"),
		"between":      "data:\n  a: |\n" + long + "   b\n",
		"blank first":  "data:\n  a: |\n\n" + long,
		"blanks first": "data:\n  a: |\n        \n" + long,
		"no newline":   "data:\n  a: |\n" + long + "    end",
		"a mark":       "data:\n  a: |\n" + long + "  b: lockage.literal.0\n",
		"key":          "data:\n  ? |\n" + long + "  : b\n",
		"boolean":      "data:\n  yes: |\n" + long,
	}
}

// TestLiteralsAreAsTheParserReadsThem compares with the parser alone.
func TestLiteralsAreAsTheParserReadsThem(t *testing.T) {
	t.Parallel()
	cut := 0
	for name, document := range literalDocuments() {
		checkLiterals(t, name, []byte(document))
		if _, literals := cutLiterals([]byte(document)); len(literals) > 0 {
			cut++
		}
	}
	if cut < 12 {
		t.Errorf("only %d documents have a literal that is cut", cut)
	}
}

func checkLiterals(t *testing.T, name string, document []byte) {
	t.Helper()
	d := decoder{budget: maxDocumentBytes}
	want, wantErr := d.document(document)
	got, err := decode(document)
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %.300q, %v\nwant %.300q, %v", name, got, err, want, wantErr)
	}
}

func FuzzLiterals(f *testing.F) {
	for _, document := range literalDocuments() {
		f.Add([]byte(document))
	}
	f.Fuzz(func(t *testing.T, document []byte) { checkLiterals(t, "document", document) })
}
