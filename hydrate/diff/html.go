package diff

import (
	"cmp"
	_ "embed" // the page's template, style and script
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lockage/lockage/internal/webpage"
)

// Bounds on the HTML page.
const (
	htmlSearch = 4096 // bytes of an object that the filter looks at
	htmlOpen   = 300  // lines of an object that is not folded at first
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// HTMLOptions names the page and its two sides.
type HTMLOptions struct {
	Title         string // "" means "Changes"
	Before, After string // headings of the columns; "" mean "before" and "after"
	Back          string // URL of the page that links to this one; "" for none
}

// htmlPage is the data of the template, which cleans the words of manifests in it.
type htmlPage struct {
	HTMLOptions
	Summary, Noise string
	Images         []ImageChange
	Risks          []htmlRisk
	Objects        []*htmlObject
	Tree           htmlFolder
}

type htmlRisk struct {
	ID, Object string
	Risk
}

type htmlObject struct {
	ObjectChange
	ID, Mark, Title, Search string
	Like                    string // title of an earlier object that changed alike
	Entries                 []htmlEntry
	Open                    bool
}

type htmlEntry struct {
	Heading, Note string
	Rows          []htmlRow
}

// WriteHTML writes one page with a tree of files and all changes side by side, see package webpage.
func (c Changes) WriteHTML(w io.Writer, options HTMLOptions) error {
	t, err := webpage.New(pageHTML, pageCSS, pageJS, template.FuncMap{
		"list": func(words []string) string { return clean(strings.Join(words, ", ")) },
		"image": func(c ImageChange) []string {
			repository, change := c.summary()
			return []string{clean(repository), clean(change), plural(c.Objects, "object")}
		},
	})
	if err != nil {
		return err
	}
	page := htmlPage{
		HTMLOptions: HTMLOptions{cmp.Or(options.Title, "Changes"), cmp.Or(options.Before, "before"), cmp.Or(options.After, "after"), options.Back},
		Summary:     c.Summary(),
		Noise:       c.Noise.summary(clean),
		Images:      c.Images,
	}
	like := map[string]string{}
	for _, b := range c.bundles() {
		for _, o := range b.others {
			like[o.String()] = b.title()
		}
	}
	for i, o := range c.Objects {
		object := newHTMLObject(fmt.Sprintf("o%d", i), o, like[o.String()])
		page.Objects = append(page.Objects, object)
		page.Tree.add(strings.Split(cmp.Or(o.File, "objects"), "/"), htmlFile{object, object.Title})
		for _, r := range o.Risks {
			if r.Level != Info {
				page.Risks = append(page.Risks, htmlRisk{object.ID, object.Title, r})
			}
		}
	}
	slices.SortStableFunc(page.Risks, func(a, b htmlRisk) int { return bySeverity(a.Risk, b.Risk) })
	page.Tree.sort()
	return t.Write(w, page.Title, page)
}

func newHTMLObject(id string, o ObjectChange, like string) *htmlObject {
	object := &htmlObject{ObjectChange: o, ID: id, Mark: o.Change.mark(), Title: o.title(), Like: like}
	search := []string{object.Title, o.File, string(o.Change)}
	for _, r := range o.Risks {
		search = append(search, r.Message, strings.Join(r.Details, ", "))
	}
	length := 0
	entries, _ := o.entries(full)
	for _, e := range entries {
		entry := htmlEntry{Heading: e.heading, Note: e.where(), Rows: rows(e.lines())}
		switch {
		case e.Noise:
			entry.Note = "noise"
		case e.Change == Reordered:
			entry.Note = "reordered"
		}
		object.Entries = append(object.Entries, entry)
		length += len(entry.Rows)
		search = append(search, e.heading)
	}
	object.Open = length <= htmlOpen && like == ""
	object.Search = strings.ToLower(clip(clean(strings.Join(search, " ")), htmlSearch))
	return object
}

// htmlRow is one line of the two sides, or a note across both.
type htmlRow struct {
	Left, Right htmlCell
	Note        string
}

// htmlCell is a line of one side. Changed differs from the other side; Head and Tail around it are on both sides.
type htmlCell struct{ Class, Head, Changed, Tail string }

// rows sets lines side by side: removed ones beside those added in their place.
func rows(lines []Line) []htmlRow {
	none := htmlCell{Class: "none"}
	var out []htmlRow
	open := 0 // the last rows, which have a removed line only
	for i, line := range lines {
		if i > 0 && line.Op != lines[i-1].Op && line.Op != LineAdded {
			open = 0
		}
		text := clean(line.Text)
		switch line.Op {
		case LineNote:
			out = append(out, htmlRow{Note: text})
		case LineSame:
			same := htmlCell{Class: "same", Head: text}
			out = append(out, htmlRow{Left: same, Right: same})
		case LineRemoved:
			out = append(out, htmlRow{Left: htmlCell{Class: "removed", Head: text}, Right: none})
			open++
		case LineAdded:
			added := htmlCell{Class: "added", Head: text}
			if open == 0 {
				out = append(out, htmlRow{Left: none, Right: added})
				continue
			}
			row := &out[len(out)-open]
			row.Right = added
			row.mark()
			open--
		}
	}
	return out
}

// mark splits the cells of a row at what differs, unless little is the same.
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

// withinWord reports whether byte i continues a word. Whole words are marked, and so whole characters.
func withinWord(s string, i int) bool { return i > 0 && i < len(s) && ofWord(s[i-1]) && ofWord(s[i]) }

func ofWord(c byte) bool {
	return c >= utf8.RuneSelf || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// maxFolders bounds the nesting of the tree; deeper files are in the last folder.
const maxFolders = 32

// htmlFolder is a folder of the tree of files, or a file with several objects.
type htmlFolder struct {
	Name    string
	Folders []*htmlFolder
	Files   []htmlFile
}

type htmlFile struct {
	*htmlObject
	Label string
}

func (f *htmlFolder) add(at []string, file htmlFile) {
	for _, name := range at[:min(len(at), maxFolders)] {
		name = clean(name)
		i := slices.IndexFunc(f.Folders, func(sub *htmlFolder) bool { return sub.Name == name })
		if i < 0 {
			i = len(f.Folders)
			f.Folders = append(f.Folders, &htmlFolder{Name: name})
		}
		f = f.Folders[i]
	}
	f.Files = append(f.Files, file)
}

// sort orders folders by name, and replaces a file with one object by the object.
func (f *htmlFolder) sort() {
	var folders []*htmlFolder
	for _, sub := range f.Folders {
		leaf := len(sub.Folders) == 0 && len(sub.Files) == 1
		sub.sort()
		if leaf {
			f.Files = append(f.Files, htmlFile{sub.Files[0].htmlObject, sub.Name})
			continue
		}
		folders = append(folders, sub)
	}
	f.Folders = folders
	slices.SortStableFunc(f.Folders, func(a, b *htmlFolder) int { return strings.Compare(a.Name, b.Name) })
	slices.SortStableFunc(f.Files, func(a, b htmlFile) int { return strings.Compare(a.Label, b.Label) })
}
