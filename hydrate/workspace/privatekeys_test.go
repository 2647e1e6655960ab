package workspace_test

import (
	"slices"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
)

func TestPrivateKeys(t *testing.T) {
	t.Parallel()
	head := func(kind string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("# a comment\n-----BEGIN " + kind + "-----\nAAAA\n-----END " + kind + "-----\n")}
	}
	files := fstest.MapFS{
		"hydrator":                       head("ENCRYPTED SIGSTORE PRIVATE KEY"),
		"team/app/notes.txt":             head("PRIVATE KEY"),
		"team/keys/hydrator.pub":         head("PUBLIC KEY"),
		"team/keys/staging/old/promoter": head("EC PRIVATE KEY"),
		"team/keys/ssh":                  head("OPENSSH PRIVATE KEY"),
		"elsewhere/deep/cosign.key":      head("ENCRYPTED COSIGN PRIVATE KEY"),
		"elsewhere/deep/id_x":            head("ENCRYPTED SIGSTORE PRIVATE KEY"),
		"src/testdata/server.key":        head("RSA PRIVATE KEY"), // of an application's tests
		"src/testdata/certificate.pem":   head("CERTIFICATE"),
		"team/app/sub/values.yaml":       head("PRIVATE KEY"),
		"team/keys/large":                {Data: append(make([]byte, 65<<10), head("PRIVATE KEY").Data...)},
	}
	p := &pipeline.Pipeline{File: "team/app/lockage.yaml", Identities: map[string]pipeline.Identity{
		"hydrator": {Key: "team/keys/{stage}/hydrator.pub"}, "kms": {Key: "kms://keys/x"}, "ci": {Issuer: "https://accounts.example.com"},
	}}
	found, err := workspace.PrivateKeys(files, []*pipeline.Pipeline{p})
	want := []string{"elsewhere/deep/cosign.key", "elsewhere/deep/id_x", "hydrator", "team/app/notes.txt", "team/keys/ssh", "team/keys/staging/old/promoter"}
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("found %v (%v), want %v", found, err, want)
	}
}
