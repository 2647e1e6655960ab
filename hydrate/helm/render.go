package helm

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"sigs.k8s.io/yaml"

	"github.com/lockage/lockage/hydrate"
)

// Render implements [hydrate.Package]. Manifests come definitions of custom resources first, then by template.
func (p *Package) Render(ctx context.Context, request hydrate.Request) (rendered hydrate.Rendered, err error) {
	defer func() { err = p.explain(err, request.Set) }()
	defer func() {
		if r := recover(); r != nil {
			rendered, err = hydrate.Rendered{}, fmt.Errorf("render chart %s: %v", p.chart.Name(), r)
		}
	}()
	if err := check(request); err != nil {
		return hydrate.Rendered{}, err
	}
	d, err := dialectOf(request)
	if err != nil {
		return hydrate.Rendered{}, err
	}
	user, err := mergeValues(d, request.Values, request.Set)
	if err != nil {
		return hydrate.Rendered{}, err
	}
	root, values, capabilities, err := d.instance(p, request, user)
	if err != nil {
		return hydrate.Rendered{}, err
	}
	warnings, err := p.schemas.validate(ctx, root, values)
	if err := cmp.Or(err, ctx.Err()); err != nil {
		return hydrate.Rendered{}, err
	}
	if request.IncludeCRDs {
		rendered.Manifests = p.definitions(root)
	}
	result, err := p.execute(ctx, d, root, values, capabilities, request)
	if err != nil {
		return hydrate.Rendered{}, err
	}
	rendered.Random, rendered.Generated = result.Random, result.Generated
	rendered.Warnings = slices.Concat(p.warnings, warnings, lookupWarning(result.Lookups))
	if err := collect(d, result.Files, request.Hooks, &rendered); err != nil {
		return hydrate.Rendered{}, err
	}
	return rendered, p.checkOutput(rendered.Manifests)
}

// check refuses a request that means nothing.
func check(request hydrate.Request) error {
	if request.KubeVersion == "" {
		return errors.New("no Kubernetes version; set render.kubeVersion to that of the stage's cluster")
	}
	if err := chartutil.ValidateReleaseName(request.ReleaseName); err != nil {
		return fmt.Errorf("release name %q: %w", request.ReleaseName, err)
	}
	if !slices.Contains([]hydrate.Hooks{hydrate.HooksDeploy, hydrate.HooksAll, hydrate.HooksNone}, request.Hooks) {
		return fmt.Errorf("hooks %q is none of %q, %q and %q", request.Hooks, hydrate.HooksDeploy, hydrate.HooksAll, hydrate.HooksNone)
	}
	return nil
}

func namespace(request hydrate.Request) string { return cmp.Or(request.Namespace, "default") }

func kubeVersionError(request hydrate.Request, err error) error {
	return fmt.Errorf("kubeVersion %q: %w; write it like 1.34", request.KubeVersion, err)
}

func (p *Package) incompatible(version string) error {
	return fmt.Errorf("chart %s asks for Kubernetes %s; render.kubeVersion is %s", p.chart.Name(), p.chart.Metadata.KubeVersion, version)
}

// definitions returns the content of crds/ folders: of a document that occurs twice, by aliases say, Helm installs the first.
func (p *Package) definitions(root *instance) (manifests []hydrate.Manifest) {
	met := map[[sha256.Size]byte]bool{}
	for _, crd := range root.definitions {
		for i, document := range p.documents[address(crd.data)] {
			if !met[document.hash] {
				met[document.hash] = true
				manifests = append(manifests, hydrate.Manifest{Source: crd.name, Document: i + 1, Data: document.data, Fixed: true})
			}
		}
	}
	return manifests
}

const maxNamedTemplates = 3 // in one warning

// lookupWarning names the templates that called lookup.
func lookupWarning(templates []string) []string {
	if len(templates) == 0 {
		return nil
	}
	more := ""
	if n := len(templates) - maxNamedTemplates; n > 0 {
		templates, more = templates[:maxNamedTemplates], fmt.Sprintf(" and %d more", n)
	}
	return []string{fmt.Sprintf("%s%s: lookup finds nothing here, as in helm template", strings.Join(templates, ", "), more)}
}

// collect splits the rendered files into documents and leaves out notes, partials and the hooks not asked for.
func collect(d dialect, files map[string]string, hooks hydrate.Hooks, rendered *hydrate.Rendered) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(path.Base(name), "_") || strings.HasSuffix(name, "NOTES.txt") {
			continue
		}
		for i, document := range d.documents(files[name]) {
			keep, warning, err := wanted(document, hooks)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: document %d: %w", name, i+1, err))
				continue
			}
			if warning != "" {
				rendered.Warnings = append(rendered.Warnings, fmt.Sprintf("%s: document %d: %s", name, i+1, warning))
			}
			if keep {
				rendered.Manifests = append(rendered.Manifests, hydrate.Manifest{Source: name, Document: i + 1, Data: document})
			}
		}
	}
	return errors.Join(problems...)
}

// events are those that Helm knows, and whether a deployment runs the hooks on them.
var events = map[release.HookEvent]bool{
	release.HookPreInstall: true, release.HookPostInstall: true, release.HookPreUpgrade: true, release.HookPostUpgrade: true,
	release.HookPreDelete: false, release.HookPostDelete: false, release.HookPreRollback: false, release.HookPostRollback: false,
	release.HookTest: false, "test-success": false,
}

// escapesLetters reports whether a document has escapes of YAML that may be a letter, dot or slash: \x2e, \u002e, \U0000002e, or a
// broken line.
func escapesLetters(document []byte) bool {
	for {
		_, rest, found := bytes.Cut(document, []byte{'\\'})
		if !found || len(rest) == 0 {
			return false
		}
		if bytes.IndexByte([]byte("xuU\r\n"), rest[0]) >= 0 {
			return true
		}
		document = rest
	}
}

// wanted reports whether a document is rendered. Like Helm it drops hooks on an unknown event, with a warning.
func wanted(document []byte, hooks hydrate.Hooks) (keep bool, warning string, err error) {
	// This spares the parsing of nearly all documents; only an escape could hide the annotation from it.
	if !bytes.Contains(document, []byte(release.HookAnnotation)) && !escapesLetters(document) {
		return true, "", nil
	}
	var head releaseutil.SimpleHead
	if err := yaml.Unmarshal(document, &head); err != nil {
		return false, "", errors.New(cleanYAML(err))
	}
	if head.Metadata == nil {
		return true, "", nil
	}
	annotation, isHook := head.Metadata.Annotations[release.HookAnnotation]
	if !isHook {
		return true, "", nil
	}
	deploys := false
	for event := range strings.SplitSeq(annotation, ",") {
		deploy, known := events[release.HookEvent(strings.ToLower(strings.TrimSpace(event)))]
		if !known {
			return false, fmt.Sprintf("%s %s is left out, as by Helm: it is a hook on the unknown event %q", head.Kind, head.Metadata.Name, event), nil
		}
		deploys = deploys || deploy
	}
	return hooks == hydrate.HooksAll || hooks == hydrate.HooksDeploy && deploys, "", nil
}

// splitDocuments splits a rendered file as releaseutil.SplitManifests does, which cuts blanks off and asks nothing of YAML,
// and puts back the newline that ends a document (without it a literal block at the end would lose its own). The function
// itself spends more time in its regular expression, `(?:^|\s*\n)---\s*`, than all of YAML takes.
func splitDocuments(file string) (documents [][]byte) {
	const blanks = "\t\n\f\r "
	add := func(document string) {
		if document != "" {
			documents = append(documents, []byte(strings.TrimSpace(document)+"\n"))
		}
	}
	file = strings.TrimSpace(file)
	if rest, marker := strings.CutPrefix(file, "---"); marker {
		file = strings.TrimLeft(rest, blanks)
	}
	for {
		document, rest, more := strings.Cut(file, "\n---")
		if !more {
			add(document)
			return documents
		}
		add(strings.TrimRight(document, blanks))
		file = strings.TrimLeft(rest, blanks)
	}
}

// splitDocuments4 splits a rendered file as Helm 4 does: at the same places, but blanks at the end of a document stay, which
// a literal block may keep (`|+`).
func splitDocuments4(file string) (documents [][]byte) {
	file = strings.TrimLeftFunc(file, unicode.IsSpace)
	file, _ = strings.CutPrefix(file, "---")
	for more := true; more; {
		var document string
		if document, file, more = strings.Cut(file, "\n---"); strings.TrimSpace(document) == "" {
			continue
		}
		document = strings.TrimLeftFunc(document, unicode.IsSpace) + "\n"
		if more {
			document += "\n" // Helm adds one to the document's own
		}
		documents = append(documents, []byte(document))
	}
	return documents
}

var yamlError = regexp.MustCompile(`^(?:error converting YAML to JSON: |error unmarshaling JSON: |while decoding JSON: |yaml: |json: )+`)

func cleanYAML(err error) string { return yamlError.ReplaceAllString(err.Error(), "") }
