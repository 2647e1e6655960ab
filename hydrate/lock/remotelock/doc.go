// Package remotelock makes releases where no work tree is at hand: it finds the newest commit that has an image, and records
// a release on a branch of the GitOps repository's remote.
//
// Recording is one commit of at most two files, pushed with a lease. Whoever pushes first wins, and the others decide anew
// on what the branch has then: whether the release is recorded already, in which case nothing is committed, and whether it
// became the older one, in which case current.yaml stays. Those decisions are package lock's; they are the same in a work
// tree.
//
// A search is along first parents, which is what a branch itself went through: an image that was built on a side branch is
// not found by the merge of that branch. A commit touches a path when what lies there is not what its first parent has
// there, links not followed. The search costs one listing of tags and one or two fetches of commits without any files; with
// paths one more fetch for each folder on the way to them, for every hundred commits.
package remotelock

const (
	// maxAttempts bounds the pushes of one release.
	maxAttempts = 25
	// maxCommits bounds the commits that a search looks at.
	maxCommits = 50_000
	// batch is how many commits are walked before those with an image are asked for their paths.
	batch = 100
)
