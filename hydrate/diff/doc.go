// Package diff compares two trees of Kubernetes objects, for people.
//
//	[]hydrate.Object, []hydrate.Object ──▶ Compare ──▶ Changes ──▶ text, Markdown, JSON, HTML
//
// # Algorithm
//
//  1. match: objects are matched by group, kind, namespace and name, never by file. A move out of the group `extensions`
//     is a change of one object, and so is a new hash that kustomize appended to a name: a rename.
//  2. conceal: values of Secrets are replaced before anything is compared.
//  3. compare: maps key by key; lists by the keys that Kubernetes merges them by (containers by name, volumeMounts by
//     mountPath …) if these are unique, else by a longest common subsequence; texts that are JSON, such as dashboards
//     in a ConfigMap, by their values; other texts of several lines line by line.
//  4. judge: risks are what a reviewer should not miss: refused changes, deletions, new rights …
//  5. fold: changes that [DefaultNoise] or [Options] call noise are counted and left out.
//  6. write: entries join the fields of an object that changed alike, bundles join such objects; the writers show them.
//
// # Promises
//
//   - Every difference is shown, however long, or it is counted: as noise that cannot matter (see [DefaultNoise]), as equal to one
//     that is shown, or as an object that a Markdown page has no room for. A change that a cluster refuses is never noise, and an
//     object with a risk above [Info] is never folded.
//   - No value of a Secret enters a [Changes]: only its length and four hexadecimal digits of a hash do, enough to see
//     that two values differ and too little to confirm a guess. The same holds for binaryData of ConfigMaps.
//   - JSON lists every field by itself, and with [Options.All] so do text and Markdown.
//   - The result, and what each writer makes of it, depend on the two sets of objects and the options alone.
//   - No text of a manifest takes effect where it is shown: control and invisible characters are escaped; in Markdown
//     such text is in code spans and fences only, so that no mention, reference or HTML works; in HTML html/template
//     escapes it, and the page's policy loads nothing.
//
// Compare refuses two objects of one identity in one tree, and input beyond the bounds named in this package.
//
// # Why no diff library
//
// github.com/homeport/dyff was the candidate. It matches objects by apiVersion too, so that a new version is a removal and
// an addition; it matches lists by one key, whatever the field (never by containerPort and protocol); and it compares YAML
// nodes, while objects are decoded here and their Secrets hidden before the comparison.
package diff
