package diff

import (
	"bytes"
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

// MarkdownOptions says how Markdown is written.
type MarkdownOptions struct {
	Limit int    // bytes, at least 2,048; 0 stands for [MarkdownLimit]
	Link  string // http or https URL of the whole, named where objects are left out; may be ""
}

// WriteMarkdown writes the changes for a pull request: what it comes to, risks, images and a table of objects, in at most
// half of the limit, then the details of objects, folded. What does not fit is left out whole, object by object, and
// counted.
func (c Changes) WriteMarkdown(w io.Writer, options MarkdownOptions) error {
	p := markdownPage{limit: options.Limit}
	if p.limit == 0 {
		p.limit = MarkdownLimit
	}
	link, err := checkLink(options.Link)
	if err != nil {
		return err
	}
	if p.limit < minMarkdown+len(link) {
		return fmt.Errorf("a limit of %d bytes is too small for Markdown; give at least %d", p.limit, minMarkdown+len(link))
	}
	closing := func(left int) string {
		s := fmt.Sprintf("\n%s left out here, for want of room.", plural(left, "object"))
		if link != "" {
			s += " The whole: " + link
		}
		return s + "\n"
	}
	whole := p.limit - len(closing(len(c.Objects)))

	p.WriteString("**" + c.Summary() + "**\n")
	p.limit = whole / 2
	if noise := c.Noise.summary(code); noise != "" && !p.add("\n"+noise+"\n") {
		fmt.Fprintf(&p, "\n%s changed only in noise.\n", plural(c.Noise.Objects, "object"))
	}
	p.list("Images", "images", c.imageItems())
	p.list("Risks", "risks", c.riskItems())
	bundles := c.bundles()
	p.table(bundles)

	p.limit = whole
	left := 0
	for _, b := range bundles {
		if !p.add(b.markdown()) {
			left += b.objects()
		}
	}
	if left > 0 {
		p.WriteString(closing(left))
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
		return "", errors.New("the link of a Markdown page is no http or https URL")
	}
	u.User = nil
	return "<" + strings.NewReplacer("<", "%3C", ">", "%3E", " ", "%20").Replace(u.String()) + ">", nil
}

// markdownPage takes what fits.
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

const moreRoom = 64 // for a line that counts what is left out

func (p *markdownPage) list(title, what string, items []string) {
	if len(items) == 0 || !p.add("\n**"+title+"**\n\n") {
		return
	}
	for i, item := range items {
		if p.Len()+len(item)+moreRoom > p.limit || !p.add(item) {
			fmt.Fprintf(p, "- … %d more %s\n", len(items)-i, what)
			return
		}
	}
}

func (p *markdownPage) table(bundles []*bundle) {
	if len(bundles) == 0 || !p.add("\n| | object | fields | notes |\n|---|---|---|---|\n") {
		return
	}
	for i, b := range bundles {
		row := b.markdownRow()
		if p.Len()+len(row)+moreRoom > p.limit || !p.add(row) {
			left := 0
			for _, b := range bundles[i:] {
				left += b.objects()
			}
			fmt.Fprintf(p, "| | … %d more objects | | |\n", left)
			return
		}
	}
}

func (b bundle) markdownRow() string {
	o := b.ObjectChange
	fields := fmt.Sprint(len(o.Fields) + o.Omitted)
	if o.Change == Added || o.Change == Removed {
		fields = string(o.Change)
	}
	var notes []string
	for _, r := range o.Risks {
		notes = append(notes, r.mark()+r.Message)
	}
	// A pipe ends a cell, even in a code span, and behind a backslash if there are two of them.
	name := strings.ReplaceAll(code(clip(o.title(), markdownText)), "|", `\x7c`)
	if len(b.others) > 0 {
		name += fmt.Sprintf(" and %d more alike", len(b.others))
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", o.Change.mark(), name, fields, strings.Join(notes, "; "))
}

func (r Risk) mark() string {
	if r.Level == Danger {
		return "⚠️ "
	}
	return ""
}

// markdown writes the details of a risk: ": `a`, `b`".
func (r Risk) markdown() string {
	var b strings.Builder
	for i, detail := range r.Details {
		switch i {
		case markdownDetails:
			fmt.Fprintf(&b, ", … %d more", len(r.Details)-i)
			return b.String()
		case 0:
			b.WriteString(": ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(code(clip(detail, markdownText)))
	}
	return b.String()
}

// loudRisk is a risk that reviewers must see, with all objects that have it.
type loudRisk struct {
	Risk
	objects []string // titles
	details [][]string
}

// loudRisks returns the risks above Info, each message once, the dangerous first.
func (c Changes) loudRisks() []loudRisk {
	var list []loudRisk
	for _, level := range []Level{Danger, Warning} {
		at := map[string]int{}
		for _, o := range c.Objects {
			for _, r := range o.Risks {
				if r.Level != level {
					continue
				}
				i, met := at[r.Message]
				if !met {
					i = len(list)
					at[r.Message] = i
					list = append(list, loudRisk{Risk: Risk{Kind: r.Kind, Level: level, Message: r.Message}})
				}
				list[i].objects = append(list[i].objects, o.title())
				list[i].details = append(list[i].details, r.Details)
			}
		}
	}
	return list
}

// riskItems lists what reviewers must see.
func (c Changes) riskItems() []string {
	var items []string
	for _, r := range c.loudRisks() {
		var named []string
		for i, title := range r.objects {
			named = append(named, code(clip(title, markdownText))+Risk{Details: r.details[i]}.markdown())
		}
		items = append(items, "- "+r.mark()+"**"+r.Message+"** — "+strings.Join(clipped(named, markdownOthers), "; ")+"\n")
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
	var diff strings.Builder
	room := markdownObject
	left := 0
	for i, e := range b.entries {
		list := e.lines(min(markdownLines, room))
		if e.short != "" {
			op := LineNote
			switch e.Change {
			case Added:
				op = LineAdded
			case Removed:
				op = LineRemoved
			}
			list = []Line{{op, e.short}}
		}
		if room -= len(list) + 1; room <= 0 {
			left += len(b.entries) - i
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
			if line.Op == LineNote {
				fmt.Fprintf(&diff, "  %s\n", clean(line.Text))
				continue
			}
			fmt.Fprintf(&diff, "%s %s\n", line.Op, clean(line.Text))
		}
	}
	if left > 0 {
		fmt.Fprintf(&diff, "@@ … %s @@\n", plural(left, "more field"))
	}
	var s strings.Builder
	more := ""
	if len(b.others) > 0 {
		more = fmt.Sprintf(" and %d more alike", len(b.others))
	}
	fmt.Fprintf(&s, "\n<details><summary>%s <code>%s</code>%s</summary>\n\n", html.EscapeString(b.Change.mark()), html.EscapeString(clip(b.title(), markdownText)), more)
	if b.File != "" {
		fmt.Fprintf(&s, "%s\n\n", code(clip(b.File, markdownText)))
	}
	if len(b.others) > 0 {
		var names []string
		for _, name := range b.otherNames() {
			names = append(names, code(clip(name, markdownText)))
		}
		fmt.Fprintf(&s, "The same in %s.\n\n", strings.Join(names, ", "))
	}
	for _, r := range b.Risks {
		if len(b.others) > 0 && r.Kind == RiskImage && r.Level == Info {
			continue // of the first only
		}
		fmt.Fprintf(&s, "- %s%s%s\n", r.mark(), r.Message, r.markdown())
	}
	for _, remark := range b.remarks {
		words := ""
		if remark.words != "" {
			words = code(clip(remark.words, markdownText))
		}
		fmt.Fprintf(&s, "- %s%s\n", remark.message, words)
	}
	fence := strings.Repeat("`", max(3, backticks(diff.String())+1))
	fmt.Fprintf(&s, "\n%sdiff\n%s%s\n\n</details>\n", fence, diff.String(), fence)
	return s.String()
}

// code writes a text as a code span, in which nothing has a meaning.
func code(s string) string {
	s = clean(s)
	if s == "" {
		s = " "
	}
	n := backticks(s)
	fence := strings.Repeat("`", n+1)
	if n > 0 {
		s = " " + s + " "
	}
	return fence + s + fence
}

// backticks returns the length of the longest run of backticks.
func backticks(s string) int {
	longest, run := 0, 0
	for i := range len(s) {
		if s[i] != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}
