package testworld

import (
	"fmt"
	"regexp"
	"strings"
)

// Step is a piece of a document that a reader types: files to write, then shell, and what it prints.
type Step struct {
	Files map[string]string // by the path in the first line of a block, «# PATH»
	Shell string
	Shown string // the block «text» after it; "" without one
}

var (
	codeBlock = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")
	named     = regexp.MustCompile(`^# ([\w./-]+\.(?:ya?ml|sh))\n`)
)

// Steps returns the steps of a document in Markdown. They leave out blocks of other languages without a path.
func Steps(document string) []Step {
	var steps []Step
	next := Step{Files: map[string]string{}}
	for _, block := range codeBlock.FindAllStringSubmatch(document, -1) {
		language, body := block[1], block[2]
		if path := named.FindStringSubmatch(body); path != nil {
			next.Files[path[1]] = body
			continue
		}
		switch language {
		case "sh":
			next.Shell = body
			steps, next = append(steps, next), Step{Files: map[string]string{}}
		case "text":
			if len(steps) > 0 {
				steps[len(steps)-1].Shown = body
			}
		}
	}
	return steps
}

// Prints reports what of the step's output is not there: each line of Shown must be in it, in that order, where «…» matches
// anything, and a space any number of spaces.
func (s Step) Prints(output string) error {
	lines := strings.Split(output, "\n")
	for want := range strings.Lines(s.Shown) {
		if strings.TrimSpace(want) == "" {
			continue
		}
		words := strings.Fields(want)
		for i, word := range words {
			words[i] = strings.ReplaceAll(regexp.QuoteMeta(word), "…", ".*")
		}
		pattern := regexp.MustCompile(`^\s*` + strings.Join(words, `\s+`) + `\s*$`)
		found := false
		for len(lines) > 0 && !found {
			found, lines = pattern.MatchString(lines[0]), lines[1:]
		}
		if !found {
			return fmt.Errorf("the output has no line %q (any more)", strings.TrimSpace(want))
		}
	}
	return nil
}
