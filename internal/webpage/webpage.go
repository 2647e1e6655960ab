// Package webpage writes HTML pages that need no network and work from a file: each holds its style and script, and its policy
// lets nothing else load or run. Pages share their colours, which follow the reader's system or the key t, and the key / for their
// search field.
package webpage

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the frame of all pages
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"maps"

	"github.com/lockage/lockage/internal/terminal"
)

//go:embed base.html
var baseHTML string

//go:embed base.css
var baseCSS string

//go:embed base.js
var baseJS string

// Template is one kind of page.
type Template struct {
	template *template.Template
	frame    frame
}

type frame struct {
	Policy template.HTMLAttr
	Style  template.CSS
	Script template.JS
	Title  string
	Data   any
}

// New parses a kind of page: its template, which defines "body", with the functions that it calls beside clean, its style and its
// script. All but the data of a page is part of the program.
func New(body, style, script string, funcs template.FuncMap) (*Template, error) {
	all := template.FuncMap{"clean": Clean}
	maps.Copy(all, funcs)
	t, err := template.New("page").Funcs(all).Parse(baseHTML)
	if err == nil {
		_, err = t.New("kind").Parse(body)
	}
	if err != nil {
		return nil, fmt.Errorf("the template of an HTML page: %w", err)
	}
	script = baseJS + script
	sum := sha256.Sum256([]byte(script))
	policy := "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
	return &Template{t, frame{
		Policy: template.HTMLAttr(`content="` + policy + `"`), //nolint:gosec // of constants only
		Style:  template.CSS(baseCSS + style),                 //nolint:gosec // a constant
		Script: template.JS(script),                           //nolint:gosec // a constant
	}}, nil
}

// Write writes a page. Nothing is written if the template fails.
func (t *Template) Write(w io.Writer, title string, data any) error {
	page := t.frame
	page.Title, page.Data = title, data
	var b bytes.Buffer
	if err := t.template.ExecuteTemplate(&b, "page", page); err != nil {
		return fmt.Errorf("an HTML page: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Clean escapes in a line what a reader would not see. The template escapes what a browser would obey.
func Clean(s string) string { return terminal.Escape(s, "\t") }
