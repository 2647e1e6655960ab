package wholefile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	broken := errors.New("broken")
	for i, step := range []struct {
		fill func(*os.File) error
		err  error
		want string
	}{
		{Bytes([]byte("one")), nil, "one"},
		{func(f *os.File) error { return errors.Join(Bytes([]byte("half"))(f), broken) }, broken, "one"},
		{Bytes(nil), nil, ""},
	} {
		if err := Create(name, name+".new", step.fill); !errors.Is(err, step.err) {
			t.Errorf("%d: %v", i, err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != step.want {
			t.Errorf("%d: %q, %v", i, got, err)
		}
	}
	if err := Create(name, filepath.Join(dir, "absent", "file"), Bytes(nil)); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := Create(dir, dir+".new", Bytes(nil)); err == nil {
		t.Error("replaced a folder")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v stay behind, %v", left, err)
	}
	if left, err := filepath.Glob(dir + ".new"); err != nil || left != nil {
		t.Errorf("%v stay behind, %v", left, err)
	}
}
