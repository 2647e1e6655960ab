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

// Identities are those whom a pipeline declares for a stage, by name: what each is known by now, and then what it was known by before.
type Identities map[string][]sign.Identity

// ReadIdentities reads all declared identities from the files of the policy ref. What cannot be used is [verify.ErrIdentity]. An identity
// whose key is in no file of the repository is not among them: nothing can be verified with it.
func ReadIdentities(files fs.FS, declared pipeline.Expanded) (Identities, error) {
	ids := Identities{}
	for _, name := range slices.Sorted(maps.Keys(declared.Identities)) {
		if id := declared.Identities[name]; id.Issuer == "" && !sign.IsFile(id.Key) {
			continue
		}
		known, err := verify.Identities(files, declared, name)
		if err != nil {
			return nil, err
		}
		ids[name] = known
	}
	return ids, nil
}

// Names returns the identities that somebody who signs is now, sorted.
func (ids Identities) Names(by sign.Author) []string {
	return ids.having(by, func(known []sign.Identity) []sign.Identity { return known[:1] })
}

// Holders returns the identities that somebody who signs is now or was before, sorted.
func (ids Identities) Holders(by sign.Author) []string {
	return ids.having(by, func(known []sign.Identity) []sign.Identity { return known })
}

func (ids Identities) having(by sign.Author, among func([]sign.Identity) []sign.Identity) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		if slices.ContainsFunc(among(ids[name]), func(id sign.Identity) bool { return id.Made(by) }) {
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

// Roles returns the signing roles that somebody has in stages, or had: what a former key signs goes on to count. It matters before
// anything else is signed as they: cosign, Flux and policy controllers take any statement by a trusted key as approval.
func Roles(files fs.FS, by sign.Author, stages ...pipeline.Expanded) ([]Role, error) {
	var roles []Role
	for _, declared := range stages {
		ids, err := ReadIdentities(files, declared)
		if err != nil {
			return nil, err
		}
		for _, role := range []string{pipeline.RolePromoter, pipeline.RoleHydrator} {
			if slices.Contains(ids.Holders(by), role) {
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

// verifier trusts what every identity is known by now, a key under the first of its names. It is nil without an identity.
func verifier(sets ...Identities) (*sign.Verifier, error) {
	return trusting(func(known []sign.Identity) []sign.Identity { return known[:1] }, sets...) // what a former key signs does not count for what is to come
}

func trusting(among func([]sign.Identity) []sign.Identity, sets ...Identities) (*sign.Verifier, error) {
	var trusted []sign.Identity
	names, keys := map[string]bool{}, map[string]bool{}
	for _, ids := range sets {
		for _, name := range slices.Sorted(maps.Keys(ids)) {
			if names[name] {
				continue
			}
			for _, id := range among(ids[name]) {
				key := id.Author().Fingerprint()
				if key != "" && keys[key] {
					continue
				}
				names[name], keys[key] = true, true
				id.Name = name
				trusted = append(trusted, id)
			}
		}
	}
	if len(trusted) == 0 {
		return nil, nil //nolint:nilnil // nobody to trust is not an error: nothing is proven then
	}
	return sign.NewVerifier(trusted...)
}
