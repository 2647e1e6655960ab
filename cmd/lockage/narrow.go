package main

import (
	"regexp"
	"strings"
)

const (
	// width is the number of columns that text keeps to.
	width = 100
	// shortDigits is the number of digits that text shows of an id.
	shortDigits = 12
)

// narrow makes text of results fit on a screen: ids are short, and long lines go on below their last column. -o wide shows the text as it is.
func narrow(text string) string {
	var b strings.Builder
	for line := range strings.Lines(short(text)) {
		body := strings.TrimSuffix(line, "\n")
		b.WriteString(wrap(body) + line[len(body):])
	}
	return b.String()
}

var longID = regexp.MustCompile(`[0-9A-Za-z]{40,}`)

// short abbreviates releases, commits, digests and fingerprints in a text to the digits that arguments take. Within a reference, which no argument
// abbreviates, a mark shows that digits are missing. Paths and URLs stay whole.
func short(text string) string {
	var b strings.Builder
	end := 0
	for _, at := range longID.FindAllStringIndex(text, -1) {
		id, before := text[at[0]:at[1]], text[:at[0]]
		for _, kind := range []string{"git-", "sha256:", "sha256-"} {
			before = strings.TrimSuffix(before, kind)
		}
		switch {
		case len(id) != 40 && len(id) != 64, strings.Trim(id, "0123456789abcdef") != "",
			strings.HasSuffix(before, "/"), strings.HasPrefix(text[at[1]:], ".yaml"):
			continue
		}
		b.WriteString(text[end : at[0]+shortDigits])
		if strings.HasSuffix(before, "@") || strings.HasSuffix(before, ":") || strings.HasSuffix(before, ".") || strings.HasSuffix(before, "img-") {
			b.WriteString("…")
		}
		end = at[1]
	}
	return b.String() + text[end:]
}

// wrap breaks a line at blanks. It goes on below the last column that begins in the first half of the width.
func wrap(line string) string {
	rest := []rune(line)
	hang := len(rest) - len([]rune(strings.TrimLeft(line, " "))) + 2
	for i := hang; i < min(width/2, len(rest)); i++ {
		if rest[i] != ' ' && rest[i-1] == ' ' && rest[i-2] == ' ' {
			hang = i
		}
	}
	var lines []string
	for len(rest) > width {
		cut := 0
		for i, r := range rest {
			if r == ' ' && i > hang && (i <= width || cut == 0) {
				cut = i
			}
		}
		if cut == 0 {
			break
		}
		lines = append(lines, strings.TrimRight(string(rest[:cut]), " "))
		rest = []rune(strings.Repeat(" ", hang) + strings.TrimLeft(string(rest[cut:]), " "))
	}
	return strings.Join(append(lines, string(rest)), "\n")
}
