package bounded

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"
)

func TestReadFile(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{"a": {Data: []byte("12345")}}
	if data, err := ReadFile(files, "a", 5); err != nil || string(data) != "12345" {
		t.Errorf("got %q, %v", data, err)
	}
	if data, err := ReadFile(files, "a", 4); !errors.Is(err, ErrTooLarge) || data != nil || err.Error() != "a: larger than the limit of 4 bytes" {
		t.Errorf("above the limit: %q, %v", data, err)
	}
	if _, err := ReadFile(files, "b", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestReadReadsLittleMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	rest := strings.NewReader(strings.Repeat("x", 100))
	if _, err := Read(rest, 10); !errors.Is(err, ErrTooLarge) || rest.Len() != 100-11 {
		t.Errorf("%v after %d bytes", err, 100-rest.Len())
	}
	broken := errors.New("broken")
	if _, err := Read(iotest.ErrReader(broken), 10); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
