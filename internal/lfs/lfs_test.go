package lfs

import (
	"strings"
	"testing"
)

const id = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"

func TestParse(t *testing.T) {
	t.Parallel()
	const version = "version https://git-lfs.github.com/spec/v1\n"
	for _, good := range []string{
		version + "oid sha256:" + id + "\nsize 12345\n",
		version + "ext-0-foo sha256:" + id + "\noid sha256:" + id + "\nsize 12345\n",
		strings.ReplaceAll(version+"oid sha256:"+id+"\nsize 12345\n", "\n", "\r\n"),
	} {
		if p, ok := Parse([]byte(good)); !ok || p != (Pointer{id, 12345}) {
			t.Errorf("%q is %v %v", good, p, ok)
		}
	}
	for _, bad := range []string{
		"", "version: 1\n", version, version + "oid sha256:" + id + "\n", version + "oid md5:" + id + "\nsize 1\n", version + "oid sha256:" + id + "\nsize -1\n",
		version + "oid sha256:" + id + "\nsize 99999999999999999999\n", version + "oid sha256:" + id + "\nsize 1\nmore\n", version + "oid sha256:" + id + "\nsize 1" + strings.Repeat(" ", 1024),
	} {
		if p, ok := Parse([]byte(bad)); ok {
			t.Errorf("%q is %v", bad, p)
		}
	}
}
