package lock

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// SchemaVersion is the only schema version that is read and written.
const SchemaVersion = "v1"

// The kinds of packaging.
const (
	Helm      = "helm"
	Kustomize = "kustomize"
)

// Lock is one release.
type Lock struct {
	// SchemaVersion is SchemaVersion, or empty in the short form.
	SchemaVersion string `yaml:"schemaVersion" json:"schemaVersion"`
	// ReleaseID is "git-" and GitCommit.
	ReleaseID string `yaml:"releaseId,required" json:"releaseId"`
	// GitCommit is the source commit, 40 lower-case hex digits.
	GitCommit string `yaml:"gitCommit,scalar" json:"gitCommit"`
	// Image is the application's image.
	Image Image `yaml:"image,required" json:"image"`
	// Images are further images of the release; their names are unique.
	Images []NamedImage `yaml:"images" json:"images"`
	// Packaging says where in the source the manifests lie.
	Packaging Packaging `yaml:"packaging,required" json:"packaging"`
	// CreatedAt is an RFC 3339 time as written, or empty in the short form.
	CreatedAt string `yaml:"createdAt,scalar" json:"createdAt"`
}

// Created is when the lock was written, as it says itself; zero in the short form.
func (l Lock) Created() time.Time {
	t, err := time.Parse(time.RFC3339, l.CreatedAt)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Image is an image by name and by digest.
type Image struct {
	// Ref is a reference as people write it: repository, and a tag or none.
	Ref string `yaml:"ref,required" json:"ref"`
	// Digest is sha256:<64 hex>.
	Digest string `yaml:"digest,scalar" json:"digest"`
}

// NamedImage is an Image beside the main one.
type NamedImage struct {
	Name   string `yaml:"name,required" json:"name"`
	Ref    string `yaml:"ref,required" json:"ref"`
	Digest string `yaml:"digest,scalar" json:"digest"`
}

// Packaging is the package of manifests in the source repository.
type Packaging struct {
	// Kind is Helm or Kustomize.
	Kind string `yaml:"kind,required" json:"kind"`
	// SourceRepo is the URL of the source repository; empty in the short
	// form, where the pipeline file names it.
	SourceRepo string `yaml:"sourceRepo" json:"sourceRepo"`
	// SourcePath is the package's directory, slash-separated and relative to
	// the repository's root, "." for the root itself.
	SourcePath string `yaml:"sourcePath,required" json:"sourcePath"`
}

// Repository is the reference without tag and digest.
func (i Image) Repository() string {
	repository, _ := i.split()
	return repository
}

// Tag is the reference's tag, or empty where it has none.
func (i Image) Tag() string {
	_, tag := i.split()
	return tag
}

// Pinned is the image by digest: repository@sha256:<64 hex>.
func (i Image) Pinned() string { return i.Repository() + "@" + i.Digest }

func (i Image) split() (repository, tag string) {
	ref, _, _ := strings.Cut(i.Ref, "@")
	// A colon before the last slash belongs to the registry's port.
	if colon := strings.LastIndexByte(ref, ':'); colon > strings.LastIndexByte(ref, '/') {
		return ref[:colon], ref[colon+1:]
	}
	return ref, ""
}

// Image returns the image without its name.
func (n NamedImage) Image() Image { return Image{n.Ref, n.Digest} }

// Canonical encodes every field, in one order and with empty ones written out:
// two locks have equal encodings if and only if all fields are equal.
func (l Lock) Canonical() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if l.Images == nil {
		l.Images = []NamedImage{}
	}
	if err := enc.Encode(l); err != nil {
		panic("lock: strings cannot fail to encode: " + err.Error())
	}
	return b.Bytes()
}

// Format writes l as a lock file, in the one order and style that the package
// documentation shows. Fields that the short form leaves out are left out
// where empty. It does not judge l; Parse of the result does.
func Format(l Lock) []byte {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(l.node()); err != nil {
		panic("lock: strings cannot fail to encode: " + err.Error())
	}
	return b.Bytes()
}

func (l Lock) node() *yaml.Node {
	created := text(l.CreatedAt)
	created.Style = yaml.SingleQuotedStyle
	root := &yaml.Node{Kind: yaml.MappingNode}
	if l.SchemaVersion != "" {
		add(root, "schemaVersion", text(l.SchemaVersion))
	}
	add(root, "releaseId", text(l.ReleaseID))
	add(root, "gitCommit", text(l.GitCommit))
	add(root, "image", l.Image.node())
	if len(l.Images) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, named := range l.Images {
			item := &yaml.Node{Kind: yaml.MappingNode}
			add(item, "name", text(named.Name))
			item.Content = append(item.Content, named.Image().node().Content...)
			list.Content = append(list.Content, item)
		}
		add(root, "images", list)
	}
	packaging := &yaml.Node{Kind: yaml.MappingNode}
	add(packaging, "kind", text(l.Packaging.Kind))
	if l.Packaging.SourceRepo != "" {
		add(packaging, "sourceRepo", text(l.Packaging.SourceRepo))
	}
	add(packaging, "sourcePath", text(l.Packaging.SourcePath))
	add(root, "packaging", packaging)
	if l.CreatedAt != "" {
		add(root, "createdAt", created)
	}
	return root
}

func (i Image) node() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	add(n, "ref", text(i.Ref))
	add(n, "digest", text(i.Digest))
	return n
}

// text is a string node: the encoder quotes it where YAML would read
// something else, such as a commit id of digits only.
func text(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

func add(m *yaml.Node, key string, value *yaml.Node) {
	m.Content = append(m.Content, text(key), value)
}
