package hydrate

import (
	"context"
	"testing"
)

// looked is a package that looked at one path.
type looked Input

func (p looked) Inputs() []Input { return []Input{Input(p)} }

func (p looked) Render(context.Context, Request) (Rendered, error) { return Rendered{}, nil }

func TestInputsCount(t *testing.T) {
	t.Parallel()
	met := map[string]Input{}
	for _, in := range []Input{{Path: "a"}, {Path: "b"}, {Path: "a", SHA256: [32]byte{1}}, {Path: "a", Kind: InputFolder}, {Path: "a", Kind: InputAbsent}} {
		digest := Stage{Package: looked(in)}.InputDigest().String()
		if other, dup := met[digest]; dup {
			t.Errorf("%+v and %+v give one input digest", in, other)
		}
		met[digest] = in
	}
}
