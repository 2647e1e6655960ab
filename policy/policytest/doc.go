// Package policytest tests gates: tables of evidence and objects in, verdicts out, for teams' own rules.
//
//	gates:                                     # as in a pipeline file; or pipeline: lockage.yaml and stage: production
//	  - {approval: {by: [sre, manager], count: 2}}
//	  - {cel: 'objects.all(o, o.kind != "Pod")'}
//	waivers: {by: [sre]}
//	cases:
//	  - name: one approval is not enough
//	    now: 2026-03-24T12:00:00Z
//	    objects: [{apiVersion: v1, kind: Service, metadata: {name: web}}]
//	    statements: [{type: approval, by: sre}]
//	    expect: {approval: {result: fail, reason: "1 of 2"}, cel: pass}
//	    result: fail
//
// What is promised:
//
//   - Gates are read, expanded and judged by the code that promotion uses. Statements are signed in memory, by a key made
//     for each identity, and proven by the code that proves those of a registry: one about another digest than that of its
//     subject is rejected there, as it would be.
//   - The same file gives the same results anywhere and at any time: the time is [Now] unless a case says otherwise, and
//     keys follow from names. They prove nothing outside of a test. Identities that the pipeline gives one key have one key.
//   - Every mistake in a file is reported, at file:line:column. A case that expects nothing is one.
//   - Nothing is read but files of the folder that is given, and no network is used.
//
// What is not tested is what comes before gates: signature and provenance of the hydrator, order of stages, review. Nor is
// it asked whether an identity can be verified; the keys of the pipeline file are not read.
package policytest
