// Package worker renders in child processes: a chart or kustomization that loops, recurses or eats memory ends as the error of its
// own stage, and the others go on.
//
// [Pool] wraps renderers for the parent, [Serve] is all of a child. A child is the same program, started by an argument of its own;
// it has no environment but TZ=UTC, no credentials and no files open but two pipes and a standard error that is kept for its last words. What it
// renders are files of the source and of the GitOps repository and archives of charts, and it asks the parent for each.
//
// The child watches itself. It reports what it renders before it begins, and when it exceeds a bound ([Bounds]); a stack that
// overflows and memory that the system refuses end the process, which the parent takes for the same report. Bounds are counted in
// bytes and processor time, so that a verdict does not depend on how busy the machine is, or on what the child rendered before: a
// child that ran out of memory and was not new is replaced, and the render repeated.
//
// A child ends with its parent, even one that was killed: the end of its input ends it. When the context of a render ends, the child
// is killed.
//
// Requests and results travel whole, in encoding/gob: every exported field does, and a test refuses fields that cannot.
package worker
