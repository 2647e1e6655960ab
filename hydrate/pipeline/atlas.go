package pipeline

import (
	"path"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/strictyaml"
)

// atlas records what every pipeline and stage claims for itself, and reports what is claimed twice.
type atlas struct {
	names        map[string]string   // pipeline name to file
	repositories map[string]claimed  // artifact repository to who uses it
	mirrors      map[string][]mirror // directories by remote and branch
	owned        map[string]string   // who writes all of a branch, by remote and name
	branches     map[string]string   // who writes a branch, by remote and name
	folders      map[string]string   // a branch by each folder in the path of its name
}

// claimed is the file, and the key in it, that names a repository.
type claimed struct{ file, key string }

// mirror is one directory that a stage writes.
type mirror struct{ dir, owner string }

func (a *atlas) addPipeline(p *Pipeline, c *checker) {
	if p.Name == "" {
		return // reported
	}
	if file, dup := a.names[p.Name]; dup {
		c.add(p.doc.At("name").Pos, "pipeline name %q is taken by %s", p.Name, file)
		return
	}
	a.names[p.Name] = p.File
}

func (a *atlas) addStage(p *Pipeline, stage string, e effective, c *checker) {
	if n := p.doc.Find("artifacts"); n.IsString() {
		a.addRepository(p, stage, "artifacts", n, c)
	}
	if copies := p.doc.Find("copies"); copies != nil {
		for _, n := range copies.Items {
			if n.IsString() {
				a.addRepository(p, stage, "copies", n, c)
			}
		}
	}
	owner := "stage " + stage + " of " + p.File
	m := e.Mirror.withDefaults(stage)
	l := e.Ledger.withDefaults(p.Name, stage, m)
	a.addOwned(e, l.Remote, "ledger", "candidates", l.Candidates, "pipeline "+p.File, c)
	switch {
	case m.ShowsLive():
		a.addOwned(e, m.Remote, "mirror", "branch", m.Branch, owner, c)
	default:
		a.addOwned(e, l.Remote, "ledger", "live", l.Live, owner, c)
		if m != nil && m.Path != "" {
			a.addPlace(e, m, owner, c)
		}
	}
	if m.Reviewed() {
		a.addBranch(e, m.Remote, "mirror", "review", ReviewBranch(p.Name, stage), owner, c)
	}
}

// addOwned claims all of a branch, which a key names.
func (a *atlas) addOwned(e effective, remote, section, key, branch, owner string, c *checker) {
	place := remote + " " + branch
	other, taken := a.owned[place]
	if shared := a.mirrors[place]; !taken && len(shared) > 0 {
		other = shared[0].owner
	}
	if other != "" && other != owner {
		c.add(e.doc.At(section, key).Pos, "%s.%s: branch %s is written by %s: name a branch of its own, with {pipeline} and {stage} in it", section, key, branch, other)
		return
	}
	a.owned[place] = owner
	a.addBranch(e, remote, section, key, branch, owner, c)
}

// addPlace claims a stage's directory on its stage branch.
func (a *atlas) addPlace(e effective, m *Mirror, owner string, c *checker) {
	place := m.Remote + " " + m.Branch
	if other, taken := a.owned[place]; taken {
		c.add(e.doc.At("mirror", "branch").Pos, "mirror.branch: branch %s is written by %s: name another one", m.Branch, other)
	}
	for _, other := range a.mirrors[place] {
		if within(m.Path, other.dir) || within(other.dir, m.Path) {
			c.add(e.doc.At("mirror", "path").Pos, "mirror.path %q overlaps %q, which %s writes on branch %s of remote %s",
				m.Path, other.dir, other.owner, m.Branch, m.Remote)
		}
	}
	a.mirrors[place] = append(a.mirrors[place], mirror{m.Path, owner})
	a.addBranch(e, m.Remote, "mirror", "branch", m.Branch, owner, c)
}

// addBranch claims a branch. Git keeps a branch's name as a path: «a» and «a/b» exclude each other.
func (a *atlas) addBranch(e effective, remote, section, key, branch, owner string, c *checker) {
	name := remote + " " + branch
	if _, known := a.branches[name]; known {
		return
	}
	a.branches[name] = owner
	report := func(other, writer string) {
		c.add(e.doc.At(section, key).Pos, "%s.%s: Git has no branch %q beside %q, which %s writes: rename one of them",
			section, key, branch, strings.TrimPrefix(other, remote+" "), writer)
	}
	if inside, ok := a.folders[name]; ok {
		report(inside, a.branches[inside])
	}
	for folder := path.Dir(branch); folder != "." && folder != "/"; folder = path.Dir(folder) {
		above := remote + " " + folder
		if writer, ok := a.branches[above]; ok {
			report(above, writer)
		}
		a.folders[above] = name
	}
}

func (a *atlas) addRepository(p *Pipeline, stage, key string, n *strictyaml.Node, c *checker) {
	name := c.expand(p.stageScope(stage), n)
	if c.unexpanded[n.Pos] {
		return
	}
	if dir, ok := strings.CutPrefix(name, layoutPrefix); ok {
		if dir == "" {
			c.add(n.Pos, "%s: oci-layout: names no directory", key)
		}
		name = layoutPrefix + path.Clean(dir)
	} else if strings.Contains(name, "@") {
		c.add(n.Pos, "%s names a user or a digest: write the registry's host and a name only; credentials come from docker login", key)
	} else if !repository.MatchString(name) {
		c.add(n.Pos, "%s: %q is not a repository: write the registry's host and a lower-case name, without tag, as ghcr.io/acme/app-manifests, or oci-layout:DIR", key, name)
	}
	place := name
	if !strings.HasPrefix(name, layoutPrefix) {
		place = lock.NormalRepository(name)
	}
	other, taken := a.repositories[place]
	switch {
	case taken && other.file != p.File:
		c.add(n.Pos, "%s: repository %s is used by %s: one repository a pipeline", key, name, other.file)
	case taken && other.key != key:
		c.add(n.Pos, "%s: repository %s is the pipeline's own: a copy is another one", key, name)
	default:
		a.repositories[place] = claimed{p.File, key}
	}
}

// within reports whether directory dir is base or lies below it.
func within(dir, base string) bool {
	return dir == base || strings.HasPrefix(dir, base+"/")
}
