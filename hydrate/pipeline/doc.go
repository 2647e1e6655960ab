// Package pipeline reads pipeline files: what a user declares about the stages
// of one application, where its artifacts go and who is trusted.
//
// Load reads any number of files from the GitOps repository and reports every
// problem of all of them at once, each at file:line:column. It refuses
// unknown keys, values of another type, paths that leave the repository,
// stages in a cycle or after a stage that does not exist, identities that
// nobody declared, a hydrator and promoter of one identity, unknown
// placeholders, names given twice, and two pipelines that would write to one
// artifact repository or one place on one branch. Keys that this version does
// not implement yet are read, judged and then refused, never ignored.
//
// A file may extend one other: its maps are merged deeply over the other's, its
// stages by name, and its other lists replace the other's. The other file
// extends nothing itself.
//
// Placeholders ({stage}, {image}, and those of the vars file) stand in strings.
// Expand puts the values of one stage and one release in: literally and once, so
// that a value that looks like a placeholder stays as it is. cel, where
// and subjectRegexp are not expanded. {stage} and {pipeline} alone stand in
// artifacts and vars, and {pipeline} alone in lock, because these are needed
// before a release is known. Braces around anything else, and {{doubled}}
// braces, are left alone.
//
// A gate is one condition and perhaps a name. What gates mean is for package policy; here they are read and
// judged as far as a declaration shows what is wrong with it. CEL and Rego are not compiled.
//
// A stage's render, mirror and sign override the pipeline's key by key; null
// takes a key away (mirror: null is a stage without mirror).
package pipeline
