package helm

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/lfs"
)

const sopsError = "is encrypted by SOPS, and lockage decrypts nothing: the chart would render the ciphertext; hand it an existing Secret by its name, " +
	"or keep what is secret in a Secret that SOPS encrypts, an ExternalSecret or a SealedSecret"

// encrypted reports whether SOPS encrypted a values file, by the metadata that it adds.
func encrypted(values map[string]any) bool {
	metadata, _ := values["sops"].(map[string]any)
	_, hasMAC := metadata["mac"]
	_, hasTime := metadata["lastmodified"]
	return hasMAC || hasTime
}

// checkPointers refuses pointers to Git LFS, and what git-crypt encrypted, in place of files that Helm itself reads.
func checkPointers(files []*loader.BufferedFile) error {
	for _, f := range files {
		if reason, ok := lfs.Unreadable(f.Data); ok && essential(f.Name) {
			return fmt.Errorf("%s %s", f.Name, reason)
		}
	}
	return nil
}

// essential reports whether a chart cannot be rendered without a file; others only templates may read.
func essential(name string) bool {
	folder, rest, below := strings.Cut(name, "/")
	switch {
	case !below:
		return slices.Contains([]string{"Chart.yaml", "Chart.lock", "values.yaml", "values.schema.json", "requirements.yaml", "requirements.lock"}, name)
	case folder == "charts":
		if _, inside, isFolder := strings.Cut(rest, "/"); isFolder {
			return essential(inside)
		}
		return path.Ext(rest) == ".tgz"
	}
	return folder == "templates" || folder == "crds"
}

// pointer is a file of a chart that is the pointer to one in Git LFS.
type pointer struct {
	name, digest string
	encoded      []byte // in base64
}

// inspect looks for what c and its subcharts have and nothing can read.
func (p *Package) inspect(c *chart.Chart) error {
	if encrypted(c.Values) {
		return fmt.Errorf("values.yaml of chart %s %s", c.ChartFullPath(), sopsError)
	}
	for _, f := range c.Files {
		if found, ok := lfs.Parse(f.Data); ok {
			name := c.ChartFullPath() + "/" + f.Name
			encoded := base64.StdEncoding.AppendEncode(nil, bytes.TrimSpace(f.Data))
			p.pointers = append(p.pointers, pointer{name, "sha256:" + found.ID, encoded[:len(encoded)-4]})
			p.warnings = append(p.warnings, name+" "+lfs.Unread+", or list it in .helmignore")
		}
	}
	for _, d := range c.Dependencies() {
		if err := p.inspect(d); err != nil {
			return err
		}
	}
	return nil
}

// checkOutput refuses manifests into which templates read pointers.
func (p *Package) checkOutput(manifests []hydrate.Manifest) error {
	for _, m := range manifests {
		for _, file := range p.pointers {
			if bytes.Contains(m.Data, []byte(file.digest)) || bytes.Contains(m.Data, file.encoded) {
				return fmt.Errorf("%s: document %d holds the content of %s, which %s", m.Source, m.Document, file.name, lfs.Unread)
			}
		}
	}
	return nil
}
