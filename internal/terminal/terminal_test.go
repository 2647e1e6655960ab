package terminal

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func ExampleEscape() {
	fmt.Println(Escape("red: \x1b[31m, backwards: \u202e", ""))
	// Output: red: \u001b[31m, backwards: \u202e
}

func ExampleWords() {
	fmt.Println(Words("denied\r\n  by\x1b[2J\tpolicy", 100))
	// Output: denied by [2J policy
}

// hostile has one character of each kind that must not reach a terminal.
const hostile = "a\x1b[2J\x00\x7f\u0085\u009b\u00a0\u00ad\u200b\u202e\u2028\u2066\ue000\ufeff\U000e0001\xff\ufffd\r\n\tz"

func TestSafe(t *testing.T) {
	t.Parallel()
	for name, got := range map[string]string{
		"Escape": Escape(hostile, ""), "Line": Line(hostile), "Blank": Blank(hostile), "Words": Words(hostile, 1000),
	} {
		if strings.ContainsFunc(got, func(r rune) bool { return !Printable(r) }) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got, want := Line("\xffa\x1bé\U000e0001\nb\r"), `\ufffda\u001bé\U000e0001 b`; got != want {
		t.Errorf("Line: %q, want %q", got, want)
	}
	if got, want := Escape("\n\ta\r\xff", "\n\t"), "\n\ta\\u000d\\ufffd"; got != want {
		t.Errorf("Escape: %q, want %q", got, want)
	}
	if got, want := Escape("\xff\ufffd", "\ufffd"), `\ufffd\ufffd`; got != want {
		t.Errorf("Escape keeps invalid UTF-8: %q", got)
	}
	if got, want := Blank("a\x1b\u202e\nb "), "a   b "; got != want {
		t.Errorf("Blank: %q, want %q", got, want)
	}
	if got, want := Words(" \x1ba\u00a0 b\n", 10), "a b"; got != want {
		t.Errorf("Words: %q, want %q", got, want)
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"", 3, ""}, {"abc", 3, "abc"}, {"abcd", 3, "…"}, {"abcdef", 5, "ab…"}, {"aéé", 4, "a…"}, {"éééé", 7, "éé…"}, {"a\xffb", 9, "a\ufffdb"},
	} {
		if got := Clip(c.text, c.limit); got != c.want {
			t.Errorf("%q at %d: %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add(hostile, 10)
	f.Add("é\xff", 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(limit, len("…"))
		if got := Words(s, limit); len(got) > limit || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !Printable(r) }) {
			t.Errorf("%q", got)
		}
		for _, got := range []string{Line(s), Escape(s, ""), Blank(s)} {
			if strings.ContainsFunc(got, func(r rune) bool { return !Printable(r) }) {
				t.Errorf("%q", got)
			}
		}
	})
}
