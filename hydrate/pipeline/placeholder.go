package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/strictyaml"
)

// maxExpanded bounds the bytes of an expanded string.
const maxExpanded = 64 << 10

// placeholder matches {name}, and {{anything}} before it: doubled braces belong to another template language.
var placeholder = regexp.MustCompile(`\{\{[^{}]*\}\}|\{[a-zA-Z][a-zA-Z0-9_.-]*\}`)

// scope has the values of placeholders at one place.
type scope struct {
	values map[string]string
	absent map[string]string // explains names that are known and have no value here
	images string            // explains the names of further images that are not known
	where  string            // names the scope in messages
}

// Further images are {images.NAME}, with the endings of {image}. Files are checked with a sample release, which has any image.
const (
	imagesPrefix = "images."
	anyName      = "*"
)

// releaseNames lists the placeholders whose value comes from the release.
var releaseNames = []string{"release", "commit", "image", "image.ref", "image.repository", "image.tag", "image.digest", "chart.version", "chart.digest"}

const noRelease = "has no value here: this is read before a release is known"

// stageScope returns the scope of what is read before a release is known.
func (p *Pipeline) stageScope(stage string) scope {
	s := scope{values: map[string]string{"pipeline": p.Name, "stage": stage}, absent: map[string]string{}, images: noRelease, where: "here"}
	for _, name := range releaseNames {
		s.absent[name] = noRelease
	}
	return s
}

// with adds the values of a release and a stage's vars.
func (s scope) with(l lock.Lock, vars map[string]string) scope {
	values := maps.Clone(s.values)
	maps.Copy(values, vars)
	absent := map[string]string{}
	for _, name := range releaseNames {
		what, _, _ := strings.Cut(name, ".")
		absent[name] = fmt.Sprintf("has no value: the lock of %s has no %s", l.ReleaseID, what)
	}
	values["release"] = l.ReleaseID
	if l.GitCommit != "" {
		values["commit"] = l.GitCommit
	}
	if l.Chart != (lock.Chart{}) {
		values["chart.version"], values["chart.digest"] = l.Chart.Version, l.Chart.Digest.String()
	}
	var names []string
	for _, image := range l.Images() {
		at := "image"
		if image.Name != "" {
			at, names = imagesPrefix+image.Name, append(names, image.Name)
		}
		values[at], values[at+".ref"] = image.Pinned(), image.Ref
		values[at+".repository"], values[at+".digest"] = image.Repository(), image.Digest.String()
		if tag := image.Tag(); tag != "" {
			values[at+".tag"] = tag
		} else {
			absent[at+".tag"] = fmt.Sprintf("has no value: the locked image %q has no tag", image.Ref)
		}
	}
	images := fmt.Sprintf("has no value: images of the lock of %s are named %s", l.ReleaseID, strings.Join(names, ", "))
	if names == nil {
		images = fmt.Sprintf("has no value: the lock of %s has no further images", l.ReleaseID)
	}
	return scope{values: values, absent: absent, images: images, where: "in stage " + s.values["stage"]}
}

// value returns the value of a placeholder, or why a name that is known has none.
func (s scope) value(name string) (value string, ok bool, why string) {
	if value, ok = s.values[name]; ok {
		return value, true, ""
	}
	if why = s.absent[name]; why != "" || !strings.HasPrefix(name, imagesPrefix) {
		return "", false, why
	}
	ending := ""
	if dot := strings.LastIndexByte(name, '.'); slices.Contains(releaseNames, "image"+name[dot:]) {
		ending = name[dot:]
	}
	value, ok = s.values[imagesPrefix+anyName+ending]
	return value, ok, s.images
}

// expand replaces the placeholders in text, in one pass. Those without a value are reported and stay.
func (s scope) expand(text string, report func(format string, args ...any)) string {
	size := len(text)
	return placeholder.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, "{{") {
			return found
		}
		name := found[1 : len(found)-1]
		value, ok, why := s.value(name)
		switch {
		case !ok && why != "":
			report("placeholder {%s} %s", name, why)
			return found
		case !ok:
			known := strings.ReplaceAll(strings.Join(slices.Sorted(maps.Keys(s.values)), "}, {"), anyName, "NAME")
			report("unknown placeholder {%s}: known %s are {%s}", name, s.where, known)
			return found
		}
		if size += len(value); size > maxExpanded {
			report("grows over %d bytes by its placeholders", maxExpanded)
			return found
		}
		return value
	})
}

// readVars reads the vars file of a stage: its scalar keys that may be placeholders, as written, those in maps with the keys above them
// and dots between. It returns nil if that
// failed with problems. Those of its name in the pipeline file go to c, and what is wrong in the file to own. The error is one of
// reading.
func (p *Pipeline) readVars(stage string, files fs.FS, c, own *checker) (map[string]string, error) {
	n := p.doc.Get("vars")
	if n.IsNull() {
		return map[string]string{}, nil
	}
	if !n.IsString() {
		return nil, nil
	}
	name, ok := c.path(p.stageScope(stage), "vars", n)
	if !ok {
		return nil, nil
	}
	data, err := strictyaml.ReadFile(files, name)
	if errors.Is(err, fs.ErrNotExist) {
		own.add(n.Pos, "vars file %s of stage %s does not exist", name, stage)
		return nil, nil
	} else if err != nil && isFolder(files, name) {
		own.add(n.Pos, "vars file %s of stage %s is a folder: name a file", name, stage)
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read vars of stage %s: %w", stage, err)
	}
	root, problems := strictyaml.Parse(name, data)
	if root == nil {
		own.addProblems(problems)
		return nil, nil
	}
	if root.Kind != strictyaml.Map {
		own.add(root.Pos, "vars: expected a map")
		return nil, nil
	}
	vars := make(map[string]string)
	addVars(vars, "", root, own)
	if len(own.problems) > 0 {
		return nil, nil
	}
	return vars, nil
}

// addVars adds the scalar keys of a map that may be placeholders. What lies in maps below the root may be meant for others: it is left out
// where it would be a placeholder that has a meaning of its own.
func addVars(vars map[string]string, prefix string, from *strictyaml.Node, own *checker) {
	for _, e := range from.Entries {
		name := prefix + e.Key
		builtIn := name == "pipeline" || name == "stage" || slices.Contains(releaseNames, name) || strings.HasPrefix(name, imagesPrefix)
		_, twice := vars[name]
		switch {
		case e.Key == "<<" && prefix == "":
			own.add(e.KeyPos, "vars: merge keys (<<) are not read: write the keys out")
		case e.Key == "<<" || e.Value.IsNull() || placeholder.FindString("{"+name+"}") != "{"+name+"}":
		case e.Value.Kind == strictyaml.Map:
			addVars(vars, name+".", e.Value, own)
		case e.Value.Kind != strictyaml.Scalar || builtIn && prefix != "":
		case builtIn:
			own.add(e.KeyPos, "vars: {%s} has a meaning of its own: rename the key", name)
		case twice:
			own.add(e.KeyPos, "vars: {%s} is given twice, as one key and as keys in maps: rename one", name)
		default:
			vars[name] = e.Value.Value
		}
	}
}
