// Package remotelock makes releases without a work tree: it finds the newest commit that has an image, and records a
// release on a branch of the GitOps repository's remote.
//
// Recording is one commit of at most two files, pushed with a lease. The first push wins; the others decide anew on what
// the branch has then: if the release is recorded already, nothing is committed, and if it became the older one,
// current.yaml stays. Package lock makes these decisions, as it does in a work tree.
//
// A search follows first parents, the history of the branch itself: it does not find an image that was built on a merged
// side branch. An image can also be found on its own, by the highest version among its tags, and the newest commit without one.
// A commit touches a path if it differs there from its first parent; links are not followed. The search costs
// one listing of tags and one or two fetches of commits without any files; with paths, one more fetch for each folder on
// the way to them, for every hundred commits.
package remotelock

const (
	maxAttempts = 25     // pushes of one release
	maxCommits  = 50_000 // that a search looks at
	batch       = 100    // commits to walk before the paths of those with an image are compared
)
