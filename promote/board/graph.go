package board

import (
	"fmt"
	"slices"
	"strings"
)

// Pixels of the graph. The style has the same numbers, but for the height of the cards: that is what the fullest one of a graph needs.
const (
	cardWidth = 256
	gapX      = 48
	gapY      = 16

	cardLow  = 76  // what is live
	cardNext = 96  // and what comes next
	cardHigh = 152 // and the gates in front of it
)

// maxColumn is how many stages that follow the same stages are cards of their own; more of them are one card, and a
// list below.
const maxColumn = 6

// node is a card of the graph: a stage, or the stages of a group.
type node struct {
	*Stage          // nil for a group
	Group  []*Stage // in the order of their states
	Column int      // from 1 on
	Row    int      // from 1 on, within the column
}

// graph is the stages of a pipeline, those that depend on others to the right of them.
type graph struct {
	Nodes         []*node
	Edges         []string // as paths of SVG
	Width, Height int
	Card          int // height of the cards
}

// newGraph places the stages, which are in an order in which none comes before those that it follows.
func newGraph(stages []*Stage) graph {
	level := map[string]int{}
	type kind struct {
		level int
		after string
	}
	kinds := map[kind][]*Stage{}
	var order []kind
	for _, s := range stages {
		l := 1
		for _, before := range s.After {
			l = max(l, level[before]+1)
		}
		level[s.Name] = l
		k := kind{l, strings.Join(s.After, " ")}
		if kinds[k] == nil {
			order = append(order, k)
		}
		kinds[k] = append(kinds[k], s)
	}
	g := graph{Card: cardLow}
	for _, s := range stages {
		g.Card = max(g.Card, height(s))
	}
	for _, alike := range kinds {
		if len(alike) > maxColumn {
			g.Card = cardHigh // with a line a state
		}
	}
	rows, of := map[int]int{}, map[string]*node{}
	add := func(n *node) {
		rows[n.Column]++
		n.Row = rows[n.Column]
		g.Nodes = append(g.Nodes, n)
		g.Width = max(g.Width, n.Column*(cardWidth+gapX)-gapX)
		g.Height = max(g.Height, n.Row*(g.Card+gapY)-gapY)
	}
	for _, k := range order {
		alike := kinds[k]
		if len(alike) > maxColumn {
			n := &node{Group: slices.Clone(alike), Column: k.level}
			slices.SortStableFunc(n.Group, func(a, b *Stage) int { return rank(a) - rank(b) })
			add(n)
			for _, s := range alike {
				of[s.Name] = n
			}
			continue
		}
		for _, s := range alike {
			of[s.Name] = &node{Stage: s, Column: k.level}
			add(of[s.Name])
		}
	}
	g.connect(stages, of)
	return g
}

// height is what the card of a stage needs.
func height(s *Stage) int {
	switch {
	case len(s.Gates()) > 0 || s.Branch != nil && !s.Branch.InSync:
		return cardHigh
	case s.Next() != nil:
		return cardNext
	}
	return cardLow
}

// connect draws an edge from each node to those that follow it.
func (g *graph) connect(stages []*Stage, of map[string]*node) {
	type edge struct{ from, to *node }
	drawn := map[edge]bool{}
	for _, s := range stages {
		for _, before := range s.After {
			e := edge{of[before], of[s.Name]}
			if e.from == nil || drawn[e] {
				continue
			}
			drawn[e] = true
			x1, y1 := e.from.Column*(cardWidth+gapX)-gapX, g.middle(e.from)
			x2, y2 := (e.to.Column-1)*(cardWidth+gapX), g.middle(e.to)
			bend := x2 - gapX/2
			g.Edges = append(g.Edges, fmt.Sprintf("M%d %dH%dC%d %d %d %d %d %d", x1, y1, bend-gapX/2, bend, y1, bend, y2, x2, y2))
		}
	}
}

func (g *graph) middle(n *node) int { return (n.Row-1)*(g.Card+gapY) + g.Card/2 }

// Title names a group by what its stages have in common.
func (n *node) Title() string {
	prefix := n.Group[0].Name
	for _, s := range n.Group {
		for !strings.HasPrefix(s.Name, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	if prefix = strings.TrimRight(prefix, "-"); prefix == "" {
		return fmt.Sprintf("%d stages", len(n.Group))
	}
	return fmt.Sprintf("%s-… (%d stages)", prefix, len(n.Group))
}

// Anchor is the id of the list of a group's stages.
func (n *node) Anchor() string { return "group-" + n.Group[0].Name }

// State is the state in a group that people have to look at first.
func (n *node) State() string { return n.Group[0].State() }

// Tally counts the stages of a group by state.
func (n *node) Tally() []count { return tally(n.Group) }

// rank is the place of a stage's state.
func rank(s *Stage) int {
	name := s.State()
	return slices.IndexFunc(states, func(st state) bool { return st.Name == name })
}

// count is how many stages are in a state.
type count struct {
	state
	Count int
}

// tally counts stages by state, without states that no stage is in.
func tally(stages []*Stage) []count {
	var counts []count
	for i, st := range states {
		n := 0
		for _, s := range stages {
			if rank(s) == i {
				n++
			}
		}
		if n > 0 {
			counts = append(counts, count{st, n})
		}
	}
	return counts
}
