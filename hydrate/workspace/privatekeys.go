package workspace

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/bounded"
)

// Bounds on the search for private keys.
const (
	maxSearched   = 50_000 // names of a commit that are looked at
	maxKeyHeads   = 2_000  // files that are read
	maxPrivateKey = 64 << 10
)

// PrivateKeys finds files of a commit that hold a private key, encrypted or not: any key at the root, beside a pipeline file
// or below a folder of public keys, and anywhere else, by its name, one in the format that `lockage keys generate` and cosign
// write. A test key of an application, in another folder, is not looked for.
func PrivateKeys(files fs.FS, pipelines []*pipeline.Pipeline) ([]string, error) {
	beside, below := map[string]bool{".": true}, []string{}
	for _, p := range pipelines {
		beside[path.Dir(p.File)] = true
		for _, id := range p.Identities {
			if dir := fixedDir(id.Key); dir != "." {
				below = append(below, dir+"/")
			}
		}
	}
	var found []string
	searched, read := 0, 0
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if searched++; err != nil || searched > maxSearched {
			return errors.Join(err, fs.SkipAll)
		}
		near := beside[path.Dir(name)] || slices.ContainsFunc(below, func(dir string) bool { return strings.HasPrefix(name, dir) })
		if !entry.Type().IsRegular() || !near && !namesKey(path.Base(name)) || read == maxKeyHeads {
			return nil
		}
		read++
		data, err := bounded.ReadFile(files, name, maxPrivateKey)
		switch {
		case errors.Is(err, bounded.ErrTooLarge):
			return nil
		case err != nil:
			return fmt.Errorf("look for private keys: %s: %w", name, err)
		case holdsKey(data, near):
			found = append(found, name)
		}
		return nil
	})
	if errors.Is(err, fs.SkipAll) {
		err = nil
	}
	return found, err
}

// fixedDir returns the folder of a pattern up to the first placeholder; "." for none.
func fixedDir(pattern string) string {
	if strings.Contains(pattern, "://") {
		return "."
	}
	if i := strings.IndexByte(pattern, '{'); i >= 0 {
		pattern = pattern[:i] + "x"
	}
	return path.Dir(path.Clean(pattern))
}

// namesKey reports whether a file is named as private keys are.
func namesKey(base string) bool {
	switch strings.ToLower(path.Ext(base)) {
	case ".key", ".pem", ".p8", ".priv", ".private":
		return true
	}
	return strings.HasPrefix(base, "id_") && path.Ext(base) == ""
}

// holdsKey reports whether a text has the head of a private key, of any kind or of those that cosign and lockage write.
func holdsKey(text []byte, ofAnyKind bool) bool {
	kinds := []string{"ENCRYPTED SIGSTORE ", "ENCRYPTED COSIGN "}
	if ofAnyKind {
		kinds = append(kinds, "", "ENCRYPTED ", "EC ", "RSA ", "DSA ", "OPENSSH ")
	}
	return slices.ContainsFunc(kinds, func(kind string) bool { return bytes.Contains(text, []byte("-----BEGIN "+kind+"PRIVATE KEY-----")) })
}
