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
		short, numbers := child.shorten(manifests)
		var sizes []int
		for _, m := range short {
			sizes = append(sizes, len(m.Data))
		}
		if !reflect.DeepEqual(sizes, want) {
			t.Errorf("stage %d: manifests of %d bytes are sent, want %d", stage, sizes, want)
		}
		if err := parent.complete(short, numbers); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(short, manifests) {
			t.Errorf("stage %d: other manifests arrive", stage)
		}
	}
}

func TestNumbersOfABrokenChild(t *testing.T) {
	t.Parallel()
	for _, numbers := range [][]int{{-1}, {1}, {2}, {0, 1}} {
		if err := new(kept).complete([]hydrate.Manifest{{}}, numbers); err == nil {
			t.Errorf("numbers %d are taken", numbers)
		}
	}
}
