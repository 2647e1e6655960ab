package lock

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/strictyaml"
)

// MaxReleases bounds the files of a lock directory.
const MaxReleases = 100_000

const currentName = "current.yaml"

// File is a lock and the file in a lock directory that it was read from.
type File struct {
	Lock
	Path   string        // slash-separated, relative to the file system's root
	Data   []byte        // the file's content
	Digest digest.Digest // the SHA-256 of Data
}

// absent is an fs.ErrNotExist that says what to do.
type absent string

func (a absent) Error() string { return string(a) }

func (absent) Is(target error) bool { return target == fs.ErrNotExist }

// CurrentFile returns the file that has the newest release of the lock directory dir.
func CurrentFile(dir string) string { return path.Join(dir, currentName) }

// Current reads the newest release of the lock directory dir. The error is fs.ErrNotExist if it has no release.
func Current(fsys fs.FS, dir string) (File, error) {
	f, err := read(fsys, CurrentFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, absent("no release in lock directory " + dir + ": write one with `lockage lock write`")
	}
	return f, err
}

// CheckID returns an error unless id has the form of a release id.
func CheckID(id string) error {
	if !isReleaseID(id) {
		return fmt.Errorf("%q is not a release id: write git- and a full commit id of 40 lower-case hex digits, and for a further release of the commit - and 12 digits; of a chart chart-VERSION- and 12 digits", id)
	}
	return nil
}

func isReleaseID(id string) bool { return commitReleaseID.MatchString(id) || chartID.MatchString(id) }

// Abbreviates reports whether short is a release's id, or the beginning of its commit and of what follows the commit; of a chart's the
// beginning of the id, with or without chart-.
func Abbreviates(short, id string) bool {
	if version, ok := strings.CutPrefix(id, chartPrefix); ok {
		return strings.HasPrefix(version, strings.TrimPrefix(short, chartPrefix))
	}
	shortCommit, shortFurther, named := strings.Cut(strings.TrimPrefix(short, "git-"), "-")
	commit, further, _ := strings.Cut(strings.TrimPrefix(id, "git-"), "-")
	return strings.HasPrefix(commit, shortCommit) && strings.HasPrefix(further, shortFurther) && (!named || further != "")
}

// CommitOf returns the commit that a release id names; "" for that of a chart.
func CommitOf(id string) string {
	rest, _ := strings.CutPrefix(id, "git-")
	if strings.HasPrefix(id, chartPrefix) {
		return ""
	}
	commit, _, _ := strings.Cut(rest, "-")
	return commit
}

// recording is the command that records a release.
func recording(id string) string {
	if commit := CommitOf(id); commit != "" {
		return "`lockage lock write --commit " + commit + "`"
	}
	return "`lockage lock write --chart`"
}

// CheckRecorded returns strictyaml.Problems unless f means the same as the history file of its release, which is what verification reads.
func CheckRecorded(fsys fs.FS, dir, sourceRepo string, f File) error {
	reason, err := disagreement(fsys, dir, sourceRepo, f.Lock)
	if err != nil {
		return fmt.Errorf("read lock: %w", err)
	}
	var problems strictyaml.Problems
	if reason != "" {
		problems.Add(strictyaml.Pos{File: f.Path}, "%s", reason)
	}
	return problems.Err()
}

// disagreement describes how the history file of l means something else than current.yaml; it returns "" if they agree.
func disagreement(fsys fs.FS, dir, sourceRepo string, l Lock) (string, error) {
	name := path.Join(dir, l.ReleaseID+".yaml")
	data, err := strictyaml.ReadFile(fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return name + " does not exist: write it with " + recording(l.ReleaseID), nil
	case err != nil:
		return "", err
	}
	history, _, problems := decode(name, data)
	switch {
	case problems != nil:
		return problems.Error(), nil
	case !bytes.Equal(history.From(sourceRepo).Canonical(), l.From(sourceRepo).Canonical()):
		return name + " and " + currentName + " differ: the history file is the record, copy it over the other", nil
	}
	return "", nil
}

// Release reads a release of the lock directory dir by its id. The error is fs.ErrNotExist for an unknown one.
func Release(fsys fs.FS, dir, id string) (File, error) {
	if err := CheckID(id); err != nil {
		return File{}, err
	}
	f, err := read(fsys, path.Join(dir, id+".yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, absent("release " + id + " is not in lock directory " + dir + ": write it with " + recording(id))
	}
	if err == nil && f.ReleaseID != id {
		var problems strictyaml.Problems
		problems.Add(strictyaml.Pos{File: f.Path}, "holds another release, %s: restore the file from git's history", f.ReleaseID)
		return File{}, problems
	}
	return f, err
}

// Releases lists the ids of all releases in the lock directory dir, sorted as text: their order in time is in the source
// repository.
func Releases(fsys fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("list lock directory: %w", err)
	}
	if len(entries) > MaxReleases {
		return nil, fmt.Errorf("lock directory %s holds more than %d files: remove the oldest releases", dir, MaxReleases)
	}
	var ids []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".yaml"); ok && isReleaseID(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func read(fsys fs.FS, name string) (File, error) {
	data, err := strictyaml.ReadFile(fsys, name)
	if err != nil {
		return File{}, fmt.Errorf("read lock: %w", err)
	}
	l, err := Parse(name, data)
	if err != nil {
		return File{}, err
	}
	return File{Lock: l, Path: name, Data: data, Digest: digest.FromBytes(data)}, nil
}
