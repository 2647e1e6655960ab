package lock

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
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

// ErrNoRelease is returned for a lock directory that never had a release. It is an fs.ErrNotExist.
const ErrNoRelease = absent("nothing was released yet")

// CurrentFile returns the file that has the newest release of the lock directory dir.
func CurrentFile(dir string) string { return path.Join(dir, currentName) }

// Current reads the newest release of the lock directory dir. The error is [ErrNoRelease] if it has none, and fs.ErrNotExist too if only
// current.yaml is missing.
func Current(fsys fs.FS, dir string) (File, error) {
	f, err := read(fsys, CurrentFile(dir))
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if releases, err := Releases(fsys, dir); err == nil && len(releases) > 0 {
		return File{}, absent("lock directory " + dir + " has releases and no " + currentName + ": restore it from Git's history")
	}
	return File{}, fmt.Errorf("%w: lock directory %s has no lock; write the first one with `lockage lock write` or `lockage lock discover`", ErrNoRelease, dir)
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

// CheckName returns an error unless name has the form of a release id or of the beginning of one: of its commit, at least 4 digits, and of
// what follows the commit. It may name a hydration of the release, see [SplitName].
func CheckName(name string) error {
	if !hydrationName.MatchString(name) {
		return fmt.Errorf("%q is not a release id, nor the beginning of one: write git- and at least 4 hex digits of its commit, and for a further release of the commit - and digits of that; of a chart chart-VERSION", name)
	}
	return nil
}

// SplitName splits the name of a hydration, RELEASE@DIGITS, the first ones of its input digest; without digits it is a release's.
func SplitName(name string) (release, input string) {
	release, input, _ = strings.Cut(name, "@")
	return release, input
}

// BeginsWith reports whether an input digest begins with the digits that a name has of it.
func BeginsWith(input digest.Digest, digits string) bool {
	return strings.HasPrefix(strings.TrimPrefix(string(input), "sha256:"), digits)
}

// Hydration names a hydration of a release, as [SplitName] reads it.
func Hydration(release string, input digest.Digest) string {
	const digits = 4
	if input.Validate() != nil {
		return release
	}
	return release + "@" + input.Encoded()[:digits]
}

// Find returns the id of the one release of the lock directory dir that a name means. A whole id means itself, whether it is there or not.
// The error is fs.ErrNotExist if it means no release.
func Find(fsys fs.FS, dir, name string) (string, error) {
	if isReleaseID(name) {
		return name, nil
	}
	if !releaseName.MatchString(name) {
		return "", cmp.Or(CheckName(name), fmt.Errorf("%s names one hydration of a release, and this is about the release: leave @ and what follows out", name))
	}
	releases, err := Releases(fsys, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	found := slices.DeleteFunc(releases, func(id string) bool { return !Abbreviates(name, id) })
	if commit := commitOf(name); "git-"+commit == name && len(found) > 1 && !slices.ContainsFunc(found[1:], func(id string) bool { return commitOf(id) != commitOf(found[0]) }) {
		found = slices.DeleteFunc(found, func(id string) bool { return len(id) > len(found[0]) }) // further releases of the commit are named by more
	}
	const shown = 5
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return "", absent("lock directory " + dir + " has no release " + name + ": write it with `lockage lock write`")
	case len(found) > shown:
		return "", fmt.Errorf("%s could be any of %d releases, %s …; write more of it", name, len(found), strings.Join(found[:shown], ", "))
	}
	return "", fmt.Errorf("%s could be %s; write more of it", name, strings.Join(found, " or "))
}

// commitOf returns the commit that a release id names; "" for that of a chart.
func commitOf(id string) string {
	rest, _ := strings.CutPrefix(id, "git-")
	if strings.HasPrefix(id, chartPrefix) {
		return ""
	}
	commit, _, _ := strings.Cut(rest, "-")
	return commit
}

// recording is the command that records a release.
func recording(id string) string {
	if commit := commitOf(id); commit != "" {
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
