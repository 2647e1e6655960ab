package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/testworld"
)

// spread is the median of what was measured, and its bounds.
type spread struct{ median, least, most time.Duration }

func spreadOf(times []time.Duration) spread {
	sorted := slices.Sorted(slices.Values(times))
	return spread{sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]}
}

func (s spread) String() string {
	return fmt.Sprintf("%.1f s (%.1f–%.1f)", s.median.Seconds(), s.least.Seconds(), s.most.Seconds())
}

// wall returns the times of the whole cycle, of the runs in which nothing was counted.
func (t *taken) wall() spread {
	var times []time.Duration
	for i := range t.hydrate[1:] {
		times = append(times, t.hydrate[1+i].Wall+t.promote[1+i].Wall)
	}
	return spreadOf(times)
}

func wall(runs []testworld.Consumption) spread {
	var times []time.Duration
	for _, run := range runs[1:] {
		times = append(times, run.Wall)
	}
	return spreadOf(times)
}

func processor(runs []testworld.Consumption) time.Duration {
	var times []time.Duration
	for _, run := range runs[1:] {
		times = append(times, run.Processor)
	}
	return spreadOf(times).median
}

const tableHead = `| registry | chart | stages | program | wall time: median (least–most) | ratio | processor: hydrate | promote | registry | requests | memory |
|---|---|---|---|---|---|---|---|---|---|---|
`

// String returns the rows of the table.
func (c *comparison) String() string {
	var b strings.Builder
	for i := range c.took {
		t := &c.took[i]
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | %s | %.1f s | %.1f s | %.1f s | %d | %d MB |\n", c.registry, c.chart, c.stages, t.name, t.wall(), c.ratio(i),
			processor(t.hydrate).Seconds(), processor(t.promote).Seconds(), spreadOf(t.served).median.Seconds(), t.requests,
			max(t.hydrate[0].Memory, t.promote[0].Memory)>>20)
	}
	return b.String()
}

// ratio returns the time of a shell in parts of that of lockage with a key of the same kind.
func (c *comparison) ratio(i int) string {
	if c.took[i].processes == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", c.took[i].wall().median.Seconds()/c.took[i-1].wall().median.Seconds())
}

const idleHead = `| registry | chart | stages | hydrate: wall time | processor | memory | promote --ready: wall time | processor | memory |
|---|---|---|---|---|---|---|---|---|
`

// idle returns the rows of what lockage takes for stages that are up to date.
func (c *comparison) idle() string {
	var b strings.Builder
	for i := range c.took {
		if t := &c.took[i]; t.processes == 0 && !t.plain {
			fmt.Fprintf(&b, "| %s | %s | %d", c.registry, c.chart, c.stages)
			for _, runs := range [][]testworld.Consumption{t.unchanged, t.ready} {
				fmt.Fprintf(&b, " | %s | %.1f s | %d MB", wall(runs), processor(runs).Seconds(), runs[0].Memory>>20)
			}
			b.WriteString(" |\n")
		}
	}
	return b.String()
}

// report writes the tables into performance.md between their marks, and a plot of the wall times of each chart beside it.
func report(t *testing.T, dir string, results []comparison) {
	t.Helper()
	table, idle := tableHead, idleHead
	plots := map[string][]comparison{}
	for i := range results {
		table += results[i].String()
		idle += results[i].idle()
		plots[results[i].chart] = append(plots[results[i].chart], results[i])
	}
	file := filepath.Join(dir, "performance.md")
	for mark, rows := range map[string]string{"compare": table, "idle": idle} {
		begin, end := fmt.Sprintf("<!-- %s -->\n", mark), fmt.Sprintf("<!-- /%s -->\n", mark)
		text := read(t, file)
		before, rest, ok := strings.Cut(text, begin)
		_, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Fatalf("%s has no %s … %s", file, strings.TrimSpace(begin), strings.TrimSpace(end))
		}
		write(t, file, before+begin+rows+end+after)
	}
	for chart, shown := range plots {
		if err := os.WriteFile(filepath.Join(dir, "compare-"+strings.ReplaceAll(strings.ReplaceAll(chart, ", ", "-"), " ", "-")+".svg"), []byte(plot(chart, shown)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// plot draws a bar for each program's wall time in parts of the shell's, with a line over its spread.
func plot(chart string, results []comparison) string {
	const left, width, row = 260.0, 420.0, 18.0
	var b strings.Builder
	y := 50.0
	for i := range results {
		c := &results[i]
		longest := time.Duration(0)
		for j := range c.took {
			longest = max(longest, c.took[j].wall().most)
		}
		at := func(d time.Duration) float64 { return left + width*d.Seconds()/longest.Seconds() }
		fmt.Fprintf(&b, `<text x="10" y="%.0f" font-weight="bold">%s, %d stages</text>`+"\n", y, c.registry, c.stages)
		for j := range c.took {
			y += row
			wall, color := c.took[j].wall(), "#2f6f9f"
			if c.took[j].processes > 0 {
				color = "#b0b0b0"
			}
			fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" text-anchor="end">%s</text><rect x="%.0f" y="%.0f" width="%.1f" height="12" fill="%s"/>`,
				left-8, y, c.took[j].name, left, y-10, at(wall.median)-left, color)
			fmt.Fprintf(&b, `<path d="M%.1f %.0fH%.1f" stroke="#333"/><text x="%.0f" y="%.0f">%.1f s</text>`+"\n",
				at(wall.least), y-4, at(wall.most), at(wall.most)+6, y, wall.median.Seconds())
		}
		y += 2 * row
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 %.0f" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
<text x="10" y="24" font-size="15">A release of the chart %s: hydrate and promote all stages, wall time</text>
%s</svg>
`, y, chart, b.String())
}
