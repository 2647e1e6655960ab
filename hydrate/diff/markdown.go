package diff

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"html"
	"io"
	"net/url"
	"strings"
)

// Bounds on the Markdown output.
const (
	// MarkdownLimit is the bytes that a description or comment may have on GitHub, which counts characters.
	MarkdownLimit = 65_536

	minMarkdown     = 2048
	markdownLines   = 80  // of one field
	markdownObject  = 300 // lines of one object
	markdownDetails = 5   // of one risk
	markdownText    = 120 // bytes of a name
	markdownOthers  = 8   // objects that share a risk
)

// MarkdownOptions configures Markdown.
type MarkdownOptions struct {
	Limit int    // bytes, at least 2,048; 0 means [MarkdownLimit]
	Link  string // http or https URL of the whole, named if objects are left out; may be ""
}

// WriteMarkdown writes the changes for a pull request: the summary, risks, images and a table of objects, in at most half
// of the limit, then the details of objects, folded. Objects that do not fit are left out whole, and counted.
func (c Changes) WriteMarkdown(w io.Writer, options MarkdownOptions) error {
	limit := cmp.Or(options.Limit, MarkdownLimit)
	link, err := checkLink(options.Link)
	if err != nil {
		return err
	}
	if limit < minMarkdown+len(link) {
		return fmt.Errorf("a limit of %d bytes is too small for Markdown; give at least %d", limit, minMarkdown+len(link))
	}
	closing := func(left int) string {
		s := fmt.Sprintf("\n%s left out here, for want of room.", plural(left, "object"))
		if link != "" {
			s += " The whole: " + link
		}
		return s + "\n"
	}
	limit -= len(closing(len(c.Objects)))
	bundles := c.bundles()

	p := markdownPage{limit: limit / 2}
	p.WriteString("**" + c.Summary() + "**\n")
	if noise := c.Noise.summary(code); noise != "" && !p.add("\n"+noise+"\n") {
		fmt.Fprintf(&p, "\n%s changed only in noise.\n", plural(c.Noise.Objects, "object"))
	}
	p.list("\n**Images**\n\n", c.imageItems(), func(from int) string { return fmt.Sprintf("- … %d more images\n", len(c.Images)-from) })
	risks := c.riskItems()
	p.list("\n**Risks**\n\n", risks, func(from int) string { return fmt.Sprintf("- … %d more risks\n", len(risks)-from) })
	var rows []string
	for _, b := range bundles {
		rows = append(rows, b.markdownRow())
	}
	p.list("\n| | object | fields | notes |\n|---|---|---|---|\n", rows, func(from int) string {
		return fmt.Sprintf("| | … %d more objects | | |\n", objectsIn(bundles[from:]))
	})

	p.limit = limit
	var left []*bundle
	for _, b := range bundles {
		if !p.add(b.markdown()) {
			left = append(left, b)
		}
	}
	if len(left) > 0 {
		p.WriteString(closing(objectsIn(left)))
	}
	_, err = w.Write(p.Bytes())
	return err
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
	fields := fmt.Sprint(len(b.Fields) + b.Omitted)
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

// detailSpans writes the details of a risk: ": `a`, `b`".
func detailSpans(details []string) string {
	if len(details) == 0 {
		return ""
	}
	return ": " + strings.Join(atMost(codes(details), markdownDetails), ", ")
}

// riskItems lists what reviewers must see.
func (c Changes) riskItems() []string {
	var items []string
	for _, r := range c.loudRisks() {
		objects := codes(r.objects)
		for i := range objects {
			objects[i] += detailSpans(r.details[i])
		}
		items = append(items, "- "+r.markdownMark()+"**"+r.Message+"** — "+strings.Join(atMost(objects, markdownOthers), "; ")+"\n")
	}
	return items
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
			fmt.Fprintf(&s, "- %s%s%s\n", r.markdownMark(), r.Message, detailSpans(r.Details))
		}
	}
	for _, remark := range b.remarks {
		s.WriteString("- " + remark.message)
		if remark.words != "" {
			s.WriteString(code(clip(remark.words, markdownText)))
		}
		s.WriteByte('\n')
	}
	diff := b.markdownDiff()
	fence := strings.Repeat("`", max(3, backticks(diff)+1))
	fmt.Fprintf(&s, "\n%sdiff\n%s%s\n\n</details>\n", fence, diff, fence)
	return s.String()
}

// markdownDiff writes the fields of a bundle as the lines of a diff.
func (b bundle) markdownDiff() string {
	var diff strings.Builder
	room := markdownObject
	for i, e := range b.entries {
		list := e.lines(min(markdownLines, room))
		if e.short != "" {
			op := map[Change]LineOp{Added: LineAdded, Removed: LineRemoved}[e.Change]
			list = []Line{{cmp.Or(op, LineNote), e.short}}
		}
		if room -= len(list) + 1; room <= 0 {
			fmt.Fprintf(&diff, "@@ … %s @@\n", plural(len(b.entries)-i, "more field"))
			break
		}
		if e.heading != "" {
			note := ""
			if e.Change == Reordered {
				note = " (reordered)"
			}
			fmt.Fprintf(&diff, "@@ %s%s @@\n", clean(clip(e.heading, maxShown)), note)
			if where := e.where(); where != "" {
				fmt.Fprintf(&diff, "  %s\n", clean(clip(where, maxShown)))
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
