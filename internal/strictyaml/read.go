package strictyaml

import (
	"fmt"
	"io"
	"io/fs"
)

// ReadFile reads a file for Parse: of a file over MaxSize one byte more than that, for Parse to refuse.
func ReadFile(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}
