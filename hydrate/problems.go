package hydrate

import (
	"fmt"
	"slices"
)

// maxProblems bounds the problems that one error lists.
const maxProblems = 20

// firstOf sorts the lines of an error and keeps so many of them.
func firstOf(lines []string, limit int) []string {
	slices.Sort(lines)
	if len(lines) <= limit {
		return lines
	}
	return append(lines[:limit:limit], fmt.Sprintf("and %d more", len(lines)-limit))
}
