package diff

import (
	"fmt"
	"unicode/utf8"

	"github.com/lockage/lockage/internal/terminal"
)

// maxShown bounds the bytes of a string of one line that are shown to people.
const maxShown = 300

// clean escapes what a terminal obeys or an eye misses.
func clean(s string) string { return terminal.Escape(s, "\t") }

// clip cuts a text after limit bytes, at a character, and appends the number of bytes cut.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes more)", s[:end], len(s)-end)
}

// shorten cuts two different texts to what differs, with some text around it, if one is longer than limit.
func shorten(a, b string, limit int) (shortA, shortB string) {
	if len(a) <= limit && len(b) <= limit {
		return a, b
	}
	prefix, suffix := shared(a, b)
	context := limit / 8
	cut := func(s string) string {
		from, to := max(0, prefix-context), min(len(s), len(s)-suffix+context)
		for from > 0 && !utf8.RuneStart(s[from]) {
			from--
		}
		for to < len(s) && !utf8.RuneStart(s[to]) {
			to++
		}
		out := clip(s[from:to], limit)
		if from > 0 {
			out = "…" + out
		}
		if to < len(s) {
			out += "…"
		}
		return out
	}
	return cut(a), cut(b)
}

// atMost returns the first items of a list, and the number of the others as the last item.
func atMost(list []string, limit int) []string {
	if more := len(list) - limit; more > 0 {
		return append(list[:limit:limit], fmt.Sprintf("… %d more", more))
	}
	return list
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
