package hydrate

import (
	"fmt"
	"slices"
	"strconv"
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

// newestMinor is the newest minor version of Kubernetes 1 that may exist: a later one is taken for a slip of the pen.
const newestMinor = 50

// warnVersion warns of a version of Kubernetes that does not exist: charts would render for it what no cluster has.
func warnVersion(version string) []string {
	digits, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(version, "v"), "1."), ".")
	if minor, err := strconv.Atoi(digits); err != nil || minor <= newestMinor {
		return nil
	}
	return []string{"render.kubeVersion is " + version + ", and no such Kubernetes exists: write the version of the stage's cluster"}
}
