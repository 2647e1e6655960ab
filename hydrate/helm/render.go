package helm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"sigs.k8s.io/yaml"

	"github.com/lockage/lockage/hydrate"
)

// Render implements [hydrate.Package]. Manifests come definitions of custom resources first, then by template.
func (p *Package) Render(ctx context.Context, request hydrate.Request) (hydrate.Rendered, error) {
	return p.render(ctx, request, nil)
}

// render renders for the first time, or again after change has changed the chart and its values.
func (p *Package) render(ctx context.Context, request hydrate.Request, change func(*chart.Chart, chartutil.Values)) (rendered hydrate.Rendered, err error) {
	defer func() {
		if r := recover(); r != nil {
			rendered, err = hydrate.Rendered{}, fmt.Errorf("render chart %s: %v", p.chart.Name(), r)
		}
	}()
	p.parse.Do(p.parseTemplates)
	rendered.Warnings = slices.Clone(p.warnings)
	c := clone(p.chart)
	values, err := p.values(c, request, &rendered)
	if err != nil {
		return hydrate.Rendered{}, err
	}
	if err := ctx.Err(); err != nil {
		return hydrate.Rendered{}, err
	}
	if request.IncludeCRDs {
		rendered.Manifests = p.definitions(c)
	}
	if change != nil {
		change(c, values)
	} else {
		reached := p.reach(c, values)
		rendered.Warnings = append(rendered.Warnings, reached.warning()...)
		if reached.volatile {
			tpl := reached.tpl
			rendered.Again = func(ctx context.Context) (hydrate.Rendered, error) {
				return p.render(ctx, request, func(c *chart.Chart, values chartutil.Values) { p.later(c, values, tpl) })
			}
		}
	}
	files, err := engine.Engine{}.Render(c, values)
	if err != nil {
		return hydrate.Rendered{}, templateError(err)
	}
	if err := ctx.Err(); err != nil {
		return hydrate.Rendered{}, err
	}
	if change != nil {
		for name, output := range files {
			files[name] = originalText(output)
		}
	}
	if err := collect(files, request.Hooks, &rendered); err != nil {
		return hydrate.Rendered{}, err
	}
	return rendered, nil
}

// definitions returns the content of crds/ folders: of a document that occurs twice, by aliases say, Helm installs the first.
func (p *Package) definitions(c *chart.Chart) (manifests []hydrate.Manifest) {
	met := map[string]bool{}
	for _, crd := range c.CRDObjects() {
		for i, document := range p.documents[crd.File] {
			if !met[string(document)] {
				met[string(document)] = true
				manifests = append(manifests, hydrate.Manifest{Source: crd.Filename, Document: i + 1, Data: document})
			}
		}
	}
	return manifests
}

// values decides which subcharts are part of c, and returns the values of its templates.
func (p *Package) values(c *chart.Chart, request hydrate.Request, rendered *hydrate.Rendered) (chartutil.Values, error) {
	capabilities, err := p.capabilities(request)
	if err != nil {
		return nil, err
	}
	if err := chartutil.ValidateReleaseName(request.ReleaseName); err != nil {
		return nil, fmt.Errorf("release name %q: %w", request.ReleaseName, err)
	}
	if !slices.Contains([]hydrate.Hooks{hydrate.HooksDeploy, hydrate.HooksAll, hydrate.HooksNone}, request.Hooks) {
		return nil, fmt.Errorf("hooks %q is none of %q, %q and %q", request.Hooks, hydrate.HooksDeploy, hydrate.HooksAll, hydrate.HooksNone)
	}
	user, err := mergeValues(request.Values, request.Set)
	if err != nil {
		return nil, err
	}
	if err := chartutil.ProcessDependenciesWithMerge(c, user); err != nil {
		return nil, fmt.Errorf("dependencies of chart %s: %w", c.Name(), err)
	}
	options := chartutil.ReleaseOptions{Name: request.ReleaseName, Namespace: cmp.Or(request.Namespace, "default"), Revision: 1, IsInstall: true}
	const skipSchemas = true // Helm's own check reads from network and host
	values, err := chartutil.ToRenderValuesWithSchemaValidation(c, user, options, capabilities, skipSchemas)
	if err != nil {
		return nil, fmt.Errorf("values of chart %s: %w", c.Name(), err)
	}
	merged, _ := values["Values"].(chartutil.Values)
	warnings, err := p.schemas.validate(c, merged)
	rendered.Warnings = append(rendered.Warnings, warnings...)
	return values, err
}

func (p *Package) capabilities(request hydrate.Request) (*chartutil.Capabilities, error) {
	if request.KubeVersion == "" {
		return nil, errors.New("no Kubernetes version; set render.kubeVersion to that of the stage's cluster")
	}
	version, err := chartutil.ParseKubeVersion(request.KubeVersion)
	if err != nil {
		return nil, fmt.Errorf("kubeVersion %q: %w; write it like 1.34", request.KubeVersion, err)
	}
	if want := p.chart.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, version.Version) {
		return nil, fmt.Errorf("chart %s asks for Kubernetes %s; render.kubeVersion is %s", p.chart.Name(), want, version.Version)
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	capabilities.APIVersions = slices.Concat(capabilities.APIVersions, request.APIVersions)
	return capabilities, nil
}

// collect splits the rendered files into documents and leaves out notes, partials and the hooks not asked for.
func collect(files map[string]string, hooks hydrate.Hooks, rendered *hydrate.Rendered) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(path.Base(name), "_") || strings.HasSuffix(name, "NOTES.txt") {
			continue
		}
		for i, document := range splitDocuments(files[name]) {
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

// letterEscape matches escapes of YAML that may be a letter, dot or slash: \x2e, \u002e, \U0000002e, or a broken line.
var letterEscape = regexp.MustCompile(`\\[xuU\r\n]`)

// wanted reports whether a document is rendered. Like Helm it drops hooks on an unknown event, with a warning.
func wanted(document []byte, hooks hydrate.Hooks) (keep bool, warning string, err error) {
	// This spares the parsing of nearly all documents; only an escape could hide the annotation from it.
	if !bytes.Contains(document, []byte(release.HookAnnotation)) && !letterEscape.Match(document) {
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

// Helm's errors repeat themselves: every template on the way adds `template:`, its file, that it was executing that file,
// and `error calling include`. File, line, the expression, and the last cause are what matters.
var (
	locationError  = regexp.MustCompile(`(?:parse|execution) error (?:at|in) \(([^)]+)\): `)
	executingError = regexp.MustCompile(`(?:error calling include: )?template: ([^ :]+)(:[0-9:]+): executing "([^"]*)" at (<.*?>): `)
	yamlError      = regexp.MustCompile(`^(?:error converting YAML to JSON: |error unmarshaling JSON: |while decoding JSON: |yaml: |json: )+`)
)

// maxMessage bounds a message of Helm's engine, in bytes.
const maxMessage = 2000

// templateError shortens an error of Helm's engine to a chain of `file:line:column: <expression>: ` and the cause.
func templateError(err error) error {
	text := locationError.ReplaceAllString(err.Error(), "$1: ")
	text = executingError.ReplaceAllStringFunc(text, func(step string) string {
		m := executingError.FindStringSubmatch(step)
		file, position, executing, expression := m[1], m[2], m[3], m[4]
		if executing != file { // a named template in the file
			expression = `in "` + executing + `": ` + expression
		}
		return file + position + ": " + expression + ": "
	})
	text = strings.TrimPrefix(text, "template: ")
	if len(text) > maxMessage { // of templates that include each other without end: keep both ends
		text = strings.ToValidUTF8(text[:maxMessage/2], "") + " … " + strings.ToValidUTF8(text[len(text)-maxMessage/2:], "")
	}
	return errors.New(text)
}

func cleanYAML(err error) string { return yamlError.ReplaceAllString(err.Error(), "") }
