package pipeline

import "slices"

// sortStages orders stages topologically, otherwise as they are written. If that is impossible it returns a cycle, the first name
// repeated at the end. Unknown and repeated names in after constrain nothing: Load reports them.
func sortStages(stages []Stage) (order, cycle []string) {
	byName := make(map[string]Stage, len(stages)) // the first of each name
	for _, s := range slices.Backward(stages) {
		byName[s.Name] = s
	}
	placed := make(map[string]bool, len(stages))
	waitsFor := func(s Stage) int {
		return slices.IndexFunc(s.After.Stages, func(name string) bool {
			_, exists := byName[name]
			return exists && !placed[name]
		})
	}
	for len(order) < len(byName) {
		next := slices.IndexFunc(stages, func(s Stage) bool { return !placed[s.Name] && waitsFor(s) < 0 })
		if next < 0 {
			break
		}
		placed[stages[next].Name] = true
		order = append(order, stages[next].Name)
	}
	if len(order) == len(byName) {
		return order, nil
	}
	// Every stage left waits for another that is left: following these from any one of them ends in a cycle.
	at := stages[slices.IndexFunc(stages, func(s Stage) bool { return !placed[s.Name] })].Name
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
