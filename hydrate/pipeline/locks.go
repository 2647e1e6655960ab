package pipeline

import (
	"fmt"
	"io/fs"

	"github.com/lockage/lockage/hydrate/lock"
)

// CurrentLock reads the pipeline's newest release from the GitOps repository, with the source repository filled in. The error is
// [lock.ErrNoRelease] if it has none.
func (p *Pipeline) CurrentLock(files fs.FS) (lock.File, error) {
	f, err := lock.Current(files, p.Lock)
	f.Lock = f.From(p.SourceRepo)
	return f, err
}

// ExpandCurrent expands a stage for the current release, and returns that release's id.
func (p *Pipeline) ExpandCurrent(stage string, files fs.FS) (declared Expanded, release string, err error) {
	current, err := p.CurrentLock(files)
	if err == nil {
		declared, err = p.Expand(stage, current.Lock, files)
	}
	return declared, current.ReleaseID, err
}

// LockOf reads a release of the pipeline by its id, with the source repository filled in. The error is fs.ErrNotExist for an unknown one.
func (p *Pipeline) LockOf(files fs.FS, id string) (lock.File, error) {
	f, err := lock.Release(files, p.Lock, id)
	f.Lock = f.From(p.SourceRepo)
	return f, err
}

// FindRelease returns the id of the pipeline's one release that a name means: a whole id, or the beginning of one, see [lock.Find].
func (p *Pipeline) FindRelease(files fs.FS, name string) (string, error) {
	id, err := lock.Find(files, p.Lock, name)
	if err != nil {
		return "", fmt.Errorf("pipeline %s: %w", p.Name, err)
	}
	return id, nil
}
