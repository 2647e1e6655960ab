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
	Risks                                []htmlRisk
	Fields                               []htmlField
	More                                 string
	Open                                 bool
}

type htmlField struct {
	Path, Note string
	Rows       []htmlRow
}

// htmlRow is one line of the two sides, or a note across both.
type htmlRow struct {
	Left, Right           string
	LeftClass, RightClass string
	Note                  string
}

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
		Summary: c.summary(),
		Noise:   c.Noise.summary(clean),
	}
	for _, image := range c.Images {
		repository, change := image.summary()
		page.Images = append(page.Images, htmlImage{clean(repository), clean(change), plural(image.Objects, "object")})
	}
	for i, o := range c.Objects {
		object := newHTMLObject(fmt.Sprintf("o%d", i), o)
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
	for _, f := range o.Fields {
		field := htmlField{Path: clean(f.Path), Rows: rows(f.lines(htmlLines))}
		switch {
		case f.Noise:
			field.Note = "noise"
		case f.Change == Reordered:
			field.Note = "reordered"
		}
		object.Fields = append(object.Fields, field)
		length += len(field.Rows)
		search = append(search, field.Path)
	}
	if o.Omitted > 0 {
		object.More = "… " + plural(o.Omitted, "more field")
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
			out = append(out, htmlRow{Left: text, Right: text})
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
				row := htmlRow{LeftClass: "none", RightClass: "none"}
				if j < len(removed) {
					row.Left, row.LeftClass = removed[j], "removed"
				}
				if j < len(added) {
					row.Right, row.RightClass = added[j], "added"
				}
				out = append(out, row)
			}
		}
	}
	return out
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
