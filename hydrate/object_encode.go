package hydrate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This encoder replaces a YAML library's, because its output is digested, signed and reviewed: libraries change how they fold,
// quote and indent, and some lose leading blanks. It writes block maps and lists; plain, quoted and literal scalars. Every scalar
// reads back as itself under YAML 1.1 and 1.2.

const indentStep = 2

// appendBlock writes a map or list of decode or decodeOrdered, beginning where the cursor is, in column indent. Only the map
// of a whole document may be empty. What is indented far may be many times as large as it was: no more is written behind
// the bound on one document.
func appendBlock(out []byte, value any, indent int) []byte {
	first := true
	begin := func() {
		if !first {
			out = appendIndent(out, indent)
		}
		first = false
	}
	entry := func(key, value any) {
		if len(out) > maxDocumentBytes {
			return
		}
		begin()
		out = appendScalar(out, key)
		out = append(out, ':')
		out = appendValue(out, value, indent)
	}
	switch value := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(value) {
			entry(key, value[key])
		}
		if first {
			out = append(out, "{}\n"...)
		}
	case pairs:
		for _, p := range value {
			entry(p.key, p.value)
		}
	case []any:
		for _, item := range value {
			if len(out) > maxDocumentBytes {
				return out
			}
			begin()
			out = append(out, '-')
			if isBlock(item) {
				out = append(out, ' ')
				out = appendBlock(out, item, indent+indentStep)
			} else {
				out = appendValue(out, item, indent)
			}
		}
	}
	return out
}

// appendValue writes what follows `key:` or `-` of a map or list in column indent, up to the end of the line.
func appendValue(out []byte, value any, indent int) []byte {
	if isBlock(value) {
		out = append(out, '\n')
		if _, list := value.([]any); !list {
			indent += indentStep
		}
		out = appendIndent(out, indent)
		return appendBlock(out, value, indent)
	}
	out = append(out, ' ')
	if s, ok := value.(string); ok && isLiteral(s) {
		return appendLiteral(out, s, indent+indentStep)
	}
	out = appendScalar(out, value)
	return append(out, '\n')
}

// isBlock reports whether value is written over several lines, as a map or list.
func isBlock(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		return len(value) > 0
	case pairs:
		return len(value) > 0
	case []any:
		return len(value) > 0
	}
	return false
}

// appendScalar writes a value that fits a line: a scalar, or an empty map or list.
func appendScalar(out []byte, value any) []byte {
	switch value := value.(type) {
	case nil:
		return append(out, "null"...)
	case map[string]any, pairs:
		return append(out, "{}"...)
	case []any:
		return append(out, "[]"...)
	case bool:
		return strconv.AppendBool(out, value)
	case int64:
		return strconv.AppendInt(out, value, 10)
	case uint64:
		return strconv.AppendUint(out, value, 10)
	case float64:
		return append(out, formatFloat(value)...)
	case asWritten:
		return append(out, value...)
	case string:
		switch {
		case isPlain(value):
			return append(out, value...)
		case strings.ContainsAny(value, `"\`) && isPrintable(value):
			return append(append(append(out, '\''), strings.ReplaceAll(value, "'", "''")...), '\'')
		}
		return appendQuoted(out, value)
	}
	panic(fmt.Sprintf("hydrate: %T cannot be a value of a Kubernetes object", value))
}

// formatFloat writes a point into numbers with an exponent: YAML 1.1 takes 1e+20 for a string.
func formatFloat(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if mantissa, exponent, ok := strings.Cut(s, "e"); ok && !strings.Contains(mantissa, ".") {
		s = mantissa + ".0e" + exponent
	}
	return s
}

// isLiteral reports whether s is written as a literal block: several lines without a character that needs an escape.
func isLiteral(s string) bool {
	return strings.Contains(s, "\n") && strings.Trim(s, "\n") != "" &&
		isWrittenAsItself(s, "\n\t")
}

func appendLiteral(out []byte, s string, indent int) []byte {
	out = append(out, '|')
	// The reader finds the indentation from the first line that is not empty, unless that begins with blanks.
	if c := strings.TrimLeft(s, "\n")[0]; c == ' ' || c == '\t' {
		out = strconv.AppendInt(out, indentStep, 10)
	}
	body, ended := strings.CutSuffix(s, "\n")
	switch {
	case !ended:
		out = append(out, '-')
	case strings.HasSuffix(body, "\n"):
		out = append(out, '+')
	}
	out = append(out, '\n')
	for line := range strings.SplitSeq(body, "\n") {
		if len(out) > maxDocumentBytes {
			return out
		}
		if line != "" {
			out = appendIndent(out, indent)
			out = append(out, line...)
		}
		out = append(out, '\n')
	}
	return out
}

func appendIndent(out []byte, n int) []byte {
	for range n {
		out = append(out, ' ')
	}
	return out
}

// printable reports whether r is written as itself in a scalar. The separators and the byte order mark are not: YAML
// 1.1 and 1.2 disagree which of them break lines.
func printable(r rune) bool {
	return r >= 0x20 && r < 0x7f || r >= 0xa0 && r != 0x2028 && r != 0x2029 && r != 0xfeff && r != unicode.ReplacementChar &&
		r&0xfffe != 0xfffe && (r < 0xd800 || r >= 0xe000)
}

func isPrintable(s string) bool { return isWrittenAsItself(s, "") }

// isWrittenAsItself reports whether all runes of s are printable or among others.
func isWrittenAsItself(s, others string) bool {
	for i, c := range []byte(s) {
		switch {
		case c >= utf8.RuneSelf:
			return !strings.ContainsFunc(s[i:], func(r rune) bool { return !printable(r) && !strings.ContainsRune(others, r) })
		case !printable(rune(c)) && strings.IndexByte(others, c) < 0:
			return false
		}
	}
	return true
}

// isPlain reports whether every reader takes s without quotes for a string.
func isPlain(s string) bool {
	if s == "" || !isPrintable(s) || s[0] == ' ' || s[len(s)-1] == ' ' || s[len(s)-1] == ':' ||
		strings.Contains(s, ": ") || strings.Contains(s, " #") ||
		strings.HasPrefix(s, "---") || strings.HasPrefix(s, "...") {
		return false
	}
	switch s[0] {
	case '?', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`':
		return false
	case '-':
		if len(s) == 1 || s[1] == ' ' {
			return false
		}
	}
	return !isWord(s) && !isNumeric(s)
}

// isWord reports whether some reader takes s for a boolean, null, infinity, or a special key.
func isWord(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "=", "<<",
		".inf", "+.inf", "-.inf", ".nan":
		return true
	}
	return false
}

// isNumeric reports whether some reader might take s for a number or time, of any base or form. It errs on the side of quotes.
func isNumeric(s string) bool {
	digits := strings.TrimLeft(s, "+-.")
	return digits != "" && digits[0] >= '0' && digits[0] <= '9' &&
		!strings.ContainsFunc(digits, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF_.,:+-xXoOTtZz ", r) })
}

func appendQuoted(out []byte, s string) []byte {
	out = append(out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r == '\r':
			out = append(out, `\r`...)
		case printable(r):
			out = append(out, string(r)...)
		case r > 0xffff:
			out = fmt.Appendf(out, `\U%08x`, r)
		case r > 0xff:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = fmt.Appendf(out, `\x%02x`, r)
		}
	}
	return append(out, '"')
}

func sortedKeys(m map[string]any) []string {
	keys := slices.AppendSeq(make([]string, 0, len(m)), maps.Keys(m)) // slices.Sorted would grow it step by step
	slices.Sort(keys)
	return keys
}
