package pipeline

import "slices"

// sortStages orders stages topologically, with their order as the tiebreaker. If that is impossible it returns a cycle
// instead: the names on it in the order of promotion, the first repeated at the end. An unknown or repeated name in after
// constrains nothing: Load reports it.
func sortStages(stages []Stage) (order, cycle []string) {
	placed := make(map[string]bool, len(stages))
	exists := make(map[string]bool, len(stages))
	for _, s := range stages {
		exists[s.Name] = true
	}
	waitsFor := func(s Stage) int {
		return slices.IndexFunc(s.After.Stages, func(name string) bool { return exists[name] && !placed[name] })
	}
	for len(placed) < len(exists) {
		next := slices.IndexFunc(stages, func(s Stage) bool { return !placed[s.Name] && waitsFor(s) < 0 })
		if next < 0 {
			break
		}
		placed[stages[next].Name] = true
		order = append(order, stages[next].Name)
	}
	if len(placed) == len(exists) {
		return order, nil
	}
	// Every stage left waits for another that is left: following these from any one of them ends in a cycle.
	byName := make(map[string]Stage, len(stages))
	at := ""
	for _, s := range stages {
		if !placed[s.Name] && at == "" {
			at = s.Name
		}
		if _, ok := byName[s.Name]; !ok {
			byName[s.Name] = s
		}
	}
	var trail []string
	for !slices.Contains(trail, at) {
		trail = append(trail, at)
		s := byName[at]
		at = s.After.Stages[waitsFor(s)]
	}
	cycle = append(trail[slices.Index(trail, at):], at)
	slices.Reverse(cycle)
	return nil, cycle
}
