package engine

import (
	"encoding/base64"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/gobwas/glob"
)

// files are the files of a chart beside its templates, as templates see them.
type files map[string][]byte

// NewFiles returns what templates know as .Files.
func NewFiles(byName map[string][]byte) any { return files(byName) }

// GetBytes returns the content of a file, empty if the chart has none by that name.
func (f files) GetBytes(name string) []byte {
	if data, ok := f[name]; ok {
		return data
	}
	return []byte{}
}

// Get returns the content of a file as a string.
func (f files) Get(name string) string { return string(f.GetBytes(name)) }

// Glob returns the files whose names match a pattern, all if it is none.
func (f files) Glob(pattern string) files {
	g, err := glob.Compile(pattern, '/')
	if err != nil {
		g = glob.MustCompile("**")
	}
	out := files{}
	for name, data := range f {
		if g.Match(name) {
			out[name] = data
		}
	}
	return out
}

// AsConfig returns the files as the YAML of a map of their base names: of two by one name, the last counts.
func (f files) AsConfig() string {
	return f.asMap(func(data []byte) string { return string(data) })
}

// AsSecrets returns what AsConfig returns, with each content in base64.
func (f files) AsSecrets() string { return f.asMap(base64.StdEncoding.EncodeToString) }

func (f files) asMap(encode func([]byte) string) string {
	if f == nil {
		return ""
	}
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		out[path.Base(name)] = encode(f[name])
	}
	return toYAML(out)
}

// Lines returns the lines of a file.
func (f files) Lines(name string) []string {
	text := string(f[name])
	if text == "" {
		return []string{}
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
