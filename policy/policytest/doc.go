// Package policytest tests gates: tables of evidence and objects in, verdicts out, for teams' own rules.
//
//		gates:                                     # as in a pipeline file; or pipeline: lockage.yaml and stage: production
//		  - {approval: {by: [sre, manager], count: 2}}
//		  - {cel: 'objects.all(o, o.kind != "Pod")'}
//		waivers: {by: [sre]}
//		cases:
//		  - name: one approval is not enough
//		    now: 2026-03-24T12:00:00Z
//		    objects: [{apiVersion: v1, kind: Service, metadata: {name: web}}]
//		    statements: [{type: approval, by: sre}]
//		    expect: {approval: {result: fail, reason: "1 of 2"}, cel: pass}
//		    result: fail
//
//	  - The code that promotion uses reads, expands and judges the gates. Statements are signed in memory, with a key for each
//	    identity, and verified like those of a registry: one about another digest is rejected.
//	  - A file has the same results anywhere and at any time: the time is [Now] unless a case names another, and keys are derived
//	    from names. Identities that share a key in the pipeline share one here.
//	  - Every mistake in a file is reported with file:line:column. A case without an expectation is a mistake.
//	  - Only files of the given folder are read, and no network is used.
//
// Checks before the gates are not tested: signature and provenance of the hydrator, order of stages, review. The keys of the
// pipeline file are not read.
package policytest
