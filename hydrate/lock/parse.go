package lock

import (
	"errors"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/lockage/lockage/internal/strictyaml"
)

// Parse reads a lock file; problems name it file. The error lists every problem, one a line, with file, line and column.
func Parse(file string, data []byte) (Lock, error) {
	l, root, problems := decode(file, data)
	if err := problems.Err(); err != nil {
		return Lock{}, err
	}
	if msg := l.inconsistency(); msg != "" {
		problems.Add(root.At("releaseId").Pos, "%s", msg)
		return Lock{}, problems.Err()
	}
	return l, nil
}

// decode checks everything but the agreement of releaseId and gitCommit, which is a check of its own in Check.
func decode(file string, data []byte) (Lock, *strictyaml.Node, strictyaml.Problems) {
	var l Lock
	root, problems := strictyaml.Parse(file, data)
	if problems != nil {
		return Lock{}, nil, problems
	}
	problems = strictyaml.Decode(root, &l)
	// A field that did not decode has its problem already; its zero value would only add a second one.
	failed := make(map[strictyaml.Pos]bool)
	for _, p := range problems {
		failed[p.Pos] = true
	}
	for key, fields := range map[string]string{"image": "ref and digest", "chart": "repo, name, version and digest"} {
		if n := root.Find(key); n != nil && n.IsNull() {
			problems.Add(n.Pos, "%s is empty: write %s, or take the key out if the release has no %[1]s", key, fields)
		}
	}
	l.check(func(msg string, at ...any) {
		if n := root.Find(at...); msg != "" && (n == nil || !failed[n.Pos]) {
			problems.Add(root.At(at...).Pos, "%s", msg)
		}
	})
	return l, root, problems
}

// nameOf is the form of a release's id, or of the beginning of one.
const nameOf = `git-[0-9a-f]{4,40}(-[0-9a-f]{1,12})?|chart-[v0-9][0-9A-Za-z._-]{0,52}`

var (
	abbreviated = regexp.MustCompile(`^[0-9a-f]{4,39}$`)
	commitID    = regexp.MustCompile(`^[0-9a-f]{40}$`)
	// commitReleaseID matches the ids of releases of a commit, chartID those of packaged charts.
	commitReleaseID = regexp.MustCompile(`^git-[0-9a-f]{40}(-[0-9a-f]{12})?$`)
	sha256Digest    = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	// releaseName matches whole ids of releases and the beginnings of them, hydrationName also with digits of an input digest.
	releaseName   = regexp.MustCompile(`^(` + nameOf + `)$`)
	hydrationName = regexp.MustCompile(`^(` + nameOf + `)(@[0-9a-f]{4,64})?$`)
	// imageRef is the distribution specification's grammar of references, with an optional digest.
	imageRef = regexp.MustCompile(`^([a-zA-Z0-9.-]+(:[0-9]+)?/|\[[0-9a-fA-F:]+\](:[0-9]+)?/)?` +
		`[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*` +
		`(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$`)
	imageName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)
	remoteHelper = regexp.MustCompile(`^[a-zA-Z0-9+.-]+::`)
)

// check reports what is wrong with each field, at its path, and "" for some that are right.
func (l Lock) check(report func(msg string, at ...any)) {
	if l.SchemaVersion != "" && l.SchemaVersion != SchemaVersion {
		report("schemaVersion "+strconv.Quote(l.SchemaVersion)+" is not known: this version of lockage reads "+SchemaVersion, "schemaVersion")
	}
	if l.CreatedAt != "" {
		if _, err := time.Parse(time.RFC3339, l.CreatedAt); err != nil {
			report("createdAt "+strconv.Quote(l.CreatedAt)+" is not an RFC 3339 time: write one like '2026-03-22T12:34:56Z'", "createdAt")
		}
	}
	switch l.Packaging.Kind {
	case Packaged:
		if l.ReleaseID != "" && !chartID.MatchString(l.ReleaseID) {
			report("releaseId "+strconv.Quote(l.ReleaseID)+` is not "chart-", a version, "-" and 12 lower-case hex digits of the archive's digest`, "releaseId")
		}
		l.Chart.check(l, report)
		return
	case "", Helm, Kustomize:
	default:
		report("packaging.kind "+strconv.Quote(string(l.Packaging.Kind))+" is not known: write helm, kustomize or chart", "packaging", "kind")
	}
	if l.Chart != (Chart{}) {
		report("chart is for packaging.kind: chart alone: change the kind, or take it out", "chart")
	}
	l.checkSource(report)
}

// checkSource is check for what a lock of a commit has.
func (l Lock) checkSource(report func(msg string, at ...any)) {
	if l.ReleaseID != "" && !commitReleaseID.MatchString(l.ReleaseID) {
		report("releaseId "+strconv.Quote(l.ReleaseID)+` is not "git-" and a full commit id of 40 lower-case hex digits, with or without "-" and 12 digits of what the lock means`, "releaseId")
	}
	report(commitFault(l.GitCommit), "gitCommit")
	report(refFault(l.Image), "image", "ref")
	report(digestFault("image.digest", l.Image), "image", "digest")
	names := make(map[string]bool)
	for i, named := range l.Others {
		report(refFault(named.Image), "images", i, "ref")
		report(digestFault("images."+named.Name+".digest", named.Image), "images", i, "digest")
		switch {
		case named.Name == "":
		case !imageName.MatchString(named.Name):
			report("image name "+strconv.Quote(named.Name)+" is not lower-case letters, digits, dots, dashes and underscores", "images", i, "name")
		case names[named.Name]:
			report("image name "+strconv.Quote(named.Name)+" is given twice", "images", i, "name")
		}
		names[named.Name] = true
	}
	if l.Packaging.SourceRepo != "" {
		if err := CheckRepository(l.Packaging.SourceRepo); err != nil {
			report("packaging.sourceRepo "+err.Error(), "packaging", "sourceRepo")
		}
	}
	switch p := l.Packaging.SourcePath; {
	case p == "" && l.Packaging.Kind != "": // else the kind is missing, which is reported
		report("packaging.sourcePath is missing", "packaging", "sourcePath")
	case p != "":
		if msg := PathFault(p, "the source repository's root"); msg != "" {
			report("packaging.sourcePath "+strconv.Quote(p)+" "+msg, "packaging", "sourcePath")
		}
	}
}

// inconsistency describes how the well-formed releaseId and gitCommit contradict each other; "" if they agree.
func (l Lock) inconsistency() string {
	if l.Packaging.Kind == Packaged {
		if own := l.Chart.ReleaseID(); own != l.ReleaseID {
			return "releaseId " + strconv.Quote(l.ReleaseID) + " belongs to another chart: this one is " + own
		}
		return ""
	}
	_, further, _ := strings.Cut(strings.TrimPrefix(l.ReleaseID, "git-"), "-")
	switch {
	case commitOf(l.ReleaseID) != l.GitCommit:
		return "releaseId " + strconv.Quote(l.ReleaseID) + " belongs to another commit: gitCommit is " + strconv.Quote(l.GitCommit)
	case further != "" && l.Packaging.SourceRepo == "":
		return "releaseId " + strconv.Quote(l.ReleaseID) + " depends on packaging.sourceRepo, which is missing: write it"
	case further != "" && l.furtherID() != l.ReleaseID:
		return "releaseId " + strconv.Quote(l.ReleaseID) + " belongs to another lock of the commit: this one would be " + l.furtherID()
	}
	return ""
}

func commitFault(commit string) string {
	switch {
	case commitID.MatchString(commit):
		return ""
	case commit == "":
		return "gitCommit is missing: write the full id that git rev-parse HEAD prints in the source repository"
	case abbreviated.MatchString(commit):
		return "gitCommit " + strconv.Quote(commit) + " is abbreviated: write the full id that git rev-parse " + commit + " prints"
	}
	return "gitCommit " + strconv.Quote(commit) + " is not a commit id of 40 lower-case hex digits"
}

func refFault(image Image) string {
	if image.Ref == "" {
		return "" // reported as missing
	}
	if sha256Digest.MatchString(image.Ref) { // else it would be a tag of the repository sha256
		return "image reference " + strconv.Quote(image.Ref) + " is a digest without a repository: write one like ghcr.io/acme/app@sha256:…"
	}
	if !imageRef.MatchString(image.Ref) {
		return "image reference " + strconv.Quote(image.Ref) + " is malformed: write one like ghcr.io/acme/app:v1"
	}
	if _, digest, ok := strings.Cut(image.Ref, "@"); ok && digest != image.Digest.String() {
		return "image reference " + strconv.Quote(image.Ref) + " names another digest than the digest beside it"
	}
	return ""
}

func digestFault(field string, image Image) string {
	if sha256Digest.MatchString(image.Digest.String()) || image == (Image{}) {
		return "" // if all is missing, the reference is reported
	}
	ref := image.Ref
	if !imageRef.MatchString(ref) {
		ref = "IMAGE"
	}
	remedy := ": write what `crane digest " + ref + "` prints"
	if image.Digest == "" {
		return field + " is empty" + remedy
	}
	return field + " " + strconv.Quote(image.Digest.String()) + " is not sha256: and 64 lower-case hex digits" + remedy
}

// CheckRepository returns an error if address is not usable as a source repository: it is empty, git would take it for an
// option or run a helper for it, or it carries credentials. The error does not repeat the address.
func CheckRepository(address string) error {
	switch {
	case address == "", strings.HasPrefix(address, "-"), remoteHelper.MatchString(address),
		strings.ContainsFunc(address, isControlOrSpace):
		return errors.New("is not a repository URL: write one like https://github.com/acme/app.git")
	}
	// A path or scp-like address (git@host:path) does not parse as a URL or has no host, and carries no password.
	u, err := url.Parse(address)
	if err != nil && strings.Contains(address, "://") {
		return errors.New("is not a valid URL: write one like https://github.com/acme/app.git")
	}
	if err != nil || u.User == nil {
		return nil
	}
	if _, password := u.User.Password(); password || u.Scheme == "http" || u.Scheme == "https" {
		return errors.New("carries credentials: revoke them, remove them from the URL and use git's credential helpers")
	}
	return nil
}

// PathFault describes, as the end of a sentence, why p is not a path below root ("the source repository's root"); it returns
// "" for a valid path. The root itself is ".".
func PathFault(p, root string) string {
	remedy := ": write it relative to " + root
	switch {
	case p == "":
		return "is empty" + remedy
	case strings.ContainsFunc(p, isControl):
		return "holds control characters"
	case strings.Contains(p, `\`):
		return "holds a backslash: write slashes"
	case path.IsAbs(p):
		return "is absolute" + remedy
	case fs.ValidPath(p):
		return ""
	case slices.Contains(strings.Split(p, "/"), ".."):
		return "holds `..`" + remedy
	}
	return "is not in its shortest form: write " + strconv.Quote(path.Clean(p))
}

func isControl(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }

func isControlOrSpace(r rune) bool { return isControl(r) || unicode.IsSpace(r) }
