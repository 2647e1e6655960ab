// Package oci turns trees of files into OCI artifacts and keeps artifacts in registries and image layouts.
//
// # The artifact
//
// [Pack] is a pure function: one tree and one set of annotations give one manifest, bit for bit, whatever the machine,
// user, umask, time zone or hour.
//
//   - The manifest is an OCI image manifest (image-spec v1.1) with the config media type
//     application/vnd.oci.image.config.v1+json and exactly one layer, application/vnd.oci.image.layer.v1.tar+gzip, titled
//     manifests.tar.gz for `oras pull`. It has no artifactType and never a subject: consumers that follow a subject would
//     merge its files.
//   - The config says os and architecture "unknown" and carries the layer's real diff_id. Its created field is the
//     annotation org.opencontainers.image.created if present, else it is absent.
//   - The tar holds directory entries before their files, in bytewise order of the names as stored (directories end in a
//     slash, the root has no entry). Modes are 0755 and 0644, uid and gid 0, owner names empty, mtime 0; headers are USTAR,
//     or PAX if a name does not fit.
//   - The layer is compressed by klauspost/compress at a fixed level. Its bytes may change when that module is upgraded (a
//     golden test says so); the digest of the tar, the content digest, may not.
//
// [Pack] refuses links, devices, names that are not clean relative UTF-8 paths, folders without any file, and trees beyond [MaxFiles],
// [MaxFileSize] or [MaxTarSize]. [Unpack] refuses the same, and every layer that is not exactly what [Pack] would write for
// the files in it: nothing can hide in a layer that was pulled.
//
// # Repositories
//
// A [Client] opens [Repository] values by name: "host[:port]/path" is a registry (distribution-spec v1.1), "oci-layout:DIR"
// an image layout on disk, "oci-layout:FILE.tar" one in a tar file, which is only read; see [PackLayout]. All have the same methods and
// promises:
//
//   - Everything read is bounded and its digest verified.
//   - Content is written before the manifest that names it, a manifest before the tag that names it. A client sends no blob twice,
//     and asks the registry first only about large ones. It keeps what it read or wrote, up to 32 MB, and does not read that
//     again; tags and lists of referrers it always asks for.
//   - [Repository.Attach] returns once the referrer is listed. On registries without the referrers API it keeps the
//     fallback tag index itself and repairs what concurrent writers overwrote; there the guarantee holds against writers
//     that finish their update within the time it waits before looking again.
//   - Failed requests (408, 429, 5xx, reset connections) are repeated with exponential backoff, honouring Retry-After.
//   - Plain HTTP is used for loopback hosts (127.0.0.0/8, ::1, localhost) only.
//   - Credentials come from Docker's and Podman's configuration and helpers, by host and path. They are sent to the origin that asked,
//     and to the token service that it may name (docs/registries.md). No error or warning holds a secret, a query string or
//     a user name from a URL.
//   - What the specification only recommends is not relied on: a digest that is not named is computed, a HEAD that is refused is a GET.
//   - A layout is created by the first write, never by a read. Writers of several processes exclude each other with an
//     advisory lock if the system has flock; index.json is replaced atomically, so that readers need none.
package oci

// Bounds on everything that is packed or read from outside, in bytes unless they count things.
const (
	MaxFiles        = 20_000    // files and directories of a tree
	MaxFileSize     = 64 << 20  // one file of a tree
	MaxTarSize      = 256 << 20 // an uncompressed layer, and the sum of its files
	MaxPathLength   = 1024      // the path of a file in a tree
	MaxBlobSize     = 64 << 20  // a blob that is read, compressed layers too
	MaxManifestSize = 4 << 20   // a manifest or index that is read; the distribution specification demands that much
	MaxReferrers    = 20_000    // referrers of one manifest
	MaxTags         = 200_000   // tags that one listing may look at

	maxLayoutIndex = 64 << 20 // the index.json of an image layout
	maxListSize    = 32 << 20 // one page of tags or referrers
	maxPages       = 100      // of referrers
	maxThinPages   = 30       // of tags, before they must have minPerPage entries on average: pages may be empty, for ever
	minPerPage     = 50
	maxUndescribed = 100 // referrers that are read because their list does not give their type
)
