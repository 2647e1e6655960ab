// Package mirror shows artifacts on branches: the tree of a stage lies on its
// stage branch, for people to review and tools to diff, and the branch is
// provably the tree.
//
// # On the branch
//
// A stage owns one folder of one branch, its path, and nothing else of it.
// Below path lie the files of the artifact, byte for byte, and beside them
//
//   - hydrator.metadata, in the format of Argo CD's source hydrator: repoURL and
//     drySha name the GitOps commit that was hydrated, references the source
//     commit. Under the key lockage stand pipeline, stage, release, artifact
//     (repository@digest), content (digest of the artifact's tar), tree (the
//     id that Git gives the files alone) and, where a promotion put it there,
//     record (digest of the manifest that attaches the promotion's record).
//   - where asked, .gitattributes, which marks all of it as generated for the
//     diff views of GitHub, GitLab and Gitea. One with any other content is a
//     file that somebody added: it could change how the others are checked out.
//
// Each change is a commit of its own, with the trailers Lockage-Release,
// Lockage-Artifact, Lockage-Content, Lockage-Source and Lockage-Gitops (both
// URL@commit). Author and committer are lockage, the time is the committer's
// time of the source commit (that of the parent, if later): a commit is a
// function of its parent, artifact and GitOps commit, whoever makes it and when.
// A promotion's commit has the trailer Lockage-Record beside them and the time
// of its record; where a review is merged by it, the reviewed commit is its
// second parent.
//
// A proposal (Entry.Base) lies on a review branch, for a pull request into the stage branch. Its commit has the stage
// branch's head as its first parent, which the trailer Lockage-Base repeats, and that head's files but for those below the
// path: what a merge would bring is what the commit changes. The review branch only moves forward, so that no approval of an
// older head seems to be one of the new.
//
// # Promises of Write
//
//   - Files outside path are never touched, in whatever state they are. Below
//     path, what is not of the artifact is removed.
//   - All branches of one call move in one atomic push, from where they were
//     read. If somebody else pushed first, the change is made anew on the new
//     head, a bounded number of times; nothing is rendered again.
//   - What is there already makes no commit. What was changed by hand is put
//     right by a commit.
//   - An artifact never replaces one that was hydrated from a descendant of its
//     GitOps commit.
//   - A promotion is written over what it was decided over (Entry.Over), or not
//     at all: [ErrMoved]. What others write elsewhere on the branch is no matter.
//   - A branch that does not exist begins with our commit, without a parent.
//
// It refuses a path that something else than a folder stands in the way of.
//
// # Proof
//
// [Check] finds the newest commit that shows an artifact, by metadata or
// trailer, and compares what is below path with the artifact: both pack to one
// content digest, or the files that differ are named.
//
// [History] tells what lay at a place from which commit on. It believes nothing:
// that a version was promoted is proven by the record that its metadata names.
package mirror

// Names of the files beside the artifact's.
const (
	MetadataFile   = "hydrator.metadata"
	attributesFile = ".gitattributes"
)

// attributes marks what lies beside it as generated.
const attributes = "* linguist-generated gitlab-generated\n"

// concurrency bounds the artifacts that are read at a time.
const concurrency = 8

// Bounds on what is read, and on what is tried.
const (
	maxMetadataBytes = 1 << 20
	maxField         = 4096   // bytes of a field in it, which reasons show to people
	maxAttempts      = 25     // pushes of one change
	maxCommits       = 10000  // commits of a branch that are looked at for an artifact
	maxForeign       = 100    // of them, those of others whose files are looked at
	maxHistory       = 100000 // commits of a branch that are looked at for the versions of a place
)
