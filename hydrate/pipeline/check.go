package pipeline

import (
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/strictyaml"
)

var (
	stageName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,35}$`)
	longName  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`) // of pipelines, identities and gates
	// repository is the distribution specification's grammar of names behind a registry's host, which has a dot or a port.
	repository = regexp.MustCompile(`^([a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)+|localhost|[a-zA-Z0-9.-]+:[0-9]+|\[[0-9a-fA-F:]+\])(:[0-9]+)?` +
		`(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+$`)
	// releaseName and namespace match what Helm and Kubernetes accept.
	releaseName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	namespace   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	kubeVersion = regexp.MustCompile(`^v?[0-9]+\.[0-9]+(\.[0-9]+)?([-+][0-9A-Za-z.+-]+)?$`)
	branchName  = regexp.MustCompile(`^[\pL\pN_][\pL\pM\pN._-]*(/[\pL\pN_][\pL\pM\pN._-]*)*$`)
)

// layoutPrefix marks an artifact repository that is a directory.
const layoutPrefix = "oci-layout:"

// checker collects problems: one of each kind at each place, however many stages share the place.
type checker struct {
	problems strictyaml.Problems
	reported map[string]bool
	found    bool // whether there was a problem since somebody reset this, also one that was reported before
	// unexpanded are strings whose placeholders or decoding were reported: they are not checked further.
	unexpanded map[strictyaml.Pos]bool
	// ofRelease are strings with placeholders of a release.
	ofRelease map[strictyaml.Pos]bool
	// unrendered, unless nil, gets the placeholders of render that have no value, which concern only who renders.
	unrendered *strictyaml.Problems
}

func newChecker() *checker {
	return &checker{reported: make(map[string]bool), unexpanded: make(map[strictyaml.Pos]bool), ofRelease: make(map[strictyaml.Pos]bool)}
}

func (c *checker) add(pos strictyaml.Pos, format string, args ...any) {
	c.found = true
	if key := pos.String() + format; !c.reported[key] {
		c.reported[key] = true
		c.problems.Add(pos, format, args...)
	}
}

// all returns all problems as an error; nil if only placeholders of render have no value.
func (c *checker) all() error {
	if len(c.problems) == 0 {
		return nil
	}
	return slices.Concat(c.problems, *c.unrendered).Err()
}

func (c *checker) addProblems(ps strictyaml.Problems) {
	c.found = c.found || len(ps) > 0
	c.problems = append(c.problems, ps...)
	for _, p := range ps {
		c.unexpanded[p.Pos] = true
	}
}

// expand replaces the placeholders of the string n, and reports those without a value.
func (c *checker) expand(s scope, n *strictyaml.Node) string { return c.expandTo(s, n, c.add) }

// expandRender is expand for a string of render.
func (c *checker) expandRender(s scope, n *strictyaml.Node) string {
	if c.unrendered == nil {
		return c.expand(s, n)
	}
	return c.expandTo(s, n, c.unrendered.Add)
}

func (c *checker) expandTo(s scope, n *strictyaml.Node, add func(pos strictyaml.Pos, format string, args ...any)) string {
	if slices.ContainsFunc(releaseNames, func(name string) bool { return strings.Contains(n.Value, "{"+name+"}") }) {
		c.ofRelease[n.Pos] = true
	}
	return s.expand(n.Value, func(format string, args ...any) {
		c.unexpanded[n.Pos] = true
		add(n.Pos, format, args...)
	})
}

// rule describes the fault of a value, as the end of a sentence; it returns "" for a valid value.
type rule func(value string) string

// rule applies r to the string at path, or to every string in the list there, and reports whether all of them keep it. It
// skips what is absent or has another type: decoding reported it.
func (c *checker) rule(doc *strictyaml.Node, r rule, path ...any) (kept bool) {
	at := doc.Find(path...)
	if at == nil {
		return false
	}
	name := pathName(path)
	kept = true
	for _, n := range append([]*strictyaml.Node{at}, at.Items...) {
		if n.Kind == strictyaml.List {
			continue
		}
		if !n.IsString() || c.unexpanded[n.Pos] {
			kept = false
			continue
		}
		if msg := r(n.Value); msg != "" {
			c.add(n.Pos, "%s: %q %s", name, n.Value, msg)
			kept = false
		}
	}
	return kept
}

func pathName(path []any) string {
	var b strings.Builder
	for i, step := range path {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", step)
		case string:
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(step)
		}
	}
	return b.String()
}

// path expands the string n and reports whether it is a path in the repository.
func (c *checker) path(s scope, name string, n *strictyaml.Node) (value string, ok bool) {
	value = c.expand(s, n)
	if c.unexpanded[n.Pos] {
		return value, false
	}
	msg := RepositoryPath(value)
	if msg != "" {
		c.add(n.Pos, "%s: %q %s", name, value, msg)
	}
	return value, msg == ""
}

// RepositoryPath is a rule: a path in the GitOps repository.
func RepositoryPath(p string) string { return lock.PathFault(p, "the GitOps repository's root") }

// sourcePath is the rule for paths in the package.
func sourcePath(p string) string { return lock.PathFault(p, "the lock's sourcePath") }

// subdirectory is [RepositoryPath] without the root itself.
func subdirectory(p string) string {
	if p == "." {
		return "is the whole branch: name a directory"
	}
	if slices.ContainsFunc(strings.Split(p, "/"), func(name string) bool { return strings.EqualFold(name, ".git") }) {
		return "has a folder .git, which Git does not take"
	}
	return RepositoryPath(p)
}

// keyFile is the rule for public keys: a path in the repository, or a URI.
func keyFile(key string) string {
	if strings.Contains(key, "://") {
		return ""
	}
	return RepositoryPath(key)
}

func matches(re *regexp.Regexp, msg string) rule {
	return func(value string) string {
		if re.MatchString(value) {
			return ""
		}
		return msg
	}
}

func oneOf(values ...string) rule {
	return func(value string) string {
		if slices.Contains(values, value) {
			return ""
		}
		return "is not known: write " + strings.Join(values[:len(values)-1], ", ") + " or " + values[len(values)-1]
	}
}

// NotEmpty is a rule: a string with something in it.
func NotEmpty(value string) string {
	if value == "" {
		return "is empty"
	}
	return ""
}

// repositoryURL checks the URL at path. Its problem does not repeat the URL, which may hold a password.
func (c *checker) repositoryURL(doc *strictyaml.Node, path ...any) {
	n := doc.Find(path...)
	if !n.IsString() || n.Value == "" {
		return
	}
	if err := lock.CheckRepository(n.Value); err != nil {
		c.add(n.Pos, "%s %v", pathName(path), err)
	}
}

// check checks what does not depend on the stage.
func (p *Pipeline) check(c *checker) {
	c.rule(p.doc, matches(longName, "is not at most 63 lower-case letters, digits and dashes"), "name")
	c.rule(p.doc, NotEmpty, "extends")
	c.repositoryURL(p.doc, "sourceRepo")
	if n := p.doc.Find("lock"); n.IsString() {
		p.Lock, _ = c.path(scope{values: map[string]string{"pipeline": p.Name}, where: "in lock"}, "lock", n)
	}
	for name := range p.Identities {
		if !longName.MatchString(name) {
			c.add(p.doc.At("identities", name).Pos, "identity name %q is not lower-case letters, digits and dashes", name)
		}
	}
	if p.Stages != nil && len(p.Stages) == 0 {
		c.add(p.doc.At("stages").Pos, "stages: a pipeline has at least one stage")
	}
	p.checkGraph(c)
}

func (p *Pipeline) checkGraph(c *checker) {
	first := make(map[string]int)
	for i, s := range p.Stages {
		c.rule(p.doc, matches(stageName, "is not a stage name: at most 36 lower-case letters, digits and dashes"), "stages", i, "name")
		if j, dup := first[s.Name]; dup && s.Name != "" {
			c.add(p.doc.At("stages", i, "name").Pos, "stage %q is given twice, first in line %d", s.Name, p.doc.At("stages", j, "name").Line)
		} else {
			first[s.Name] = i
		}
	}
	for i, s := range p.Stages {
		at := []any{"stages", i, "after"}
		if s.After.All {
			at = append(at, "all")
			if n := p.doc.Find(at...); n != nil && len(n.Items) == 0 {
				c.add(n.Pos, "after.all is empty: name the stages")
			}
		}
		for j, name := range s.After.Stages {
			n := p.doc.At(append(slices.Clip(at), j)...)
			if !n.IsString() {
				continue
			}
			if _, ok := first[name]; !ok {
				c.add(n.Pos, "after names stage %q, which does not exist: there are %s", name, strings.Join(slices.Sorted(maps.Keys(first)), ", "))
			}
			if slices.Index(s.After.Stages, name) < j {
				c.add(n.Pos, "after names stage %q twice", name)
			}
		}
	}
	if _, cycle := sortStages(p.Stages); cycle != nil {
		i := slices.IndexFunc(p.Stages, func(s Stage) bool { return s.Name == cycle[0] })
		c.add(p.doc.At("stages", i, "after").Pos, "stages form a cycle: %s", strings.Join(cycle, " → "))
	}
}

// leaveOut takes the disabled stages out. What comes after nothing but them is a problem: it would come after nothing, or never.
func (p *Pipeline) leaveOut(c *checker) {
	for _, s := range p.Stages {
		if s.Disabled {
			p.off = append(p.off, s.Name)
		}
	}
	var stages []Stage
	declared := *p.doc.At("stages")
	declared.Items = nil
	for i, s := range p.Stages {
		if s.Disabled {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(s.After.Stages), p.Disables)
		if s.After.All && len(left) < len(s.After.Stages) || len(left) == 0 && len(s.After.Stages) > 0 {
			c.add(p.doc.At("stages", i, "after").Pos, "stage %q comes after a stage that is disabled (%s): name another one", s.Name, strings.Join(p.off, ", "))
		}
		s.After.Stages = left
		stages, declared.Items = append(stages, s), append(declared.Items, p.doc.At("stages", i))
	}
	if len(p.off) > 0 {
		p.Stages, p.doc = stages, p.doc.With("stages", &declared)
	}
}

// check checks one expanded stage. The error is one of reading key files.
func (e *effective) check(p *Pipeline, files fs.FS, c *checker) error {
	d := e.doc
	c.rule(d, func(name string) string {
		if len(name) > 53 || !releaseName.MatchString(name) {
			return "is not a Helm release name: at most 53 lower-case letters, digits, dashes and dots"
		}
		return ""
	}, "render", "releaseName")
	c.rule(d, matches(namespace, "is not a namespace: at most 63 lower-case letters, digits and dashes"), "render", "namespace")
	c.rule(d, matches(kubeVersion, `is not a Kubernetes version: write one like "1.34"`), "render", "kubeVersion")
	if n := d.At("render", "helm"); e.Render.Helm != nil && n.Tag == "!!int" && n.Value != "3" && n.Value != "4" {
		c.add(n.Pos, "render.helm: %s is not known: write 3 or 4", n.Value)
	}
	c.rule(d, NotEmpty, "render", "apiVersions")
	e.checkValues(c)
	c.rule(d, oneOf("deploy", "all", "none"), "render", "hooks")
	c.rule(d, RepositoryPath, "render", "overlay")
	c.rule(d, NotEmpty, "render", "image")
	c.rule(d, sourcePath, "render", "kustomize", "base")
	c.rule(d, RepositoryPath, "render", "kustomize", "components")
	c.rule(d, oneOf("deny", "allow"), "render", "nondeterminism")
	c.rule(d, NotEmpty, "render", "allowSecrets")
	c.rule(d, RepositoryPath, "render", "schemas")
	c.rule(d, oneOf("per-object", "single"), "render", "layout")
	if e.Render.Overlay != "" && e.Render.Kustomize != nil {
		c.add(d.At("render", "kustomize").Pos, "render: overlay and kustomize exclude each other: keep one")
	}
	if k := e.Render.Kustomize; k != nil && k.Image != "" && e.Render.Image != "" {
		c.add(d.At("render", "kustomize", "image").Pos, "render.kustomize.image: render.image says which image it is: remove one of the two keys")
	}
	if _, ok := e.Render.Set[""]; ok {
		c.add(d.At("render", "set").Pos, "render.set: a key is empty")
	}
	e.checkMirror(c)
	e.checkLedger(c)
	e.checkNotify(c)
	for _, role := range []string{"hydrator", "promoter"} {
		c.rule(d, NotEmpty, "sign", role, "key")
		c.rule(d, NotEmpty, "sign", role, "keyless", "token")
	}
	e.checkSigstore(c)
	e.checkSigners(c)
	if err := e.parseGates(p, files, c); err != nil {
		return err
	}
	return e.checkIdentities(files, c)
}

// sortStages orders stages topologically, otherwise as they are written. If that is impossible it returns a cycle, the first name
// repeated at the end. Unknown and repeated names in after constrain nothing: Load reports them.
func sortStages(stages []Stage) (order, cycle []string) {
	byName := make(map[string]Stage, len(stages)) // the first of each name
	for _, s := range slices.Backward(stages) {
		byName[s.Name] = s
	}
	placed := make(map[string]bool, len(stages))
	waitsFor := func(s Stage) int {
		return slices.IndexFunc(s.After.Stages, func(name string) bool {
			_, exists := byName[name]
			return exists && !placed[name]
		})
	}
	for len(order) < len(byName) {
		next := slices.IndexFunc(stages, func(s Stage) bool { return !placed[s.Name] && waitsFor(s) < 0 })
		if next < 0 {
			break
		}
		placed[stages[next].Name] = true
		order = append(order, stages[next].Name)
	}
	if len(order) == len(byName) {
		return order, nil
	}
	// Every stage left waits for another that is left: following these from any one of them ends in a cycle.
	at := stages[slices.IndexFunc(stages, func(s Stage) bool { return !placed[s.Name] })].Name
	var trail []string
	for !slices.Contains(trail, at) {
		trail = append(trail, at)
		s := byName[at]
		at = s.After.Stages[waitsFor(s)]
	}
	cycle = append(trail[slices.Index(trail, at):], at)
	slices.Reverse(cycle)
	return nil, cycle
}
