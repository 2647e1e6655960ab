package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/bounded"
)

// Bounds on what is looked at.
const (
	maxFolders = 50_000
	maxDepth   = 12
	maxFile    = 1 << 20 // bytes of one file
)

// ErrNothing is returned if there is nothing to render.
var ErrNothing = errors.New("no Helm chart and no kustomization")

// Find returns what can be released of a source, in the order of names: gitops is the GitOps repository, which may be the source as well.
func Find(gitops, source fs.FS, o Options) ([]Draft, error) {
	t := &tree{files: source}
	if err := t.look(o); err != nil {
		return nil, err
	}
	own := t
	if !o.SameSource {
		own = &tree{files: gitops}
		if err := own.look(Options{Warn: o.Warn}); err != nil {
			return nil, err
		}
	}
	f := finder{Options: o, source: t, gitops: own, locks: own.findLocks()}
	f.applications = own.findApplications()
	drafts := f.deployed()
	switch {
	case o.Chart != "":
		drafts = f.upstream()
	case len(drafts) == 0:
		drafts = slices.Concat(f.charts(), f.kustomizations(), f.upstream())
	}
	drafts = slices.DeleteFunc(drafts, func(d Draft) bool { return !o.wants(d.SourcePath) })
	if len(drafts) == 0 {
		return nil, ErrNothing
	}
	for i := range drafts {
		f.complete(&drafts[i])
	}
	slices.SortStableFunc(drafts, func(a, b Draft) int { return strings.Compare(a.Name, b.Name) })
	unique(drafts)
	return drafts, nil
}

// wants reports whether a package is wanted.
func (o Options) wants(sourcePath string) bool {
	return len(o.SourcePaths) == 0 || slices.ContainsFunc(o.SourcePaths, func(pattern string) bool {
		matched, err := path.Match(path.Clean(pattern), sourcePath)
		return matched && err == nil
	})
}

// finder makes drafts of what is in two repositories.
type finder struct {
	Options
	source, gitops *tree
	locks          []found
	applications   []application
	wanted         map[string]bool // what Argo CD deploys, by the application's folder; nil before it was asked for
}

// tree is what a repository has, by folder.
type tree struct {
	files          fs.FS
	folders        []string
	yaml           []string // files outside of charts' templates
	charts         []string
	kustomizations map[string]kustomization
	unseen         []string // folders that a bound left out
}

// look visits all folders within the bounds, and those that the options name whatever their depth.
func (t *tree) look(o Options) error {
	if err := t.walk(".", 0); err != nil {
		return err
	}
	for _, dir := range o.SourcePaths {
		if slices.Contains(t.unseen, path.Clean(dir)) || slices.ContainsFunc(t.unseen, func(above string) bool { return strings.HasPrefix(path.Clean(dir), above+"/") }) {
			if err := t.walk(path.Clean(dir), 0); err != nil {
				return err
			}
		}
	}
	if len(t.unseen) > 0 && o.Warn != nil && len(o.SourcePaths) == 0 {
		o.Warn(fmt.Sprintf("not looked at: folders beyond %d levels and %d folders, %d in all and what is below, such as %s: name a package in them with --source-path",
			maxDepth, maxFolders, len(t.unseen), t.unseen[0]))
	}
	return nil
}

// walk visits a folder and those below. Folders of charts' templates and hidden folders are left out.
func (t *tree) walk(dir string, depth int) error {
	if len(t.folders) >= maxFolders || depth > maxDepth {
		t.unseen = append(t.unseen, dir)
		return nil
	}
	t.folders = append(t.folders, dir)
	entries, err := fs.ReadDir(t.files, dir)
	if err != nil {
		return fmt.Errorf("look for packages: %w", err)
	}
	chart := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "Chart.yaml" })
	if chart {
		t.charts = append(t.charts, dir)
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."), e.Name() == "node_modules", e.Name() == "testdata":
		case e.IsDir() && chart && slices.Contains([]string{"templates", "charts", "crds", "ci"}, e.Name()):
		case e.IsDir():
			if err := t.walk(name, depth+1); err != nil {
				return err
			}
		case slices.Contains([]string{".yaml", ".yml"}, path.Ext(name)):
			t.yaml = append(t.yaml, name)
		}
		if slices.Contains([]string{"kustomization.yaml", "kustomization.yml", "Kustomization"}, e.Name()) && !e.IsDir() {
			t.addKustomization(dir, name)
		}
	}
	return nil
}

// has reports whether a file exists.
func (t *tree) has(name string) bool {
	info, err := fs.Stat(t.files, name)
	return err == nil && !info.IsDir()
}

// subfolders returns the names of the folders right below one.
func (t *tree) subfolders(dir string) (names []string) {
	for _, folder := range t.folders {
		if path.Dir(folder) == dir && folder != dir {
			names = append(names, path.Base(folder))
		}
	}
	return names
}

// decode decodes the first document of a file, as far as it fits; it reports whether it could be read.
func (t *tree) decode(name string, into any) bool {
	data, err := t.read(name)
	return err == nil && yaml.Unmarshal(data, into) == nil
}

func (t *tree) read(name string) ([]byte, error) { return bounded.ReadFile(t.files, name, maxFile) }

// found is a lock directory.
type found struct {
	dir  string
	lock lock.Lock
}

// findLocks returns the lock directories of a repository.
func (t *tree) findLocks() (locks []found) {
	for _, name := range t.yaml {
		dir := path.Dir(name)
		if name != lock.CurrentFile(dir) {
			continue
		}
		if current, err := lock.Current(t.files, dir); err == nil {
			locks = append(locks, found{dir, current.Lock})
		}
	}
	return locks
}

// LockedSource returns the source repository that the locks of a repository name; "" if they name none, or several.
func LockedSource(files fs.FS) (sourceRepo string) {
	t := &tree{files: files}
	if t.look(Options{}) != nil {
		return ""
	}
	for _, l := range t.findLocks() {
		if repo := l.lock.Packaging.SourceRepo; repo != "" && sourceRepo != "" && repo != sourceRepo {
			return ""
		} else if repo != "" {
			sourceRepo = repo
		}
	}
	return sourceRepo
}

// complete fills in the lock directory, name and stages of a draft.
func (f *finder) complete(d *Draft) {
	if d.Name == "" {
		d.Name = f.name(d.SourcePath)
	}
	for i := range f.locks {
		l := &f.locks[i]
		named := slices.Contains(strings.Split(l.dir, "/"), d.Name)
		if d.Chart != "" && l.lock.Chart.URL() != d.Chart {
			continue
		}
		if named || len(f.locks) == 1 && (l.lock.Packaging.SourcePath == d.SourcePath || d.SourcePath == "") {
			d.Locks, d.Lock = l.dir, &l.lock
			d.Kind, d.SourcePath = l.lock.Packaging.Kind, l.lock.Packaging.SourcePath
			d.Found = append(d.Found, "locks in "+l.dir)
		}
	}
	if len(d.Stages) == 0 {
		for _, name := range f.Stages {
			d.Stages = append(d.Stages, Stage{Name: name})
		}
	}
	order(d.Stages)
	if d.Locks == "" {
		d.Locks = "locks/" + d.Name
	}
}

// name is that of the application in a package: its folder's, or that of the nearest folder above that says something.
func (f *finder) name(dir string) string {
	for at := dir; at != "."; at = path.Dir(at) {
		if names(path.Base(at)) && slug(path.Base(at)) != "" {
			return slug(path.Base(at))
		}
	}
	return slug(f.Repository)
}

// unique renames drafts of one name, by their folders and kinds.
func unique(drafts []Draft) {
	used := map[string]int{}
	for _, d := range drafts {
		used[d.Name]++
	}
	taken := map[string]bool{}
	for i := range drafts {
		d := &drafts[i]
		if used[d.Name] > 1 {
			if d.Name = slug(d.SourcePath); d.Name == "" {
				d.Name = slug(d.Locks[strings.LastIndexByte(d.Locks, '/')+1:])
			}
			if taken[d.Name] {
				d.Name += "-" + string(d.Kind)
			}
			if d.Lock == nil {
				d.Locks = "locks/" + d.Name
			}
		}
		taken[d.Name] = true
	}
}
