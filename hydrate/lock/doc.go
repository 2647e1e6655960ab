// Package lock reads, writes and checks locks. A lock is the record of a release: its exact source commit and images.
//
// A lock is one YAML document of this form (the short form leaves out schemaVersion, packaging.sourceRepo and createdAt;
// images is optional, and so is image, for a package without an image of its own):
//
//	schemaVersion: v1
//	releaseId: git-<40 hex>            # or git-<40 hex>-<12 hex>, a further release of the commit
//	gitCommit: <40 hex>
//	image:
//	  ref: ghcr.io/acme/app:git-<40 hex>
//	  digest: sha256:<64 hex>
//	images:
//	  - name: sidecar
//	    ref: ghcr.io/acme/sidecar:v1
//	    digest: sha256:<64 hex>
//	packaging:
//	  kind: helm
//	  sourceRepo: https://github.com/acme/app.git
//	  sourcePath: k8s/helm
//	createdAt: '2026-03-22T12:34:56Z'
//
// A lock of a packaged chart has, in place of gitCommit, images and source, the chart and the kind chart:
//
//	releaseId: chart-<version>-<12 hex of the digest>
//	chart:
//	  repo: oci://ghcr.io/acme/charts    # or https://
//	  name: redis
//	  version: 1.2.3
//	  digest: sha256:<64 hex>            # of the archive
//	packaging:
//	  kind: chart
//
// A lock directory holds one file a release, git-<commit>.yaml, and current.yaml, which means what the file of the newest release
// does: they may differ in createdAt. Write makes them equal byte for byte.
//
// Parse refuses unknown keys, another schemaVersion, an abbreviated commit, an empty or malformed digest, a releaseId of
// another commit, a sourcePath that is absolute or leaves the repository, and a sourceRepo that carries credentials or that
// git would take for an option or a remote helper. The error lists every problem with file, line and column.
//
// Write never changes the content of a recorded release, and never replaces a newer current.yaml by an older commit.
package lock
