package evidence

import (
	"fmt"
	"io/fs"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/sign"
)

// Role is a signing role that a key has.
type Role struct {
	Name  string // pipeline.RoleHydrator or pipeline.RolePromoter
	Stage string
}

func (r Role) String() string { return fmt.Sprintf("the %s of stage %s", r.Name, r.Stage) }

// Roles are the signing roles that a key has in stages, or had: what a former key signs goes on to count. It matters before anything else is signed with the key: cosign,
// Flux and policy controllers take any statement by a trusted key as approval, whatever the statement says.
func Roles(files fs.FS, key sign.PublicKey, stages ...pipeline.Expanded) ([]Role, error) {
	var roles []Role
	for _, declared := range stages {
		ids, err := ReadIdentities(files, declared)
		if err != nil {
			return nil, err
		}
		for _, role := range []string{pipeline.RolePromoter, pipeline.RoleHydrator} {
			if ids.had(role, key) {
				roles = append(roles, Role{role, declared.Stage})
			}
		}
	}
	return roles, nil
}
