package evidence

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/sign"
)

// ErrIdentity says that a pipeline file does not make clear who is trusted. It is a mistake of configuration.
var ErrIdentity = errors.New("this identity cannot be used")

const maxKeyBytes = 64 << 10 // of a public key file

// Identities are those that a pipeline declares for a stage, with their keys.
type Identities struct {
	// Unsupported are the names that nothing can be verified with, and why not.
	Unsupported map[string]string

	keys   map[string]sign.PublicKey
	former map[string][]sign.PublicKey // that they had before
}

// ReadIdentities reads the keys of all declared identities from the files of the policy ref. A key that is missing or
// malformed is [ErrIdentity].
func ReadIdentities(files fs.FS, declared pipeline.Expanded) (Identities, error) {
	ids := Identities{Unsupported: map[string]string{}, keys: map[string]sign.PublicKey{}, former: map[string][]sign.PublicKey{}}
	for _, name := range slices.Sorted(maps.Keys(declared.Identities)) {
		ref := declared.Identities[name].Key
		switch {
		case ref == "":
			ids.Unsupported[name] = unsupported(name, "is keyless, which is")
			continue
		case !sign.IsFile(ref):
			ids.Unsupported[name] = unsupported(name, "has no key file, and other kinds of keys are")
			continue
		}
		keys, err := readKeys(files, ref)
		if err != nil {
			return Identities{}, fmt.Errorf("pipeline %s: identities.%s for stage %s: key %s in the GitOps repository: %w",
				declared.Pipeline, name, declared.Stage, ref, err)
		}
		// What a former key signs does not count for what is to come.
		ids.keys[name], ids.former[name] = keys[0], keys[1:]
	}
	return ids, nil
}

func unsupported(name, why string) string {
	return fmt.Sprintf("identity %s %s not supported yet: what it signs counts for nothing", name, why)
}

// readKeys reads the keys of one identity, the current one first.
func readKeys(files fs.FS, name string) ([]sign.PublicKey, error) {
	pem, err := bounded.ReadFile(files, name, maxKeyBytes)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, bounded.ErrTooLarge) {
		return nil, fmt.Errorf("%w: %w", ErrIdentity, err)
	} else if err != nil {
		return nil, err
	}
	keys, err := sign.ParsePublicKeys(pem)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	return keys, nil
}

// Names are the identities that have a key now, sorted.
func (ids Identities) Names(key sign.PublicKey) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(ids.keys)) {
		if ids.keys[name].Fingerprint() == key.Fingerprint() {
			names = append(names, name)
		}
	}
	return names
}

// had reports whether an identity has a key, or had it before.
func (ids Identities) had(name string, key sign.PublicKey) bool {
	same := func(other sign.PublicKey) bool { return other.Fingerprint() == key.Fingerprint() }
	current, ok := ids.keys[name]
	return ok && (same(current) || slices.ContainsFunc(ids.former[name], same))
}

// Foreign is what an identity of another stage is called in Facts.Keys.
func Foreign(stage, identity string) string { return stage + "/" + identity }

// foreign are the identities under the names that they have for another stage.
func (ids Identities) foreign(stage string) Identities {
	renamed := Identities{keys: map[string]sign.PublicKey{}}
	for name, key := range ids.keys {
		renamed.keys[Foreign(stage, name)] = key
	}
	return renamed
}

// verifierOf trusts every key of some sets of identities, each under the first of its names. It is nil without a key.
func verifierOf(sets ...Identities) (*sign.Verifier, error) {
	var trusted []sign.Identity
	taken := map[string]bool{} // names and fingerprints
	for _, ids := range sets {
		for _, name := range slices.Sorted(maps.Keys(ids.keys)) {
			key := ids.keys[name]
			if taken[name] || taken[key.Fingerprint()] {
				continue
			}
			taken[name], taken[key.Fingerprint()] = true, true
			trusted = append(trusted, sign.Identity{Name: name, PublicKey: key})
		}
	}
	if len(trusted) == 0 {
		return nil, nil //nolint:nilnil // nobody to trust is not an error: nothing is proven then
	}
	return sign.NewVerifier(trusted...)
}
