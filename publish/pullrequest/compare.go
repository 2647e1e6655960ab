package pullrequest

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/diff"
)

// ErrNotComparable says that what lies on the stage branch now are no Kubernetes objects, or not a set of them.
var ErrNotComparable = errors.New("what is there now cannot be compared")

// Compare compares what lies on a stage branch, nil for nothing, with what is proposed.
func Compare(before, after fs.FS) (diff.Changes, error) {
	var old []hydrate.Object
	if before != nil {
		var err error
		if old, err = diff.Read(before); err != nil {
			return diff.Changes{}, fmt.Errorf("%w: %w", ErrNotComparable, err)
		}
	}
	proposed, err := diff.Read(after)
	if err != nil {
		return diff.Changes{}, err
	}
	changes, err := diff.Compare(old, proposed, diff.Options{})
	if err != nil {
		if _, alone := diff.Compare(old, nil, diff.Options{}); alone != nil {
			err = fmt.Errorf("%w: %w", ErrNotComparable, alone)
		}
	}
	return changes, err
}
