package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// ErrIdentity is returned if a pipeline file does not make clear who is trusted.
var ErrIdentity = errors.New("this identity cannot be used")

const maxKeyBytes = 64 << 10

// Identity returns the verifier for what declared identities sign, their keys read from the GitOps repository, former ones among
// them. What cannot be used is [ErrIdentity].
func Identity(files fs.FS, declared pipeline.Expanded, names ...string) (*sign.Verifier, error) {
	var identities []sign.Identity
	for _, name := range names {
		keys, err := publicKeys(files, declared, name)
		if err != nil {
			return nil, fmt.Errorf("pipeline %s: identities.%s: %w", declared.Pipeline, name, err)
		}
		for i, key := range keys {
			identities = append(identities, sign.Identity{Name: name, PublicKey: key, Former: i > 0})
		}
	}
	return sign.NewVerifier(identities...)
}

func publicKeys(files fs.FS, declared pipeline.Expanded, name string) ([]sign.PublicKey, error) {
	id, ok := declared.Identities[name]
	task := map[string]string{pipeline.RoleHydrator: "render", pipeline.RolePromoter: "promote"}[name]
	switch {
	case !ok && task != "":
		return nil, fmt.Errorf("%w: it is not declared, and nobody is trusted to %s; name the public key", ErrIdentity, task)
	case !ok:
		return nil, fmt.Errorf("%w: it is not declared", ErrIdentity)
	case id.Key == "":
		return nil, fmt.Errorf("%w: it has no key, and keyless identities are not supported yet", ErrIdentity)
	}
	return PublicKeys(files, id.Key)
}

// PublicKeys reads a file of the GitOps repository that holds the keys of one identity, the current one first. What cannot be used
// is [ErrIdentity].
func PublicKeys(files fs.FS, name string) ([]sign.PublicKey, error) {
	pem, err := bounded.ReadFile(files, name, maxKeyBytes)
	unusable := err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, bounded.ErrTooLarge)
	var keys []sign.PublicKey
	if err == nil {
		keys, err = sign.ParsePublicKeys(pem)
	}
	if err != nil && unusable {
		err = fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	if err != nil {
		return nil, fmt.Errorf("key %s in the GitOps repository: %w", name, err)
	}
	return keys, nil
}

// signed judges whether an identity signed an artifact as what the claim says, or as that of its stage by today's name.
func (r Request) signed(ctx context.Context, declared pipeline.Expanded, desc ocispec.Descriptor, claim sign.Claim, name string) (policy.Check, error) {
	verifier, err := Identity(r.Files, declared, name)
	if err != nil {
		return policy.Check{}, err
	}
	statements, rejected, err := sign.Verify(ctx, r.Repository, desc, verifier)
	check := policy.SignedBy(name, claim, statements, rejected)
	if claim.Pipeline, claim.Stage, claim.Repository = r.Pipeline.Name, r.Stage, r.Pipeline.Repository(r.Stage); check.Result != policy.Pass {
		check = policy.SignedBy(name, claim, statements, rejected)
	}
	return check, err
}
