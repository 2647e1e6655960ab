package hydrate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
)

const workloads = `
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: a}
  spec: {template: {spec: {containers: [{image: "b@sha256:11"}, {name: no-image}, scalar], initContainers: [{image: a}]}}}
- apiVersion: batch/v1
  kind: CronJob
  metadata: {name: a}
  spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: a}], ephemeralContainers: [{image: c}]}}}}}
- apiVersion: example.com/v1
  kind: Custom
  metadata: {name: a, annotations: {pinned: "tool@sha256:22 and more"}}
  spec: {image: not-a-container, containers: {image: not-a-list}}
`

func TestImages(t *testing.T) {
	t.Parallel()
	objects, err := Objects([]Manifest{{Data: []byte(workloads)}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b@sha256:11", "c"}, Images(objects)); diff != "" {
		t.Error(diff)
	}
	if err := assertImages(objects, lockedImages("sha256:22", "sha256:11")); err != nil {
		t.Error(err)
	}
	if err := assertImages(objects, nil); err != nil {
		t.Error(err)
	}
	err = assertImages(objects, lockedImages("sha256:11", "sha256:33"))
	if err == nil || !strings.HasPrefix(err.Error(), "the locked image sha256:33 occurs in none of the 3 rendered objects") {
		t.Error(err)
	}
}

func lockedImages(digests ...digest.Digest) (locked []lock.NamedImage) {
	for _, d := range digests {
		locked = append(locked, lock.NamedImage{Image: lock.Image{Digest: d}})
	}
	return locked
}
