package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	forges "github.com/lockage/lockage/internal/forge"
)

// status updates the comment to what stages have.
func (c *commenter) status(ctx context.Context, pipelines statusResults) (forges.Change, error) {
	var b strings.Builder
	for _, graph := range []bool{true, false} {
		b.Reset()
		for _, r := range pipelines {
			r.panel(&b, graph)
		}
		if b.Len() < c.repository.MaxBody() {
			break
		}
	}
	body := b.String()
	if c.link != "" {
		body += fmt.Sprintf("[The job that looked](%s)\n", c.link)
	}
	if limit := c.repository.MaxBody(); len(body) > limit {
		return "", fmt.Errorf("%d stages do not fit into a comment of %d bytes: name some of them", pipelines.count(), limit)
	}
	return c.repository.Comment(ctx, c.number, c.marker, body)
}

func (rs statusResults) count() (n int) {
	for _, r := range rs {
		n += len(r.Stages)
	}
	return n
}

// panel writes a pipeline in Markdown: the graph of its stages, if wanted, and what each has and may have next.
func (r statusResult) panel(w io.Writer, graph bool) {
	fmt.Fprintf(w, "## %s\n\n", r.Pipeline)
	if len(r.Stages) == 0 {
		fmt.Fprintf(w, "%s\n\n", r.Note)
		return
	}
	if graph {
		fmt.Fprintf(w, "```mermaid\n%s```\n\n", r.mermaid())
	}
	fmt.Fprintln(w, "| stage | live | since | tag | next |\n|---|---|---|---|---|")
	for _, s := range r.Stages {
		live, since := s.live()
		next := "-"
		if s.Candidate != nil && s.Candidate.Digest != "" && (s.Live == nil || s.Live.Digest != s.Candidate.Digest) {
			next = fmt.Sprintf("%s: `promote %s/%s`", s.candidate(), r.Pipeline, s.Stage)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", s.Stage, live, since, s.tag(), next)
	}
	fmt.Fprintln(w)
}

// graphs are the graphs of pipelines, with a title where there are several.
type graphs statusResults

func (gs graphs) Text(w io.Writer) {
	for _, r := range gs {
		if len(r.Stages) == 0 {
			continue
		}
		if len(gs) > 1 {
			fmt.Fprintf(w, "---\ntitle: %s\n---\n", r.Pipeline)
		}
		fmt.Fprint(w, r.mermaid())
	}
}

// mermaid is the graph of the stages, in Mermaid's language. One that has its candidate is green, one that drifted red.
func (r statusResult) mermaid() string {
	var b strings.Builder
	fmt.Fprintln(&b, "flowchart LR")
	node := func(stage string) int {
		return slices.IndexFunc(r.Stages, func(s stageStatus) bool { return s.Stage == stage })
	}
	for i, s := range r.Stages {
		live, _ := s.live()
		fmt.Fprintf(&b, "  s%d[\"%s<br/>%s\"]", i, s.Stage, live)
		switch {
		case s.Drift || s.err != nil:
			fmt.Fprint(&b, ":::wrong")
		case s.Live != nil && s.Candidate != nil && s.Live.Digest == s.Candidate.Digest:
			fmt.Fprint(&b, ":::current")
		}
		fmt.Fprintln(&b)
		for _, before := range s.after {
			if from := node(before); from >= 0 {
				fmt.Fprintf(&b, "  s%d --> s%d\n", from, i)
			}
		}
	}
	fmt.Fprintln(&b, "  classDef current fill:#dafbe1,stroke:#1a7f37,color:#1f2328\n  classDef wrong fill:#ffebe9,stroke:#cf222e,color:#1f2328")
	return b.String()
}
