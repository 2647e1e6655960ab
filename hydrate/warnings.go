package hydrate

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// maxNamedStages bounds the stages that one warning names.
const maxNamedStages = 8

// Warnings are the warnings of the renders of a run, each once. The zero value is ready, and safe for concurrent use.
type Warnings struct {
	mu     sync.Mutex
	stages map[string][]string // that have a warning, by its text
}

// Add adds the warnings of a stage, which is named for people.
func (w *Warnings) Add(stage string, warnings ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stages == nil {
		w.stages = map[string][]string{}
	}
	for _, text := range warnings {
		w.stages[text] = append(w.stages[text], stage)
	}
}

// Lines returns a line for each warning, with the stages that have it, sorted.
func (w *Warnings) Lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for text, stages := range w.stages {
		stages = slices.Compact(slices.Sorted(slices.Values(stages)))
		names := strings.Join(stages[:min(len(stages), maxNamedStages)], ", ")
		if more := len(stages) - maxNamedStages; more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		lines = append(lines, names+": "+text)
	}
	slices.Sort(lines)
	return lines
}
