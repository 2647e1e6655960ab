package evidence

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// Identities are the keys of those whom a pipeline declares for a stage, by name, the current one first. An identity without a
// key file is not among them: nothing can be verified with it yet.
type Identities map[string][]sign.PublicKey

// ReadIdentities reads the keys of all declared identities from the files of the policy ref. A key that is missing or
// malformed is [verify.ErrIdentity].
func ReadIdentities(files fs.FS, declared pipeline.Expanded) (Identities, error) {
	ids := Identities{}
	for _, name := range slices.Sorted(maps.Keys(declared.Identities)) {
		file := declared.Identities[name].Key
		if !sign.IsFile(file) {
			continue
		}
		keys, err := verify.PublicKeys(files, file)
		if err != nil {
			return nil, fmt.Errorf("pipeline %s: identities.%s for stage %s: %w", declared.Pipeline, name, declared.Stage, err)
		}
		ids[name] = keys
	}
	return ids, nil
}

// Names returns the identities that have a key now, sorted.
func (ids Identities) Names(key sign.PublicKey) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		if ids[name][0].Fingerprint() == key.Fingerprint() {
			names = append(names, name)
		}
	}
	return names
}

// Holders returns the identities that have a key now or had it before, sorted.
func (ids Identities) Holders(key sign.PublicKey) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		if slices.ContainsFunc(ids[name], func(k sign.PublicKey) bool { return k.Fingerprint() == key.Fingerprint() }) {
			names = append(names, name)
		}
	}
	return names
}

// named returns the identities whose current key has a fingerprint, sorted.
func (ids Identities) named(fingerprint string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		if ids[name][0].Fingerprint() == fingerprint {
			names = append(names, name)
		}
	}
	return names
}

// Role is a signing role that a key has.
type Role struct {
	Name  string // pipeline.RoleHydrator or pipeline.RolePromoter
	Stage string
}

func (r Role) String() string { return fmt.Sprintf("the %s of stage %s", r.Name, r.Stage) }

// Roles returns the signing roles that a key has in stages, or had: what a former key signs goes on to count. It matters before
// anything else is signed with the key: cosign, Flux and policy controllers take any statement by a trusted key as approval.
func Roles(files fs.FS, key sign.PublicKey, stages ...pipeline.Expanded) ([]Role, error) {
	var roles []Role
	for _, declared := range stages {
		ids, err := ReadIdentities(files, declared)
		if err != nil {
			return nil, err
		}
		for _, role := range []string{pipeline.RolePromoter, pipeline.RoleHydrator} {
			if slices.Contains(ids.Holders(key), role) {
				roles = append(roles, Role{role, declared.Stage})
			}
		}
	}
	return roles, nil
}

// of returns the identities of another stage under the names that they have in Facts.Keys: STAGE/NAME.
func (ids Identities) of(stage string) Identities {
	renamed := Identities{}
	for name, keys := range ids {
		renamed[stage+"/"+name] = keys
	}
	return renamed
}

// verifier trusts the current key of every identity, each under the first of its names. It is nil without a key.
func verifier(sets ...Identities) (*sign.Verifier, error) {
	var trusted []sign.Identity
	taken := map[string]bool{} // names and fingerprints
	for _, ids := range sets {
		for _, name := range slices.Sorted(maps.Keys(ids)) {
			key := ids[name][0] // what a former key signs does not count for what is to come
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
