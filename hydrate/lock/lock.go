package lock

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"go.yaml.in/yaml/v3"
)

// SchemaVersion is the only schema version that this package reads and writes.
const SchemaVersion = "v1"

// Kind is a kind of packaging: it selects the renderer.
type Kind string

// The kinds of packaging.
const (
	Helm      Kind = "helm"
	Kustomize Kind = "kustomize"
	Packaged  Kind = "chart" // a packaged chart of a repository, which Helm renders
)

// Lock is one release.
type Lock struct {
	SchemaVersion string       `yaml:"schemaVersion" json:"schemaVersion"`          // SchemaVersion, or empty in the short form
	ReleaseID     string       `yaml:"releaseId,required" json:"releaseId"`         // "git-" and GitCommit, and "-" and 12 digits of the meaning in a further release of the commit; or [Chart.ReleaseID]
	GitCommit     string       `yaml:"gitCommit,scalar" json:"gitCommit,omitempty"` // the source commit, 40 lower-case hex digits; "" for a packaged chart
	Chart         Chart        `yaml:"chart" json:"chart,omitzero"`                 // zero but for a packaged chart
	Image         Image        `yaml:"image" json:"image,omitzero"`                 // the application's; zero for a package without an image of its own
	Others        []NamedImage `yaml:"images" json:"images"`                        // their names are unique
	Packaging     Packaging    `yaml:"packaging,required" json:"packaging"`         // locates the manifests in the source
	CreatedAt     string       `yaml:"createdAt,scalar" json:"createdAt"`           // an RFC 3339 time as written, or empty in the short form
}

// Images returns all images of the release, Image first and without a name, if there is one.
func (l Lock) Images() []NamedImage {
	if l.Image == (Image{}) {
		return l.Others
	}
	return append([]NamedImage{{Image: l.Image}}, l.Others...)
}

// Revision returns what the release was made from: the source commit, or the digest of a chart's archive, sha256:<64 hex>.
func (l Lock) Revision() string { return cmp.Or(l.GitCommit, l.Chart.Digest.String()) }

// Tagged returns the digest that the tags of the release's artifacts name: that of its own image, or of a chart's archive; "" for neither.
func (l Lock) Tagged() digest.Digest { return cmp.Or(l.Image.Digest, l.Chart.Digest) }

// SourceURL returns the place of what is rendered: the source repository, or a chart in its repository.
func (l Lock) SourceURL() string {
	if l.Packaging.Kind == Packaged {
		return l.Chart.URL()
	}
	return l.Packaging.SourceRepo
}

// Created parses CreatedAt. It returns the zero time in the short form.
func (l Lock) Created() time.Time {
	t, _ := time.Parse(time.RFC3339, l.CreatedAt)
	return t
}

// Image is an image by reference and by digest.
type Image struct {
	Ref    string        `yaml:"ref,required" json:"ref"`     // as people write it: the repository, with or without a tag
	Digest digest.Digest `yaml:"digest,scalar" json:"digest"` // sha256:<64 hex>
}

// NamedImage is an image and its name in the lock.
type NamedImage struct {
	Name string `yaml:"name,required" json:"name"`
	Image
}

// Packaging is the package of manifests in the source repository.
type Packaging struct {
	Kind       Kind   `yaml:"kind,required" json:"kind"`
	SourceRepo string `yaml:"sourceRepo" json:"sourceRepo,omitempty"` // a URL; empty in the short form, where the pipeline file names it
	SourcePath string `yaml:"sourcePath" json:"sourcePath,omitempty"` // of the folder, relative to the repository's root; "." for the root
}

// Repository returns the reference without tag and digest.
func (i Image) Repository() string {
	repository, _ := i.split()
	return repository
}

// Tag returns the reference's tag, or "" if it has none.
func (i Image) Tag() string {
	_, tag := i.split()
	return tag
}

// Pinned returns the image by digest: repository@sha256:<64 hex>; "" for none.
func (i Image) Pinned() string {
	if i == (Image{}) {
		return ""
	}
	return i.Repository() + "@" + i.Digest.String()
}

// IsOf reports whether the image is of that repository, however either is spelled.
func (i Image) IsOf(repository string) bool {
	return NormalRepository(i.Repository()) == NormalRepository(repository)
}

// NormalRepository returns the one spelling of a repository: the host in lower case and without the port that is the default, and
// short names of Docker Hub written out (nginx is docker.io/library/nginx, acme/app docker.io/acme/app).
func NormalRepository(repository string) string {
	const hub = "docker.io"
	host, rest, slash := strings.Cut(repository, "/")
	lower := strings.ToLower(host)
	if !slash || !strings.ContainsAny(host, ".:") && host != "localhost" && host == lower {
		host, rest = hub, repository
	} else {
		host = strings.TrimSuffix(strings.TrimSuffix(lower, ":443"), ".")
	}
	switch host {
	case hub, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		host = hub
		if !strings.Contains(rest, "/") {
			rest = "library/" + rest
		}
	}
	return host + "/" + rest
}

func (i Image) split() (repository, tag string) {
	ref, _, _ := strings.Cut(i.Ref, "@")
	// A colon before the last slash belongs to the registry's port.
	if colon := strings.LastIndexByte(ref, ':'); colon > strings.LastIndexByte(ref, '/') {
		return ref[:colon], ref[colon+1:]
	}
	return ref, ""
}

// From returns the lock with the source repository of its pipeline, where the short form leaves it out.
func (l Lock) From(sourceRepo string) Lock {
	if l.Packaging.Kind == Packaged {
		return l
	}
	l.Packaging.SourceRepo = cmp.Or(l.Packaging.SourceRepo, sourceRepo)
	return l
}

// Canonical encodes what the lock means: the long form without CreatedAt, in one order. Equal encodings are
// equal releases, however often a lock was written again. [Lock.From] fills in what the short form leaves out.
func (l Lock) Canonical() []byte {
	var b bytes.Buffer
	l.SchemaVersion, l.CreatedAt = SchemaVersion, ""
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if l.Others == nil {
		l.Others = []NamedImage{}
	}
	if err := enc.Encode(l); err != nil {
		panic("lock: strings cannot fail to encode: " + err.Error())
	}
	return b.Bytes()
}

// Meaning is the digest of what the lock means, see [Lock.Canonical].
func (l Lock) Meaning() digest.Digest { return digest.FromBytes(l.Canonical()) }

// shortDigits is how much of a digest an id shows.
const shortDigits = 12

// furtherID returns the id of the lock as a further release of its commit, with other images, say: the digits are of what it means but
// for the id.
func (l Lock) furtherID() string {
	l.ReleaseID = ""
	return "git-" + l.GitCommit + "-" + l.Meaning().Encoded()[:shortDigits]
}

// Format writes l as the package documentation shows, without empty fields. Only Parse of the result validates it.
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
	others := &yaml.Node{Kind: yaml.SequenceNode}
	for _, image := range l.Others {
		others.Content = append(others.Content, image.node(entry{"name", text(image.Name)}))
	}
	created := text(l.CreatedAt)
	created.Style = yaml.SingleQuotedStyle
	return mapping(
		entry{"schemaVersion", text(l.SchemaVersion)},
		entry{"releaseId", text(l.ReleaseID)},
		entry{"gitCommit", text(l.GitCommit)},
		entry{"chart", mapping(
			entry{"repo", text(l.Chart.Repo)},
			entry{"name", text(l.Chart.Name)},
			entry{"version", text(l.Chart.Version)},
			entry{"digest", text(l.Chart.Digest.String())})},
		entry{"image", l.Image.node()},
		entry{"images", others},
		entry{"packaging", mapping(
			entry{"kind", text(string(l.Packaging.Kind))},
			entry{"sourceRepo", text(l.Packaging.SourceRepo)},
			entry{"sourcePath", text(l.Packaging.SourcePath)})},
		entry{"createdAt", created})
}

// node encodes the image behind the entries before.
func (i Image) node(before ...entry) *yaml.Node {
	return mapping(append(before, entry{"ref", text(i.Ref)}, entry{"digest", text(i.Digest.String())})...)
}

// text makes a string node: the encoder quotes it if YAML would read something else, such as a commit id of digits only.
func text(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// entry is a key of a map and its value.
type entry struct {
	key   string
	value *yaml.Node
}

// mapping makes a map of all entries that are not empty.
func mapping(entries ...entry) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode}
	for _, e := range entries {
		if e.value.Value != "" || len(e.value.Content) > 0 {
			m.Content = append(m.Content, text(e.key), e.value)
		}
	}
	return m
}
