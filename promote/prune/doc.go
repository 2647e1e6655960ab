// Package prune removes artifacts from a pipeline's repositories that no stage needs any more.
//
// # What stays
//
//   - What is live in a stage, what its tag names, and what was live within its last N promotions.
//   - The releases that are the newest N of the lock's history on the policy ref, in every stage, with all their
//     hydrations; the current one is always among them.
//   - The releases that were live within the last N promotions of any stage, in every stage of the pipeline: what runs in
//     one stage can still be promoted to the next.
//   - What any other tag names: another stage's, or one that somebody made.
//   - What is not certainly ours and old. An artifact is removed only if its manifest agrees with its tags, the hydrator
//     signed it for this pipeline, stage and repository, and the policy ref knows the release. The result names the others.
//   - Every record of a promotion: the chain of records cannot be proven without one. If the registry has the referrers
//     API, records may go with their subject; then what was ever live stays whole. If not, the artifact is removed, and its
//     records stay listed under its fallback tag.
//   - All of a stage whose record is broken, see [live.ErrBroken].
//
// # How artifacts are removed
//
// First the tags are deleted, the candidate's before the others, then the manifest, then what is attached to it. A run that
// ends at any point leaves no tag that names something unsigned. The next run finds what is left by the fallback tags; in
// other registries it is untagged, and the garbage collection removes it, as it does blobs: this package deletes none, and
// in an image layout they stay.
//
// A registry that deletes nothing is left as it is: it is asked before the first deletion.
//
// # Concurrent changes
//
// The registry is listed after the policy ref was read and before the live stages are: a new release is unknown, and stays.
// A promotion under way is detected by the record that it attaches. A promotion that names a release which is about to be
// removed may not find it; it fails then, as it would a minute later.
package prune
