package hydrate

import "regexp"

// maxPointerBytes bounds a pointer, by the specification of Git LFS.
const maxPointerBytes = 1024

var pointer = regexp.MustCompile(`^version https://git-lfs\.github\.com/spec/v1\r?\n(?:ext-[^\n]*\n)*oid (sha256:[0-9a-f]{64})\r?\nsize [0-9]+\s*$`)

// LFSPointer returns the digest in a file that is the pointer to one in Git LFS; "" for any other file.
func LFSPointer(data []byte) string {
	if len(data) > maxPointerBytes {
		return ""
	}
	if m := pointer.FindSubmatch(data); m != nil {
		return string(m[1])
	}
	return ""
}
