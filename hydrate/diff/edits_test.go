package diff

import (
	"slices"
	"testing"
)

// FuzzGaps checks that what lies between the gaps is the same, that the gaps lie apart, and that short sequences are
// compared with the fewest edits.
func FuzzGaps(f *testing.F) {
	f.Add([]byte("abcabba"), []byte("cbabac"))
	f.Add([]byte(""), []byte("a"))
	f.Add([]byte("ab"), []byte("ba"))
	f.Fuzz(func(t *testing.T, x, y []byte) {
		if len(x) > 200 || len(y) > 200 {
			return
		}
		a, b := numbers(x), numbers(y)
		i, j, edits := 0, 0, 0
		for _, g := range gaps(a, b) {
			if g.a0 < i || g.b0 < j || g.a1 < g.a0 || g.b1 < g.b0 || g.a0 == g.a1 && g.b0 == g.b1 {
				t.Fatalf("gap %v behind %d, %d", g, i, j)
			}
			if !slices.Equal(a[i:g.a0], b[j:g.b0]) {
				t.Fatalf("%v and %v before gap %v differ", a[i:g.a0], b[j:g.b0], g)
			}
			edits += g.a1 - g.a0 + g.b1 - g.b0
			i, j = g.a1, g.b1
		}
		if !slices.Equal(a[i:], b[j:]) {
			t.Fatalf("the ends %v and %v differ", a[i:], b[j:])
		}
		if want := len(a) + len(b) - 2*longest(a, b); edits != want {
			t.Errorf("%d edits, %d are enough", edits, want)
		}
	})
}

func numbers(data []byte) []int {
	out := make([]int, len(data))
	for i, c := range data {
		out[i] = int(c)
	}
	return out
}

// longest returns the length of a longest common subsequence, by the textbook's table.
func longest(a, b []int) int {
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
	}
	for i := range a {
		for j := range b {
			table[i+1][j+1] = max(table[i][j+1], table[i+1][j])
			if a[i] == b[j] {
				table[i+1][j+1] = table[i][j] + 1
			}
		}
	}
	return table[len(a)][len(b)]
}

func TestGapsGiveUp(t *testing.T) {
	t.Parallel()
	var a, b []int
	for i := range maxEdits {
		a, b = append(a, i), append(b, -i-1)
	}
	a, b = append(a, 7), append(b, 7)
	if got := gaps(a, b); len(got) != 1 || got[0] != (gap{0, maxEdits, 0, maxEdits}) {
		t.Errorf("got %v", got)
	}
}
