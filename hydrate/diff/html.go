package diff

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page's template, style and script
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds on the HTML page.
const (
	htmlLines  = 5000 // of one field
	htmlSearch = 4096 // bytes of an object that the filter looks at
	htmlOpen   = 300  // lines of an object that is not folded at first
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// HTMLOptions says what the page is called, and its two sides.
type HTMLOptions struct {
	Title         string // "" stands for "Changes"
	Before, After string // headings of the columns; "" stand for "before" and "after"
}

type htmlPage struct {
	HTMLOptions
	Policy         template.HTMLAttr
	Style          template.CSS
	Script         template.JS
	Summary, Noise string
	Tree           htmlFolder
	Risks          []htmlRisk
	Images         []htmlImage
	Objects        []htmlObject
}

// htmlFolder is a folder of the tree of files, or a file with several objects.
type htmlFolder struct {
	Name    string
	Folders []*htmlFolder
	Files   []htmlFile
	file    bool
}

// htmlFile is an object in the tree.
type htmlFile struct{ ID, Mark, Class, Title string }

type htmlRisk struct {
	ID, Title, Message, Details string
	Level                       Level
}

type htmlImage struct{ Repository, Change, Objects string }

type htmlObject struct {
	ID, Mark, Class, Title, File, Search string
	Like                                 string // title of an object before, of which the same is shown
	Risks                                []htmlRisk
	Fields                               []htmlField
	More                                 []string
	Open                                 bool
}

type htmlField struct {
	Path, Note string
	Rows       []htmlRow
}

// htmlRow is one line of the two sides, or a note across both.
type htmlRow struct {
	Left, Right htmlCell
	Note        string
}

// htmlCell is a line of one side. What differs from the other side stands in Changed, what both have around it.
type htmlCell struct{ Class, Head, Changed, Tail string }

// WriteHTML writes one page with a tree of files and all changes side by side. It needs no network and works from a file:
// style and script are in it, and its policy lets nothing else load or run.
func (c Changes) WriteHTML(w io.Writer, options HTMLOptions) error {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("the template of the HTML page: %w", err)
	}
	sum := sha256.Sum256([]byte(pageJS))
	policy := "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
	page := htmlPage{
		HTMLOptions: HTMLOptions{
			Title:  clean(cmp.Or(options.Title, "Changes")),
			Before: clean(cmp.Or(options.Before, "before")),
			After:  clean(cmp.Or(options.After, "after")),
		},
		Policy:  template.HTMLAttr(`content="` + policy + `"`), //nolint:gosec // of constants only
		Style:   template.CSS(pageCSS),                         //nolint:gosec // a constant
		Script:  template.JS(pageJS),                           //nolint:gosec // a constant
		Summary: c.Summary(),
		Noise:   c.Noise.summary(clean),
	}
	for _, image := range c.Images {
		repository, change := image.summary()
		page.Images = append(page.Images, htmlImage{clean(repository), clean(change), plural(image.Objects, "object")})
	}
	like := map[string]string{}
	for _, b := range c.bundles() {
		for _, o := range b.others {
			like[o.String()] = b.title()
		}
	}
	for i, o := range c.Objects {
		object := newHTMLObject(fmt.Sprintf("o%d", i), o)
		if object.Like = like[o.String()]; object.Like != "" {
			object.Open = false
		}
		page.Objects = append(page.Objects, object)
		page.Tree.add(strings.Split(cmp.Or(o.File, "objects"), "/"), htmlFile{object.ID, object.Mark, object.Class, object.Title})
		for _, risk := range object.Risks {
			if risk.Level != Info {
				page.Risks = append(page.Risks, risk)
			}
		}
	}
	slices.SortStableFunc(page.Risks, func(a, b htmlRisk) int { return b.Level.loudness() - a.Level.loudness() })
	page.Tree.sort()
	var b bytes.Buffer
	if err := t.Execute(&b, page); err != nil {
		return fmt.Errorf("the HTML page: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

func newHTMLObject(id string, o ObjectChange) htmlObject {
	object := htmlObject{ID: id, Mark: o.Change.mark(), Class: string(o.Change), Title: o.title(), File: clean(o.File)}
	search := []string{object.Title, object.File, object.Class}
	for _, r := range o.Risks {
		risk := htmlRisk{ID: id, Title: object.Title, Message: r.Message, Details: clean(strings.Join(r.Details, ", ")), Level: r.Level}
		object.Risks = append(object.Risks, risk)
		search = append(search, risk.Message, risk.Details)
	}
	length := 0
	entries, remarks := o.entries(full)
	for _, e := range entries {
		field := htmlField{Path: clean(e.heading), Note: clean(e.where()), Rows: rows(e.lines(htmlLines))}
		switch {
		case e.Noise:
			field.Note = "noise"
		case e.Change == Reordered:
			field.Note = "reordered"
		}
		object.Fields = append(object.Fields, field)
		length += len(field.Rows)
		search = append(search, field.Path)
	}
	for _, remark := range remarks {
		object.More = append(object.More, remark.message+clean(remark.words))
	}
	object.Open = length <= htmlOpen
	object.Search = strings.ToLower(clip(strings.Join(search, " "), htmlSearch))
	return object
}

// rows sets lines side by side: what was removed beside what was added in its place.
func rows(lines []Line) []htmlRow {
	var out []htmlRow
	for i := 0; i < len(lines); {
		text := clean(lines[i].Text)
		switch lines[i].Op {
		case LineNote:
			out = append(out, htmlRow{Note: text})
			i++
		case LineSame:
			out = append(out, htmlRow{Left: htmlCell{Class: "same", Head: text}, Right: htmlCell{Class: "same", Head: text}})
			i++
		default:
			var removed, added []string
			for ; i < len(lines) && lines[i].Op == LineRemoved; i++ {
				removed = append(removed, clean(lines[i].Text))
			}
			for ; i < len(lines) && lines[i].Op == LineAdded; i++ {
				added = append(added, clean(lines[i].Text))
			}
			for j := range max(len(removed), len(added)) {
				row := htmlRow{Left: htmlCell{Class: "none"}, Right: htmlCell{Class: "none"}}
				if j < len(removed) {
					row.Left = htmlCell{Class: "removed", Head: removed[j]}
				}
				if j < len(added) {
					row.Right = htmlCell{Class: "added", Head: added[j]}
				}
				if j < len(removed) && j < len(added) {
					row.mark()
				}
				out = append(out, row)
			}
		}
	}
	return out
}

// mark finds what differs in a row, unless little is the same.
func (r *htmlRow) mark() {
	const worthwhile = 0.3
	a, b := r.Left.Head, r.Right.Head
	prefix, suffix := shared(a, b)
	for withinWord(a, prefix) || withinWord(b, prefix) {
		prefix--
	}
	for withinWord(a, len(a)-suffix) || withinWord(b, len(b)-suffix) {
		suffix--
	}
	if float64(prefix+suffix) < worthwhile*float64(max(len(a), len(b))) {
		return
	}
	split := func(c *htmlCell, s string) {
		c.Head, c.Changed, c.Tail = s[:prefix], s[prefix:len(s)-suffix], s[len(s)-suffix:]
	}
	split(&r.Left, a)
	split(&r.Right, b)
}

// withinWord reports whether a text would be parted within a word before byte i: whole words are marked, and so whole
// characters.
func withinWord(s string, i int) bool { return i > 0 && i < len(s) && ofWord(s[i-1]) && ofWord(s[i]) }

func ofWord(c byte) bool {
	return c >= utf8.RuneSelf || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

const maxFolders = 32 // nested in the tree; what is deeper stands in the last

func (f *htmlFolder) add(at []string, file htmlFile) {
	for depth, name := range at {
		if depth == maxFolders {
			break
		}
		i := slices.IndexFunc(f.Folders, func(sub *htmlFolder) bool { return sub.Name == clean(name) })
		if i < 0 {
			i = len(f.Folders)
			f.Folders = append(f.Folders, &htmlFolder{Name: clean(name)})
		}
		f = f.Folders[i]
	}
	f.file = true
	f.Files = append(f.Files, file)
}

// sort orders folders by name, and puts in place of a file with one object the object.
func (f *htmlFolder) sort() {
	var folders []*htmlFolder
	for _, sub := range f.Folders {
		sub.sort()
		if sub.file && len(sub.Folders) == 0 && len(sub.Files) == 1 {
			file := sub.Files[0]
			file.Title = sub.Name
			f.Files = append(f.Files, file)
			continue
		}
		folders = append(folders, sub)
	}
	f.Folders = folders
	slices.SortStableFunc(f.Folders, func(a, b *htmlFolder) int { return strings.Compare(a.Name, b.Name) })
	slices.SortStableFunc(f.Files, func(a, b htmlFile) int { return strings.Compare(a.Title, b.Title) })
}
