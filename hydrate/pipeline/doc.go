// Package pipeline reads pipeline files, in which a user declares the stages of one application, where its artifacts go and
// who is trusted.
//
// Load reads any number of files from the GitOps repository and reports every problem of all of them at once, each at
// file:line:column. It refuses unknown keys, values of another type, paths that leave the repository, stages in a cycle or
// after a stage that does not exist, identities that are not declared, a hydrator and promoter of one identity, unknown
// placeholders, names given twice, and two pipelines that would write to one artifact repository or one place on one
// branch. Keys that this version does not implement yet are read, checked and then refused, never ignored.
//
// A file may extend one other: its maps are merged deeply over the other's, its stages by name, and its other lists replace
// the other's. The other file extends nothing itself.
//
// Placeholders ({stage}, {image}, and those of the vars file) are expanded in strings. Expand replaces them with the values
// of one stage and one release, literally and once: a value that looks like a placeholder stays as it is. cel, where and
// subjectRegexp are not expanded. Only {stage} and {pipeline} are allowed in artifacts and vars, and only {pipeline} in
// lock, which are needed before a release is known. Braces around anything else, and {{doubled}} braces, are left alone.
//
// A gate is one condition and perhaps a name. The kinds that Load is given parse and compile its condition; package policy
// declares and judges them.
//
// A stage's render, mirror and sign override the pipeline's key by key; null removes a key (mirror: null is a stage without
// mirror).
package pipeline
