package diff

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"net/url"
	"strings"
)

// Bounds on the Markdown output.
const (
	// MarkdownLimit is the bytes that a description or comment may have on GitHub, which counts characters.
	MarkdownLimit = 65_536

	minMarkdown     = 2048
	markdownText    = 400 // bytes of a name
	markdownOthers  = 8   // objects that share a risk, and
	markdownDetails = 5   // details of each, if there is no room for all
)

// MarkdownOptions configures Markdown.
type MarkdownOptions struct {
	Limit int    // bytes, at least 2,048; 0 means [MarkdownLimit]
	Link  string // http or https URL of the whole, named if objects are left out; may be ""
}

// WriteMarkdown writes the changes for a pull request: the summary, risks, images and a table of objects, in at most half
// of the limit, then the details of objects, folded. Objects are shown whole. Those that do not fit are left out, those with a risk
// last, and counted at the top.
func (c Changes) WriteMarkdown(w io.Writer, options MarkdownOptions) error {
	limit := cmp.Or(options.Limit, MarkdownLimit)
	link, err := checkLink(options.Link)
	if err != nil {
		return err
	}
	if limit < minMarkdown+len(link) {
		return fmt.Errorf("a limit of %d bytes is too small for Markdown; give at least %d", limit, minMarkdown+len(link))
	}
	missing := func(left int) string {
		s := fmt.Sprintf("\n⚠️ **%s left out below, for want of room.**", plural(left, "object"))
		if link != "" {
			s += " The whole: " + link
		}
		return s + "\n"
	}
	limit -= len(missing(len(c.Objects)))
	bundles := c.bundles()

	p := markdownPage{limit: limit / 2}
	p.WriteString("**" + c.Summary() + "**\n")
	top := p.Len()
	if noise := c.Noise.summary(code); noise != "" && !p.add("\n"+noise+"\n") {
		fmt.Fprintf(&p, "\n%s changed only in noise.\n", plural(c.Noise.Objects, "object"))
	}
	p.list("\n**Images**\n\n", c.imageItems(), func(from int) string { return fmt.Sprintf("- … %d more images\n", len(c.Images)-from) })
	risks := c.riskItems(p.limit - p.Len())
	p.list("\n**Risks**\n\n", risks, func(from int) string { return fmt.Sprintf("- … %d more risks\n", len(risks)-from) })
	var rows []string
	for _, b := range bundles {
		rows = append(rows, b.markdownRow())
	}
	p.list("\n| | object | fields | notes |\n|---|---|---|---|\n", rows, func(from int) string {
		return fmt.Sprintf("| | … %d more objects | | |\n", objectsIn(bundles[from:]))
	})

	details, left := fitting(bundles, limit-p.Len())
	page := p.String()
	if left > 0 {
		page = page[:top] + missing(left) + page[top:]
	}
	_, err = io.WriteString(w, page+details)
	return err
}

// fitting returns the details of the objects that fit into so many bytes, in order, and the number of the others. Objects with a risk
// get room first.
func fitting(bundles []*bundle, room int) (details string, left int) {
	shown := make([]string, len(bundles))
	for _, quietly := range []bool{false, true} {
		for i, b := range bundles {
			if quiet(b.Risks) != quietly {
				continue
			}
			text := b.markdown()
			if len(text) > room {
				left += objectsIn(bundles[i : i+1])
				continue
			}
			room -= len(text)
			shown[i] = text
		}
	}
	return strings.Join(shown, ""), left
}

// checkLink returns a URL as an autolink, without user information.
func checkLink(link string) (string, error) {
	if link == "" {
		return "", nil
	}
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", errors.New("the link of a Markdown page must be an http or https URL")
	}
	u.User = nil
	return "<" + strings.NewReplacer("<", "%3C", ">", "%3E", " ", "%20").Replace(u.String()) + ">", nil
}

type markdownPage struct {
	bytes.Buffer
	limit int
}

func (p *markdownPage) add(s string) bool {
	if p.Len()+len(s) > p.limit {
		return false
	}
	p.WriteString(s)
	return true
}

// list adds a head and items. If the items from an index on do not fit, rest replaces them.
func (p *markdownPage) list(head string, items []string, rest func(from int) string) {
	const restBytes = 64
	if len(items) == 0 || !p.add(head) {
		return
	}
	for i, item := range items {
		if p.Len()+len(item)+restBytes > p.limit {
			p.WriteString(rest(i))
			return
		}
		p.WriteString(item)
	}
}

func (b bundle) markdownRow() string {
	fields := fmt.Sprint(len(b.Fields))
	if b.Change == Added || b.Change == Removed {
		fields = string(b.Change)
	}
	var notes []string
	for _, r := range b.Risks {
		notes = append(notes, r.markdownMark()+r.Message)
	}
	// A pipe ends a cell, even in a code span, and behind a backslash if there are two of them.
	name := strings.ReplaceAll(code(clip(b.title(), markdownText)), "|", `\x7c`) + b.more()
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", b.Change.mark(), name, fields, strings.Join(notes, "; "))
}

func (r Risk) markdownMark() string {
	if r.Level == Danger {
		return "⚠️ "
	}
	return ""
}

// detailSpans writes the details of a risk, at most so many: ": `a`, `b`".
func detailSpans(details []string, limit int) string {
	if len(details) == 0 {
		return ""
	}
	return ": " + strings.Join(atMost(codes(details), limit), ", ")
}

// riskItems lists what reviewers must see: all of it if it fits into room, else the first objects and details of each risk.
func (c Changes) riskItems(room int) []string {
	list := func(others, details int) (items []string) {
		for _, r := range c.loudRisks() {
			objects := codes(r.objects)
			for i := range objects {
				objects[i] += detailSpans(r.details[i], details)
			}
			items = append(items, "- "+r.markdownMark()+"**"+r.Message+"** — "+strings.Join(atMost(objects, others), "; ")+"\n")
		}
		return items
	}
	if all := list(len(c.Objects), math.MaxInt); len(strings.Join(all, "")) < room/2 {
		return all
	}
	return list(markdownOthers, markdownDetails)
}

func (c Changes) imageItems() []string {
	var items []string
	for _, image := range c.Images {
		repository, change := image.summary()
		items = append(items, fmt.Sprintf("- %s: %s (%s)\n", code(clip(repository, markdownText)), code(clip(change, 2*markdownText)), plural(image.Objects, "object")))
	}
	return items
}

// markdown writes objects that changed alike, folded: a block of HTML up to the blank line, in which no Markdown is read,
// then risks, then fields in a fence that nothing in them can close.
func (b bundle) markdown() string {
	var s strings.Builder
	fmt.Fprintf(&s, "\n<details><summary>%s <code>%s</code>%s</summary>\n\n", html.EscapeString(b.Change.mark()), html.EscapeString(clip(b.title(), markdownText)), b.more())
	if b.File != "" {
		fmt.Fprintf(&s, "%s\n\n", code(clip(b.File, markdownText)))
	}
	if len(b.others) > 0 {
		fmt.Fprintf(&s, "The same in %s.\n\n", strings.Join(codes(b.otherNames()), ", "))
	}
	for _, r := range b.Risks {
		if len(b.others) == 0 || !r.inFields() { // the fields are of all, the risk of the first only
			fmt.Fprintf(&s, "- %s%s%s\n", r.markdownMark(), r.Message, detailSpans(r.Details, len(r.Details)))
		}
	}
	if b.remark != "" {
		fmt.Fprintf(&s, "- %s\n", b.remark)
	}
	diff := b.markdownDiff()
	fence := strings.Repeat("`", max(3, backticks(diff)+1))
	fmt.Fprintf(&s, "\n%sdiff\n%s%s\n\n</details>\n", fence, diff, fence)
	return s.String()
}

// markdownDiff writes the fields of a bundle as the lines of a diff.
func (b bundle) markdownDiff() string {
	var diff strings.Builder
	for _, e := range b.entries {
		list := e.lines()
		if e.short != "" {
			op := map[Change]LineOp{Added: LineAdded, Removed: LineRemoved}[e.Change]
			list = []Line{{cmp.Or(op, LineNote), e.short}}
		}
		if e.heading != "" {
			note := ""
			if e.Change == Reordered {
				note = " (reordered)"
			}
			fmt.Fprintf(&diff, "@@ %s%s @@\n", clean(e.heading), note)
			if where := e.where(); where != "" {
				fmt.Fprintf(&diff, "  %s\n", clean(where))
			}
		}
		for _, line := range list {
			fmt.Fprintf(&diff, "%s %s\n", line.Op.mark(), clean(line.Text))
		}
	}
	return diff.String()
}

// code writes a text as a code span, in which nothing has a meaning.
func code(s string) string {
	s = cmp.Or(clean(s), " ")
	n := backticks(s)
	fence := strings.Repeat("`", n+1)
	if n > 0 {
		s = " " + s + " "
	}
	return fence + s + fence
}

func codes(names []string) []string {
	spans := make([]string, len(names))
	for i, name := range names {
		spans[i] = code(clip(name, markdownText))
	}
	return spans
}

// backticks returns the length of the longest run of backticks.
func backticks(s string) int {
	longest := 0
	for _, run := range strings.FieldsFunc(s, func(r rune) bool { return r != '`' }) {
		longest = max(longest, len(run))
	}
	return longest
}
