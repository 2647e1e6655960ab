package diff

import "slices"

// Bounds on the search for a longest common subsequence: its time grows with edits times items, its memory with the square of edits.
// Of sequences with more edits, all between the common ends is one gap.
const (
	maxEdits = 1000
	maxSteps = 100_000_000 // edits times items
)

// gap is a stretch where two sequences differ: items b0 to b1 of the second replace a0 to a1 of the first.
type gap struct{ a0, a1, b0, b1 int }

// gaps returns where two sequences differ, in order. It is the greedy algorithm of Myers, «An O(ND) Difference Algorithm
// and Its Variations» (1986).
func gaps[T comparable](a, b []T) []gap {
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	end := 0
	for end < len(a)-start && end < len(b)-start && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	a, b = a[start:len(a)-end], b[start:len(b)-end]
	if rows := search(a, b); rows != nil {
		return backtrack(rows, len(a), len(b), start)
	}
	return []gap{{start, start + len(a), start, start + len(b)}}
}

// row holds, after d edits, the furthest x on each diagonal k = x-y from -d to d, at index k+d.
type row []int32

func (r row) at(k int) int {
	if i := k + len(r)/2; i >= 0 && i < len(r) {
		return int(r[i])
	}
	return -1
}

// origin returns the diagonal that the path on diagonal k was on in row r, one edit earlier: k-1 if that edit removed an
// item, k+1 if it inserted one.
func (r row) origin(k int) int {
	if r.at(k-1) >= r.at(k+1) {
		return k - 1
	}
	return k + 1
}

// search returns the rows up to the one whose path reaches the end of both sequences, or nil after too many edits.
func search[T comparable](a, b []T) []row {
	var rows []row
	for d := 0; d <= min(len(a)+len(b), maxEdits, maxSteps/max(len(a)+len(b), 1)); d++ {
		r := make(row, 2*d+1)
		for k := -d; k <= d; k += 2 {
			x := 0
			if d > 0 {
				last := rows[d-1]
				from := last.origin(k)
				x = last.at(from)
				if from < k {
					x++
				}
			}
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			r[k+d] = int32(x) // far below 2 GiB: the items were decoded from bounded documents
			if x >= len(a) && x-k >= len(b) {
				return append(rows, r)
			}
		}
		rows = append(rows, r)
	}
	return nil
}

// backtrack follows the rows from the end and joins neighbouring edits to gaps. Positions are shifted by start.
func backtrack(rows []row, x, y, start int) []gap {
	var found []gap
	for d := len(rows) - 1; d > 0; d-- {
		last := rows[d-1]
		from := last.origin(x - y)
		px := last.at(from)
		py := px - from
		edit := gap{start + px, start + px, start + py, start + py}
		if from < x-y {
			edit.a1++
		} else {
			edit.b1++
		}
		if n := len(found); n > 0 && found[n-1].a0 == edit.a1 && found[n-1].b0 == edit.b1 {
			found[n-1].a0, found[n-1].b0 = edit.a0, edit.b0
		} else {
			found = append(found, edit)
		}
		x, y = px, py
	}
	slices.Reverse(found)
	return found
}
