package hydrate

import (
	"bytes"
	"strconv"
	"strings"
)

// The YAML parser reads literal block scalars letter by letter, and they are most of what the stages of large charts do not
// share: dashboards, rules, scripts. Long ones of the plainest form are shortened to a mark before a document is parsed. Each mark must
// come back from the parser as one whole value; otherwise the document is parsed as it is.

const (
	literalMark = "lockage.literal."
	minLiteral  = 256 // bytes
)

// cutLiterals returns a document in which marks, numbered from 0, are in the place of its long literals.
func cutLiterals(data []byte) (short []byte, literals []string) {
	if len(data) < minLiteral || bytes.Contains(data, []byte(literalMark)) {
		return nil, nil
	}
	done := 0 // bytes of data that short has
	for at := 0; at < len(data); {
		end := bytes.IndexByte(data[at:], '\n')
		if end < 0 {
			break
		}
		line, body := data[at:at+end], at+end+1
		at = body
		indent, header := literalHeader(line)
		if header == "" {
			continue
		}
		literal, inner, length := readLiteral(data[body:], indent, header)
		if length < minLiteral {
			continue
		}
		short = append(short, data[done:body-1-len(header)]...)
		short = appendIndent(append(short, "|-\n"...), inner)
		short = append(strconv.AppendInt(append(short, literalMark...), int64(len(literals)), 10), '\n')
		literals = append(literals, literal)
		at = body + length
		done = at
	}
	return append(short, data[done:]...), literals
}

// literalHeader returns the indentation of a line like `key: |-`, and what follows the key; "" for other lines.
func literalHeader(line []byte) (indent int, header string) {
	key := bytes.TrimLeft(line, " ")
	indent = len(line) - len(key)
	for _, h := range []string{"|", "|-", "|+"} {
		name, ok := strings.CutSuffix(string(key[max(0, len(key)-80):]), ": "+h)
		if ok && name != "" && len(key) <= 80 && name[0] != '-' && strings.IndexFunc(name, notOfName) < 0 {
			return indent, h
		}
	}
	return 0, ""
}

func notOfName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._/-", r)
}

// readLiteral reads a literal below a key in column indent, and returns its value, its column and its length in the document. The
// length is 0 for one that is not of printable ASCII and regular indentation, or that does not end with a newline.
func readLiteral(data []byte, indent int, header string) (value string, inner, length int) {
	var b strings.Builder
	inner = -1
	blank := 0
	for length < len(data) {
		end := bytes.IndexByte(data[length:], '\n')
		if end < 0 {
			return "", 0, 0
		}
		line := data[length : length+end]
		depth := len(line) - len(bytes.TrimLeft(line, " "))
		switch {
		case inner < 0 && (depth == len(line) || depth <= indent):
			return "", 0, 0
		case inner < 0:
			inner = depth
		case depth < len(line) && depth < inner:
			if depth > indent {
				return "", 0, 0
			}
			return chomp(&b, blank, header), inner, length
		}
		length += end + 1
		if len(line) <= inner { // nothing but blanks
			blank++
			continue
		}
		for ; blank > 0; blank-- {
			b.WriteByte('\n')
		}
		for _, c := range line {
			if c < ' ' || c > '~' {
				return "", 0, 0
			}
		}
		b.Write(line[inner:])
		blank = 1 // the newline of this line
	}
	return chomp(&b, blank, header), inner, length
}

// chomp ends a literal, which has so many newlines at its end, as its header says.
func chomp(b *strings.Builder, newlines int, header string) string {
	switch header {
	case "|":
		newlines = min(newlines, 1)
	case "|-":
		newlines = 0
	}
	return b.String() + strings.Repeat("\n", newlines)
}
