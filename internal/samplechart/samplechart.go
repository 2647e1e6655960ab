// Package samplechart makes charts to measure with: a small one like most teams have, and one of the size of the
// largest in use (kube-prometheus-stack: 5 to 7 MB of custom resource definitions, some 150 templates, subcharts). They never
// change, so that figures can be compared.
package samplechart

import (
	"bytes"
	"embed"
	"io/fs"
	"testing/fstest"
	"text/template"

	"github.com/rogpeppe/go-internal/txtar"
)

// Each chart is a template of a txtar archive.
//
//go:embed *.tmpl
var files embed.FS

// Small returns a chart of one Deployment, Service, ConfigMap, ServiceAccount, disruption budget, autoscaler and network
// policy. Its value `image` is what it deploys.
func Small() fs.FS { return chart("small.tmpl") }

// Large returns a chart of the size of the largest in use. Its value `image` is what it deploys.
func Large() fs.FS { return chart("large.tmpl") }

func chart(name string) fs.FS {
	templates := template.New("").Delims("[[", "]]").Funcs(template.FuncMap{
		"add1":  func(n int) int { return n + 1 },
		"chart": func(name string, number int) map[string]any { return map[string]any{"Chart": name, "Number": number} },
	})
	var archive bytes.Buffer
	if err := template.Must(templates.ParseFS(files, "shared.tmpl", name)).ExecuteTemplate(&archive, name, nil); err != nil {
		panic(err) // the templates are embedded
	}
	tree := fstest.MapFS{}
	for _, f := range txtar.Parse(archive.Bytes()).Files {
		tree[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
	}
	return tree
}
