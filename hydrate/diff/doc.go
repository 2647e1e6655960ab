// Package diff says what changed between two trees of Kubernetes objects, for people.
//
//	[]hydrate.Object, []hydrate.Object ──▶ Compare ──▶ Changes ──▶ text, Markdown, JSON, HTML
//
// # What it promises
//
//   - Objects are matched by group, kind, namespace and name, not by file: a new apiVersion, or a move out of the group
//     `extensions`, is a change of one object. Of a ConfigMap or Secret whose name ends in kustomize's hash only the hash
//     changed: it is renamed.
//   - Lists are matched by the keys that Kubernetes merges them by (containers by name, volumeMounts by mountPath …)
//     where these tell all items apart, else by a longest common subsequence. Texts that are JSON, such as dashboards in
//     a ConfigMap, are compared by what they say, not by blanks and order; other texts of several lines line by line.
//   - Everything that differs is reported or counted. What [DefaultNoise] or [Options] call noise is folded into
//     [Changes.Noise], unless it touches a field that a cluster refuses to change. An object with a risk louder than
//     [Info] is never folded.
//   - Values of Secrets never enter a [Changes]: each is replaced by its length and four hexadecimal digits of a
//     hash, enough to see that two values differ and too little to confirm a guess. ConfigMaps' binaryData is
//     treated alike.
//   - For people what is alike is shown once: the same change in several items of a list, and of several objects with all
//     their names. Schemas of custom resources are shown in outline. JSON has every field by itself, and with [Options.All]
//     so have text and Markdown.
//   - The result, and what each writer makes of it, is a function of the two sets of objects and the options alone.
//   - No text of a manifest takes effect where it is shown: control and invisible characters are written as escapes, in
//     Markdown it stands in code spans and fences only (no mention, reference or HTML works there), in HTML it is
//     escaped by html/template, and that page runs under a policy that loads nothing.
//
// # What it refuses
//
//   - two objects of one group, kind, namespace and name in one tree;
//   - input beyond the bounds named in this package. Long output is cut, and says so.
//
// # Why no diff library
//
// github.com/homeport/dyff was the candidate. It tells objects apart by apiVersion too, so that a new version is a removal
// and an addition; it matches lists by one key, whatever the field (never by containerPort and protocol); and it compares
// YAML nodes, while objects come decoded here, and Secrets are hidden before anything is compared.
package diff
