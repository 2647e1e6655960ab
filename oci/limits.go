package oci

// Bounds on everything that is packed or read from outside.
const (
	// MaxFiles bounds the entries, files and directories, of a tree.
	MaxFiles = 20_000
	// MaxFileSize bounds one file of a tree, in bytes.
	MaxFileSize = 64 << 20
	// MaxTarSize bounds an uncompressed layer, and the sum of its files, in bytes.
	MaxTarSize = 256 << 20
	// MaxPathLength bounds the path of a file in a tree, in bytes.
	MaxPathLength = 1024
	// MaxBlobSize bounds a blob that is read, compressed layers too, in bytes.
	MaxBlobSize = 64 << 20
	// MaxManifestSize bounds a manifest or index that is read, in bytes. The distribution specification asks registries to
	// accept that much.
	MaxManifestSize = 4 << 20
	// MaxReferrers bounds the referrers of one manifest.
	MaxReferrers = 1000
	// MaxTags bounds the tags that one listing may look at.
	MaxTags = 200_000
	// maxLayoutIndex bounds the index.json of an image layout, in bytes.
	maxLayoutIndex = 64 << 20
)
