package diff

import "unicode/utf8"

// htmlRow is one line of the two sides, or a note across both.
type htmlRow struct {
	Left, Right htmlCell
	Note        string
}

// htmlCell is a line of one side. Changed differs from the other side; Head and Tail around it are on both sides.
type htmlCell struct{ Class, Head, Changed, Tail string }

// rows sets lines side by side: removed ones beside those added in their place.
func rows(lines []Line) []htmlRow {
	var out []htmlRow
	for len(lines) > 0 {
		text := clean(lines[0].Text)
		switch lines[0].Op {
		case LineNote:
			out = append(out, htmlRow{Note: text})
			lines = lines[1:]
		case LineSame:
			same := htmlCell{Class: "same", Head: text}
			out = append(out, htmlRow{Left: same, Right: same})
			lines = lines[1:]
		default:
			var removed, added []htmlCell
			removed, lines = cells(lines, LineRemoved, "removed")
			added, lines = cells(lines, LineAdded, "added")
			for i := range max(len(removed), len(added)) {
				row := htmlRow{Left: htmlCell{Class: "none"}, Right: htmlCell{Class: "none"}}
				if i < len(removed) {
					row.Left = removed[i]
				}
				if i < len(added) {
					row.Right = added[i]
				}
				if i < len(removed) && i < len(added) {
					row.mark()
				}
				out = append(out, row)
			}
		}
	}
	return out
}

// cells returns a cell for each of the first lines with an operation, and the lines after them.
func cells(lines []Line, op LineOp, class string) ([]htmlCell, []Line) {
	var out []htmlCell
	for len(lines) > 0 && lines[0].Op == op {
		out = append(out, htmlCell{Class: class, Head: clean(lines[0].Text)})
		lines = lines[1:]
	}
	return out, lines
}

// mark splits the cells of a row at what differs, unless little is the same.
func (r *htmlRow) mark() {
	const worthwhile = 0.3
	a, b := r.Left.Head, r.Right.Head
	prefix, suffix := shared(a, b)
	for withinWord(a, prefix) || withinWord(b, prefix) {
		prefix--
	}
	for withinWord(a, len(a)-suffix) || withinWord(b, len(b)-suffix) {
		suffix--
	}
	if float64(prefix+suffix) < worthwhile*float64(max(len(a), len(b))) {
		return
	}
	split := func(c *htmlCell, s string) {
		c.Head, c.Changed, c.Tail = s[:prefix], s[prefix:len(s)-suffix], s[len(s)-suffix:]
	}
	split(&r.Left, a)
	split(&r.Right, b)
}

// withinWord reports whether byte i continues a word. Whole words are marked, and so whole characters.
func withinWord(s string, i int) bool { return i > 0 && i < len(s) && ofWord(s[i-1]) && ofWord(s[i]) }

func ofWord(c byte) bool {
	return c >= utf8.RuneSelf || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}
