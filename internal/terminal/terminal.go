// Package terminal makes text that others wrote safe to print: in a terminal, a log or a pull request it moves no cursor,
// hides nothing and begins no line of its own. It knows no markup and no runner's commands.
package terminal

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable reports whether a terminal shows r as what it is. Control characters, marks of writing direction, characters
// without width, blanks other than the space, and U+FFFD, the sign of invalid UTF-8, are not printable.
func Printable(r rune) bool { return unicode.IsPrint(r) && r != utf8.RuneError }

// Escape replaces characters that are not printable by escapes such as \u001b, except those in keep.
func Escape(s, keep string) string {
	unsafe := func(r rune) bool { return !Printable(r) && (r == utf8.RuneError || !strings.ContainsRune(keep, r)) }
	if !strings.ContainsFunc(s, unsafe) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !unsafe(r):
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// Line puts s on one line: line breaks and tabs become spaces, other unprintable characters escapes.
func Line(s string) string {
	return strings.TrimSpace(Escape(strings.NewReplacer("\n", " ", "\t", " ", "\r", " ").Replace(s), ""))
}

// Blank replaces characters that are not printable by spaces.
func Blank(s string) string {
	return strings.Map(func(r rune) rune {
		if Printable(r) {
			return r
		}
		return ' '
	}, s)
}

// Words puts the words of s on one line of at most limit bytes. Characters that are not printable separate words.
func Words(s string, limit int) string {
	return Clip(strings.Join(strings.Fields(Blank(s)), " "), limit)
}

// Clip shortens s to at most limit bytes, at a character, and marks the cut with «…». Invalid UTF-8 becomes U+FFFD.
func Clip(s string, limit int) string {
	const mark = "…"
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) <= limit {
		return s
	}
	end := limit - len(mark)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}
