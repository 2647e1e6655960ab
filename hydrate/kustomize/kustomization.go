package kustomize

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// kustomization is one kustomization file while it is checked.
type kustomization struct {
	types.Kustomization
	*build
	file     string // in the virtual tree
	dir      string
	lines    *yamlv3.Node // for line numbers only: kustomize itself decodes the file
	problems []error
	changed  bool
}

// judge refuses what would make kustomize run a program or use the network, and returns the file with remote bases of the
// source and locked images replaced.
func (b *build) judge(file string, data []byte) ([]byte, error) {
	k := &kustomization{build: b, file: file, dir: path.Dir(file), lines: new(yamlv3.Node)}
	if err := k.Unmarshal(data); err != nil {
		return nil, fmt.Errorf("%s: %w", b.where(file), err)
	}
	if yamlv3.Unmarshal(data, k.lines) != nil {
		k.lines = new(yamlv3.Node)
	}
	k.deprecated()
	k.changed = len(k.Bases) > 0 || len(k.ImageTags) > 0 //nolint:staticcheck // deprecated: moved as kustomize does, without its warning
	k.FixKustomization()
	b.openAPI = b.openAPI || len(k.OpenAPI) > 0
	k.near()
	for i := range k.Resources {
		k.base("resources", &k.Resources[i], false)
	}
	for i := range k.Components {
		k.base("components", &k.Components[i], true)
	}
	k.namedFiles(k.readable)
	k.plugins("generators", k.Generators)
	k.plugins("transformers", k.Transformers)
	k.plugins("validators", k.Validators)
	for _, chart := range k.HelmCharts {
		k.refuse("helmCharts", chart.Name, "helmCharts would run helm: lock the chart itself, or commit what it renders")
	}
	k.nameImage()
	for i := range k.Images {
		k.pin(&k.Images[i])
	}
	if err := errors.Join(k.problems...); err != nil {
		return nil, err
	}
	if !k.changed {
		return data, nil
	}
	return k.encode(data)
}

// deprecation matches kustomize's own warnings, which it writes to standard error.
var deprecation = regexp.MustCompile(`'(\w+)' is deprecated\. Please use '(\w+)' instead`)

// deprecated warns of the fields that kustomize is going to drop.
func (k *kustomization) deprecated() {
	for _, message := range *k.CheckDeprecatedFields() {
		if m := deprecation.FindStringSubmatch(message); m != nil {
			k.warnings = append(k.warnings, fmt.Sprintf("%s: %s is deprecated, use %s: `kustomize edit fix` changes it", k.field(m[1]), m[1], m[2]))
		}
	}
}

// encode replaces the changed lists of the file.
func (k *kustomization) encode(data []byte) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	text, err := yaml.YAMLToJSON(data)
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.where(k.file), err)
	}
	changed := map[string]any{"resources": k.Resources, "components": k.Components, "images": k.Images}
	for key := range fields {
		for _, name := range []string{"resources", "bases", "components", "images", "imageTags"} {
			if strings.EqualFold(key, name) { // as kustomize takes keys
				delete(fields, key)
			}
		}
	}
	for name, list := range changed {
		if fields[name], err = json.Marshal(list); err != nil {
			return nil, fmt.Errorf("%s: %w", k.where(k.file), err)
		}
	}
	return json.Marshal(fields)
}

// refuse records a problem at the place of an entry.
func (k *kustomization) refuse(field, entry, format string, args ...any) {
	k.problems = append(k.problems, fmt.Errorf("%s: %w", k.place(field, entry), fmt.Errorf(format, args...)))
}

// place returns file and line of an entry, or of its field.
func (k *kustomization) place(field, entry string) string { return k.at(lineOf(k.lines, field, entry)) }

// field returns file and line of a field.
func (k *kustomization) field(name string) string {
	for _, root := range k.lines.Content {
		for i := 0; i+1 < len(root.Content); i += 2 {
			if strings.EqualFold(root.Content[i].Value, name) {
				return k.at(root.Content[i].Line)
			}
		}
	}
	return k.at(0)
}

// at returns the file and a line of it, if that is known.
func (k *kustomization) at(line int) string {
	if line == 0 {
		return k.where(k.file)
	}
	name := within(rootOf(k.file), k.file)
	return strings.Replace(k.where(k.file), name, fmt.Sprintf("%s:%d", name, line), 1)
}

// lineOf finds the line of an entry below a field of a document, or else that of the field; 0 if neither exists.
func lineOf(document *yamlv3.Node, field, entry string) int {
	names := []string{field}
	switch field { // what deprecated fields became
	case "resources":
		names = append(names, "bases")
	case "helmCharts":
		names = append(names, "helmChartInflationGenerator")
	}
	line := 0
	for _, root := range document.Content {
		if root.Kind != yamlv3.MappingNode {
			return 0
		}
		for i := 0; i+1 < len(root.Content); i += 2 {
			key, value := root.Content[i], root.Content[i+1]
			if !slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, key.Value) }) {
				continue
			}
			if found := findScalar(value, entry); found != nil {
				return found.Line
			}
			if line == 0 {
				line = key.Line
			}
		}
	}
	return line
}

func findScalar(n *yamlv3.Node, value string) *yamlv3.Node {
	if n.Kind == yamlv3.ScalarNode && n.Value == value {
		return n
	}
	for _, child := range n.Content {
		if found := findScalar(child, value); found != nil {
			return found
		}
	}
	return nil
}

// near prefetches what the file names in the source.
func (k *kustomization) near() {
	if k.Prefetch == nil {
		return
	}
	var names []string
	add := func(entry string) {
		if name := path.Join(k.dir, entry); rootOf(name) == sourceRoot && !isRemote(entry) {
			names = append(names, within(sourceRoot, name))
		}
	}
	for _, entry := range slices.Concat(k.Resources, k.Components) {
		if r, ok := parseRemote(entry); ok && isRemote(entry) && r.repository == k.repository {
			names = append(names, r.path)
		} else {
			add(entry)
		}
	}
	k.namedFiles(func(_, entry string) { add(entry) })
	k.prefetch(names...)
}

// namedFiles calls named for every file that the kustomization names, resources and plugins aside.
func (k *kustomization) namedFiles(named func(field, name string)) {
	visit := func(field, name string) {
		if name != "" {
			named(field, name)
		}
	}
	for _, name := range k.Crds {
		visit("crds", name)
	}
	for _, name := range k.Configurations {
		visit("configurations", name)
	}
	visit("openapi", k.OpenAPI["path"])
	for _, patch := range k.Patches {
		visit("patches", patch.Path)
	}
	for _, patch := range k.PatchesJson6902 { //nolint:staticcheck // kustomize still reads them
		visit("patchesJson6902", patch.Path)
	}
	for _, patch := range k.PatchesStrategicMerge { //nolint:staticcheck // kustomize still reads them
		if !strings.Contains(string(patch), "\n") { // else it is the patch itself
			visit("patchesStrategicMerge", string(patch))
		}
	}
	for _, replacement := range k.Replacements {
		visit("replacements", replacement.Path)
	}
	generator := func(field string, sources types.KvPairSources) {
		for _, source := range sources.FileSources {
			if _, file, ok := strings.Cut(source, "="); ok {
				source = file
			}
			visit(field, source)
		}
		for _, source := range sources.EnvSources {
			visit(field, source)
		}
	}
	for _, args := range k.ConfigMapGenerator {
		generator("configMapGenerator", args.KvPairSources)
	}
	for _, args := range k.SecretGenerator {
		generator("secretGenerator", args.KvPairSources)
	}
}

// readable refuses a file that would be fetched, or that is outside of the kustomization's folder.
func (k *kustomization) readable(field, name string) {
	switch {
	case isRemoteFile(name):
		k.refuse(field, name, "%s would be fetched from the network: commit the file", field)
	case path.IsAbs(name):
		k.refuse(field, name, "%s: %s is an absolute path: write it relative to the kustomization", field, name)
	case !below(path.Join(k.dir, name), k.dir):
		k.refuse(field, name, "%s: %s lies outside of the kustomization's folder, which kustomize does not read", field, name)
	}
}

func below(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// base checks one entry of resources or components. It replaces a remote base by the folder of the source.
func (k *kustomization) base(field string, entry *string, folder bool) {
	switch {
	case k.tree.err != nil: // reported by the entry before
		return
	case isRemote(*entry):
		k.remote(field, entry)
		return
	case path.IsAbs(*entry):
		k.refuse(field, *entry, "%s: %s is an absolute path: write it relative to the kustomization", field, *entry)
		return
	}
	target := path.Join(k.dir, *entry)
	if k.file != generatedFile && rootOf(target) != rootOf(k.file) {
		k.refuse(field, *entry, "%s: %s leads out of the repository", field, *entry)
		return
	}
	switch p := k.tree.lookup(target); {
	case p.err != nil:
		k.refuse(field, *entry, "%s: %s: %w", field, *entry, p.err)
	case !p.folder && folder:
		k.refuse(field, *entry, "%s: %s is a file, not a folder", field, *entry)
	case p.folder && !k.nest(k.dir, named{p.real, folder}):
		k.refuse(field, *entry, "%s: components nest more than %d deep, or in a circle", field, maxComponentLevels)
	case !p.folder && !below(p.real, k.dir):
		k.refuse(field, *entry, "%s: %s lies outside of the kustomization's folder, from where kustomize takes folders only", field, *entry)
	}
}

func (k *kustomization) remote(field string, entry *string) {
	r, ok := parseRemote(*entry)
	if !ok {
		k.refuse(field, *entry, "%s: a remote base that names no repository and folder", field)
		return
	}
	if r.repository != k.repository {
		k.refuse(field, *entry, "%s: remote base %s is not of the source repository %s: what the lock does not name is not fetched; commit a copy",
			field, r, k.repository)
		return
	}
	target := path.Join(sourceRoot, r.path)
	p := k.tree.lookup(target)
	switch {
	case p.err != nil && !errors.Is(p.err, fs.ErrNotExist):
		k.refuse(field, *entry, "%s: %w", field, p.err)
		return
	case p.err != nil || !p.folder:
		k.refuse(field, *entry, "%s: %s is not a folder of the source at %.12s", field, r.path, k.Commit)
		return
	case !k.nest(k.dir, named{p.real, field == "components"}):
		k.refuse(field, *entry, "%s: components nest more than %d deep, or in a circle", field, maxComponentLevels)
		return
	}
	const shortest = 7 // of abbreviated commits
	if r.ref != "" && (len(r.ref) < shortest || !strings.HasPrefix(k.Commit, strings.ToLower(r.ref))) {
		warning := fmt.Sprintf("%s: ref %s of remote base %s is not the locked commit; %s is read at %.12s", k.place(field, *entry), r.ref, r, r.path, k.Commit)
		if !slices.Contains(k.warnings, warning) {
			k.warnings = append(k.warnings, warning)
		}
	}
	*entry = relative(k.dir, target)
	k.changed = true
}

// nameImage adds to the overlay itself an entry for the image that becomes the release's own, where it has none.
func (k *kustomization) nameImage() {
	name := k.Overlay.Options.Image
	named := slices.ContainsFunc(k.Images, func(image types.Image) bool { return image.Name == name })
	if _, has := k.own(); has && name != "" && !named && k.dir == k.tree.lookup(k.root).real {
		k.Images = append(k.Images, types.Image{Name: name})
	}
}

// own returns the release's own image; not ok if it has none.
func (b *build) own() (image types.Image, ok bool) {
	for _, locked := range b.Overlay.Images {
		if locked.Name == "" {
			return types.Image{NewName: locked.Repository(), Digest: locked.Digest.String()}, true
		}
	}
	return types.Image{}, false
}

// pin sets an image that names the repository of a locked one, or has the name that is to become the release's own, to the locked digest.
func (k *kustomization) pin(image *types.Image) {
	name := k.Overlay.Options.Image
	if own, has := k.own(); has && name != "" && (image.Name == name || image.NewName == name) {
		own.Name, k.changed = image.Name, true
		*image = own
		return
	}
	for _, name := range []string{image.NewName, image.Name} {
		for _, locked := range k.Overlay.Images {
			if name != "" && locked.IsOf(name) {
				*image = types.Image{Name: image.Name, NewName: name, Digest: locked.Digest.String()}
				k.changed = true
				return
			}
		}
	}
}
