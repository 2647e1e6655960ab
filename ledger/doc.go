// Package ledger records in Git what is, and shows artifacts on branches.
//
// # Candidates
//
// The branch candidates/PIPELINE has an [Entry] for each stage and release, in the file STAGE/RELEASE.jsonl: a line of facts,
// then the signed statements, one a line. Nothing in it is proven; readers verify the statements and compare the facts with
// them. The tip has the newest hydration of each release; what it replaced is in the history, see [Candidates.Had]. Readers
// fetch the tip's trees and the entries that they want.
//
// # Stage branches
//
// A stage branch holds the tree of the stage, for people to review and for tools to diff, and provably equals the artifact.
// A stage owns one folder of one branch, its path, and nothing else of it. Below the path are the files of the artifact,
// byte for byte, and beside them
//
//   - hydrator.metadata, in the format of Argo CD's source hydrator and GitOps Promoter: repoURL and drySha name the GitOps commit
//     that was hydrated, author, date, subject and body are its own, and references has the source commit. The key lockage holds [Facts].
//   - .gitattributes, which resets what another one above the path says, since that could change how the files are checked
//     out and shown; on request it marks all of them as generated, for the diff views of GitHub, GitLab and Gitea. One with
//     any other content counts as a file that somebody added.
//
// The candidates of one call are one commit a branch, with the trailers Lockage-Release, Lockage-Artifact, Lockage-Content,
// Lockage-Source and Lockage-Gitops (both URL@commit); if there are several, artifact and content have the stage before them.
// Author and committer are lockage, the time is the committer's time of the source commit (that of the parent, if later): a
// commit is a function of its parent, artifacts and GitOps commits. A promotion is a commit of its own. It holds the signed
// statements in attestations.jsonl beside the files, one a line, and has the trailer Lockage-Record and the time of its
// record; if it merges a review, the reviewed commit is its second parent.
//
// A proposal (Change.Review) is a commit on a review branch, for a pull request into the stage branch. Its parent is the head of
// the stage branch, which the trailer Lockage-Base repeats; it differs from that below the path alone. The next proposal takes its
// place: the review branch is one commit ahead of the stage branch.
//
// # Promises of Write
//
//   - Files outside the path are never touched, in whatever state they are. Below the path, files that are not the
//     artifact's are removed.
//   - All branches of one call move in one atomic push, from where they were read. If somebody else pushed first, Write
//     makes the change again on the new head, a bounded number of times; nothing is rendered again.
//   - A branch that is up to date gets no commit. A commit repairs what was changed by hand. Which of the two it is, Git's ids
//     say: what metadata says of its own folder is not believed.
//   - An entry that stays ([Hydration].Stays) is not replaced, nor is the artifact on a stage branch that it is of.
//   - A folder that metadata gives to another pipeline or stage is refused, and so is one above or below it ([ErrTaken]), by candidates, by
//     the first promotion of a stage, and, if it is of another pipeline, by a stage that is carried over.
//   - A promotion replaces exactly the tree that it was decided on (Promotion.Expected); otherwise Write fails with
//     [ErrMoved]. Changes outside the path do not matter.
//   - A branch that does not exist begins with our commit, without a parent.
//   - A path at which something other than a folder is in its place is refused.
//
// # Proof
//
// [Check] proves that the newest commit that shows an artifact has its files, or names those that differ. [History] returns
// the versions of a place, and proves nothing of them: a record among a version's statements does, if it names the version's
// parent and tree.
package ledger

// The files beside the artifact's.
const (
	MetadataFile   = "hydrator.metadata"
	StatementsFile = "attestations.jsonl" // of promotions only
	attributesFile = ".gitattributes"
)

// entrySuffix ends the names of entries on a candidates branch.
const entrySuffix = ".jsonl"

// MaxCandidates is the number of entries of a stage above which older ones are removed from the tip.
const MaxCandidates = 20

// The contents of .gitattributes. Git takes the file that is nearest to a path, and of its lines the last one.
const (
	resetAttributes     = "* !text !eol !crlf !ident !filter !working-tree-encoding !diff !merge !whitespace !export-ignore !export-subst !linguist-generated !gitlab-generated\n"
	generatedAttributes = resetAttributes + "* linguist-generated gitlab-generated\n"
)

// Bounds on reading and on retries.
const (
	concurrency      = 8 // artifacts that are read at a time
	maxMetadataBytes = 1 << 20
	maxEntryBytes    = 8 << 20
	maxStatements    = 256  // of an entry or a promotion
	maxField         = 4096 // bytes of a metadata field, which reasons show to people
	maxSubject       = 1024 // bytes of an author or subject in metadata
	maxBody          = 8 << 10
	maxAttempts      = 25     // pushes of one change
	maxHistory       = 100000 // commits of a branch that are searched for the versions of a place
)
