// Package lfs reads the pointers that Git LFS commits in place of files.
package lfs

import (
	"bytes"
	"regexp"
	"strconv"
)

// maxPointerBytes bounds a pointer, by the specification of Git LFS.
const maxPointerBytes = 1024

var format = regexp.MustCompile(`^version https://git-lfs\.github\.com/spec/v1\r?\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\r?\nsize ([0-9]+)\s*$`)

// Pointer names a file in Git LFS.
type Pointer struct {
	ID   string // the SHA-256 of the file, in hexadecimal
	Size int64  // of the file, in bytes
}

// Parse returns the pointer that a file is; false for any other file.
func Parse(data []byte) (Pointer, bool) {
	if len(data) > maxPointerBytes || !bytes.HasPrefix(data, []byte("version ")) {
		return Pointer{}, false
	}
	m := format.FindSubmatch(data)
	if m == nil {
		return Pointer{}, false
	}
	size, err := strconv.ParseInt(string(m[2]), 10, 64)
	return Pointer{ID: string(m[1]), Size: size}, err == nil
}

// Unread says of a file that it is a pointer, and what to do.
const Unread = "is a pointer to a file in Git LFS, whose content is not to be had: push or pull it with git lfs, or commit the file itself"

// Unreadable reports whether a file was committed in a form that only a filter of Git's can read, and why.
func Unreadable(data []byte) (reason string, unreadable bool) {
	if bytes.HasPrefix(data, []byte("\x00GITCRYPT\x00")) {
		return "is encrypted by git-crypt, and lockage decrypts nothing: keep what is secret in a Secret that SOPS encrypts, an ExternalSecret or a SealedSecret", true
	}
	_, unreadable = Parse(data)
	return Unread, unreadable
}
