package worker

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/lockage/lockage/hydrate"
)

// TestSharedManifestsAreSentOnce renders four stages with a definition in common, and one of their own each.
func TestSharedManifestsAreSentOnce(t *testing.T) {
	t.Parallel()
	definition, small := bytes.Repeat([]byte("d"), minShared), []byte("small")
	var child sent
	var parent kept
	for stage, want := range [][]int{{minShared, minShared, 5}, {minShared, minShared, 5}, {0, minShared, 5}, {0, minShared, 5}} {
		own := bytes.Repeat([]byte{byte(stage)}, minShared)
		manifests := []hydrate.Manifest{{Source: "crds/a", Document: 1, Data: definition}, {Source: "b", Document: 1, Data: own}, {Source: "c", Document: 2, Data: small}}
		for i, m := range manifests {
			short := child.shorten(m)
			if len(short.Data) != want[i] {
				t.Errorf("stage %d: %d bytes of %s are sent, want %d", stage, len(short.Data), m.Source, want[i])
			}
			if err := parent.complete(short); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(short.Manifest, m) {
				t.Errorf("stage %d: %s arrives as another manifest", stage, m.Source)
			}
		}
	}
}

// TestFixedManifestsAreSentOnce: a number comes with them at once, and the parent hands out the same bytes.
func TestFixedManifestsAreSentOnce(t *testing.T) {
	t.Parallel()
	definition := hydrate.Manifest{Source: "crds/a", Document: 1, Data: bytes.Repeat([]byte("d"), minShared), Fixed: true}
	var child sent
	var parent kept
	var first *byte
	for stage, want := range []int{minShared, 0, 0} {
		short := child.shorten(definition)
		if len(short.Data) != want {
			t.Errorf("stage %d: %d bytes are sent, want %d", stage, len(short.Data), want)
		}
		if err := parent.complete(short); err != nil {
			t.Fatal(err)
		}
		if stage == 0 {
			first = &short.Data[0]
		}
		if &short.Data[0] != first || !reflect.DeepEqual(short.Manifest, definition) {
			t.Errorf("stage %d: another manifest arrives", stage)
		}
	}
}

func TestNumbersOfABrokenChild(t *testing.T) {
	t.Parallel()
	for _, number := range []int{-1, 1, 2} {
		if err := new(kept).complete(&manifest{Number: number}); err == nil {
			t.Errorf("number %d is taken", number)
		}
	}
}
