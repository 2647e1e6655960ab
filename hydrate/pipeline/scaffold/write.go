package scaffold

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
)

// Shared is what all pipelines of a repository have in common.
type Shared struct {
	Artifacts   string // the repository of artifacts; {pipeline} may be in it
	SourceRepo  string
	KubeVersion string
	Hydrator    string // the private keys, as sign has them; "" to leave keys out
	Promoter    string
	HydratorPub string // the public keys' files
	PromoterPub string
}

const schemaLine = "# yaml-language-server: $schema=https://raw.githubusercontent.com/lockage/lockage/main/docs/lockage.schema.json\n"

func header(b *strings.Builder) {
	fmt.Fprintf(b, "%sapiVersion: %s\nkind: %s\n", schemaLine, pipeline.APIVersion, pipeline.Kind)
}

// Defaults writes the file that the pipelines of a repository extend.
func Defaults(s Shared) []byte {
	var b strings.Builder
	b.WriteString("# What all pipelines have in common; each extends this file, and may override its keys.\n")
	header(&b)
	s.write(&b, "locks/{pipeline}")
	fmt.Fprintf(&b, "\nrender:\n  kubeVersion: %q # of your clusters: charts ask for it\n", s.KubeVersion)
	s.keys(&b)
	return []byte(b.String())
}

func (s Shared) write(b *strings.Builder, locks string) {
	fmt.Fprintf(b, "lock: %s # the folder of releases: lockage lock write or lockage lock discover adds to it\n", quote(locks))
	fmt.Fprintf(b, "artifacts: %s # the repository of signed manifests\n", quote(s.Artifacts))
	if s.SourceRepo != "" {
		fmt.Fprintf(b, "sourceRepo: %s # has the package; it is read at the locked commit only\n", quote(s.SourceRepo))
	}
}

func (s Shared) keys(b *strings.Builder) {
	if s.HydratorPub == "" {
		b.WriteString(`
# sign and identities are missing. lockage keys generate makes two keys, whose public halves belong into keys/; then:
# sign:
#   hydrator: {key: env://HYDRATOR_KEY}
#   promoter: {key: env://PROMOTER_KEY}
# identities:
#   hydrator: {key: keys/hydrator.pub}
#   promoter: {key: keys/promoter.pub}
`)
		return
	}
	fmt.Fprintf(b, `
sign: # private keys; never in this repository
  hydrator: {key: %s} # signs what was rendered
  promoter: {key: %s} # signs what may run

identities: # who is trusted: public keys, read at the policy ref
  hydrator: {key: %s}
  promoter: {key: %s}
`, quote(s.Hydrator), quote(s.Promoter), quote(s.HydratorPub), quote(s.PromoterPub))
}

// File writes the pipeline file. extends is the file of defaults, relative to it; without one it has all keys.
func (d Draft) File(s Shared, extends string, images bool) []byte {
	var b strings.Builder
	for _, line := range first(d.Found, maxComments) {
		fmt.Fprintf(&b, "# Made from %s.\n", comment(line))
	}
	header(&b)
	fmt.Fprintf(&b, "name: %s\n", d.Name)
	if extends != "" {
		fmt.Fprintf(&b, "extends: %s\n", quote(extends))
		if d.Locks != "locks/"+d.Name {
			fmt.Fprintf(&b, "lock: %s\n", quote(d.Locks))
		}
	} else {
		if d.Chart != "" {
			s.SourceRepo = ""
		}
		s.write(&b, d.Locks)
	}
	if d.Vars != "" {
		fmt.Fprintf(&b, "vars: %s # its keys become placeholders, such as {namespace}\n", quote(d.Vars))
	}
	kubeVersion := s.KubeVersion
	if extends != "" {
		kubeVersion = ""
	}
	d.render(&b, kubeVersion, images)
	if extends == "" {
		s.keys(&b)
	}
	d.stages(&b)
	return []byte(b.String())
}

func (d Draft) render(b *strings.Builder, kubeVersion string, images bool) {
	b.WriteString("\nrender:\n")
	start := b.Len()
	line := func(format string, args ...any) { fmt.Fprintf(b, "  "+format+"\n", args...) }
	if d.Kind == lock.Kustomize {
		switch {
		case d.Overlay != "":
			line("overlay: %s # in this repository", quote(d.Overlay))
		case d.Component != "":
			line("kustomize: {base: %s, components: [%s]}", quote(d.Base), quote(d.Component))
		default:
			line("kustomize: {base: %s} # in the package, which is at %s of the source", quote(d.Base), quote(d.SourcePath))
		}
		line("# image: name of the image in it that gets the locked digest (default: its repository)")
		if kubeVersion != "" {
			line("kubeVersion: %q # of your clusters, for validate", kubeVersion)
		}
		return
	}
	if d.Release != "" {
		line("releaseName: %s", quote(d.Release))
	}
	if d.Namespace == "" {
		d.Namespace = strings.TrimRight(d.Name[:min(len(d.Name), maxName-1-maxStage)], "-") + "-{stage}"
	}
	line("namespace: %s", quote(d.Namespace))
	if kubeVersion != "" {
		line("kubeVersion: %q # of your clusters: charts ask for it", kubeVersion)
	}
	if len(d.Values) > 0 {
		line("values: # later files win")
		for _, v := range d.Values {
			line("  - %s", v)
		}
	} else {
		line("# values: [values/{stage}.yaml] # files of this repository; later ones win")
	}
	if d.Chart == "" {
		d.set(line, images)
	}
	if b.Len() == start {
		line("{}")
	}
}

// set writes what gives the locked image to the chart; as a comment without an image.
func (d Draft) set(line func(format string, args ...any), images bool) {
	set := d.Set
	if len(set) == 0 {
		set = []string{`image: "{image}"`}
		images = false
	}
	if images {
		line("set: {%s} # the locked image, by digest", strings.Join(set, ", "))
		return
	}
	line("# With an image in the lock (lockage lock write --image REF), hand it to the chart by digest:")
	line("# set: {%s}", strings.Join(set, ", "))
}

func (d Draft) stages(b *strings.Builder) {
	b.WriteString("\n# A release goes through the stages in this order. auto: lockage promote --ready promotes as soon as the gates pass.\n")
	b.WriteString("stages:\n")
	for _, s := range d.Stages {
		lead := "  "
		switch {
		case s.Off != "" && d.Broken():
			fmt.Fprintf(b, "  # %s does not render yet: %s\n", s.Name, comment(s.Off))
		case s.Off != "":
			fmt.Fprintf(b, "  # %s is left out: %s\n", s.Name, comment(s.Off))
			lead = "  # "
		}
		fields := []string{"name: " + quote(s.Name)}
		if s.Auto {
			fields = append(fields, "auto: true")
		}
		switch {
		case len(s.after) == 1:
			fields = append(fields, "after: ["+quote(s.after[0])+"]")
		case len(s.after) > 1:
			quoted := make([]string, len(s.after))
			for i, name := range s.after {
				quoted[i] = quote(name)
			}
			fields = append(fields, "after: {all: ["+strings.Join(quoted, ", ")+"]}")
		}
		if len(s.Render) == 0 {
			fmt.Fprintf(b, "%s- {%s}\n", lead, strings.Join(fields, ", "))
			continue
		}
		fmt.Fprintf(b, "%s- %s\n", lead, fields[0])
		for _, field := range append(fields[1:], "render: {"+strings.Join(s.Render, ", ")+"}") {
			fmt.Fprintf(b, "%s  %s\n", lead, field)
		}
	}
	b.WriteString("# Gates of a stage, see docs/promotion.md:\n#   gates:\n#     - soak: {stage: staging, for: 2h}\n#     - approval: {by: [sre]}\n")
}

// maxComments bounds the lines at the top of a file.
const maxComments = 6

func first(lines []string, limit int) []string {
	if len(lines) > limit {
		return append(lines[:limit:limit], fmt.Sprintf("%d more like these", len(lines)-limit))
	}
	return lines
}

// maxComment bounds a reason in a comment.
const maxComment = 400

// comment makes one line of a text.
func comment(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxComment {
		text = strings.ToValidUTF8(text[:maxComment], "") + "…"
	}
	return text
}

// quote writes a string as YAML, within a list or map too: {stage} without quotes would be a map.
func quote(text string) string {
	if !strings.ContainsAny(text, "{}[],&*!|>'\"%@`#:") {
		if data, err := yaml.Marshal(text); err == nil && strings.TrimSpace(string(data)) == text {
			return text
		}
	}
	if strings.Contains(text, "://") && !strings.ContainsAny(text, "{}[],&*!|>'\"%@`# \t\r\n\u0085\u2028\u2029") {
		return text
	}
	return fmt.Sprintf("%q", text)
}
