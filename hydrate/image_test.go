package hydrate

import (
	"regexp"
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
  spec: {image: not-a-container, containers: {image: no-list}, runner: {image: "quay.io/d"}}
- apiVersion: v1
  kind: Pod
  metadata: {name: a, labels: {image: a/label}}
  spec: {volumes: [{name: v, image: {reference: e, pullPolicy: Always}}], containers: []}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
  data: {image: a/file, reference: f}
- apiVersion: apiextensions.k8s.io/v1
  kind: CustomResourceDefinition
  metadata: {name: a}
  spec: {versions: [{schema: {openAPIV3Schema: {example: {image: an/example}}}}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: left, annotations: {config.kubernetes.io/local-config: "true"}}
  spec: {containers: [{image: "g@sha256:44"}]}
`

func TestImages(t *testing.T) {
	t.Parallel()
	objects, err := Objects([]Manifest{{Data: []byte(workloads)}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b@sha256:11", "c", "e", "g@sha256:44", "no-list", "quay.io/d"}, Images(objects)); diff != "" {
		t.Error(diff)
	}
	for _, test := range []struct {
		locked []digest.Digest
		where  Assertion
		want   string // of the error, "" for none
	}{
		{nil, AssertOutsideMetadata, ""},
		{[]digest.Digest{"sha256:11"}, AssertOutsideMetadata, ""},
		{[]digest.Digest{"sha256:22", "sha256:11"}, AssertAnywhere, ""},
		{[]digest.Digest{"sha256:22", "sha256:11"}, AssertOutsideMetadata, "the locked image sha256:22 occurs in none of the 7 rendered objects, outside of metadata; .*render.assertImage: anywhere$"},
		{[]digest.Digest{"sha256:11", "sha256:33"}, AssertAnywhere, "the locked image sha256:33 occurs in none .*render.assertImage: false"},
		{[]digest.Digest{"sha256:44"}, AssertAnywhere, "the locked image sha256:44 occurs in none"}, // but in an object that kustomize leaves out
	} {
		err := assertImages(objects, lockedImages(test.locked...), test.where)
		if (err == nil) != (test.want == "") || err != nil && !regexp.MustCompile(test.want).MatchString(err.Error()) {
			t.Errorf("%v, %q: %v", test.locked, test.where, err)
		}
	}
	err = requireDigests(objects)
	for _, want := range []string{": container : a\n", "Pod a: volume v: e\n", "Custom.example.com a: field image: quay.io/d\n"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func lockedImages(digests ...digest.Digest) (locked []lock.NamedImage) {
	for _, d := range digests {
		locked = append(locked, lock.NamedImage{Image: lock.Image{Digest: d}})
	}
	return locked
}
