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

	p.WriteString("**" + c.summary() + "**\n")
	p.limit = whole / 2
	if noise := c.Noise.summary(code); noise != "" && !p.add("\n"+noise+"\n") {
		fmt.Fprintf(&p, "\n%s changed only in noise.\n", plural(c.Noise.Objects, "object"))
	}
	p.list("Risks", "risks", c.riskItems())
	p.list("Images", "images", c.imageItems())
	p.table(c.Objects)

	p.limit = whole
	left := 0
	for _, o := range c.Objects {
		if !p.add(markdownDetail(o)) {
			left++
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

func (p *markdownPage) table(objects []ObjectChange) {
	if len(objects) == 0 || !p.add("\n| | object | fields | notes |\n|---|---|---|---|\n") {
		return
	}
	for i, o := range objects {
		row := markdownRow(o)
		if p.Len()+len(row)+moreRoom > p.limit || !p.add(row) {
			fmt.Fprintf(p, "| | … %d more objects | | |\n", len(objects)-i)
			return
		}
	}
}

func markdownRow(o ObjectChange) string {
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

// riskItems lists what reviewers must see, each message once with its objects, the dangerous first.
func (c Changes) riskItems() []string {
	var items []string
	for _, level := range []Level{Danger, Warning} {
		var messages []string
		objects := map[string][]string{}
		for _, o := range c.Objects {
			for _, r := range o.Risks {
				if r.Level != level {
					continue
				}
				if objects[r.Message] == nil {
					messages = append(messages, r.Message)
				}
				objects[r.Message] = append(objects[r.Message], code(clip(o.title(), markdownText))+r.markdown())
			}
		}
		for _, message := range messages {
			named := objects[message]
			if more := len(named) - markdownOthers; more > 0 {
				named = append(named[:markdownOthers:markdownOthers], fmt.Sprintf("… %d more", more))
			}
			items = append(items, "- "+Risk{Level: level}.mark()+"**"+message+"** — "+strings.Join(named, "; ")+"\n")
		}
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

// markdownDetail writes one object, folded: a block of HTML up to the blank line, in which no Markdown is read, then
// risks, then fields in a fence that nothing in them can close.
func markdownDetail(o ObjectChange) string {
	var diff strings.Builder
	room := markdownObject
	left := o.Omitted
	for i, f := range o.Fields {
		list := f.lines(min(markdownLines, room))
		if room -= len(list) + 1; room <= 0 {
			left += len(o.Fields) - i
			break
		}
		if f.Path != "" {
			note := ""
			if f.Change == Reordered {
				note = " (reordered)"
			}
			fmt.Fprintf(&diff, "@@ %s%s @@\n", clean(clip(f.Path, maxShown)), note)
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
	var b strings.Builder
	fmt.Fprintf(&b, "\n<details><summary>%s <code>%s</code></summary>\n\n", html.EscapeString(o.Change.mark()), html.EscapeString(clip(o.title(), markdownText)))
	if o.File != "" {
		fmt.Fprintf(&b, "%s\n\n", code(clip(o.File, markdownText)))
	}
	for _, r := range o.Risks {
		fmt.Fprintf(&b, "- %s%s%s\n", r.mark(), r.Message, r.markdown())
	}
	fence := strings.Repeat("`", max(3, backticks(diff.String())+1))
	fmt.Fprintf(&b, "\n%sdiff\n%s%s\n\n</details>\n", fence, diff.String(), fence)
	return b.String()
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
