package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// ErrIdentity says that a pipeline file does not make clear who is trusted.
var ErrIdentity = errors.New("this identity cannot be used")

const maxKeyBytes = 64 << 10

// Hydrator is the verifier for what a stage's hydrator signs, its key read from the GitOps repository.
func Hydrator(files fs.FS, declared pipeline.Expanded) (*sign.Verifier, error) {
	return Identity(files, declared, pipeline.RoleHydrator)
}

// Promoter is the verifier for what a stage's promoter signs, its key read from the GitOps repository.
func Promoter(files fs.FS, declared pipeline.Expanded) (*sign.Verifier, error) {
	return Identity(files, declared, pipeline.RolePromoter)
}

// Identity is the verifier for what declared identities sign, their keys read from the GitOps repository. A file may hold
// several keys, the current one first: what was signed with one of the others before goes on to count. What cannot be used
// is ErrIdentity.
func Identity(files fs.FS, declared pipeline.Expanded, names ...string) (*sign.Verifier, error) {
	var identities []sign.Identity
	for _, name := range names {
		keys, err := publicKeys(files, declared, name)
		if err != nil {
			return nil, fmt.Errorf("pipeline %s: identities.%s: %w", declared.Pipeline, name, err)
		}
		for _, key := range keys {
			identities = append(identities, sign.Identity{Name: name, PublicKey: key})
		}
	}
	return sign.NewVerifier(identities...)
}

func publicKeys(files fs.FS, declared pipeline.Expanded, name string) ([]sign.PublicKey, error) {
	id, ok := declared.Identities[name]
	switch {
	case !ok && name == pipeline.RoleHydrator:
		return nil, fmt.Errorf("%w: it is not declared, and nobody is trusted to render; name the public key", ErrIdentity)
	case !ok && name == pipeline.RolePromoter:
		return nil, fmt.Errorf("%w: it is not declared, and nobody is trusted to promote; name the public key", ErrIdentity)
	case !ok:
		return nil, fmt.Errorf("%w: it is not declared", ErrIdentity)
	case id.Key == "":
		return nil, fmt.Errorf("%w: it has no key, and keyless identities are not supported yet", ErrIdentity)
	}
	info, err := fs.Stat(files, id.Key)
	if err == nil && info.Size() > maxKeyBytes {
		err = fmt.Errorf("%d bytes are too many for a public key", info.Size())
	}
	var pem []byte
	if err == nil {
		pem, err = fs.ReadFile(files, id.Key)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("key %s in the GitOps repository: %w", id.Key, err)
	}
	var keys []sign.PublicKey
	if err == nil {
		keys, err = sign.ParsePublicKeys(pem)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: key %s in the GitOps repository: %w", ErrIdentity, id.Key, err)
	}
	return keys, nil
}

// signed judges whether an identity signed an artifact as what the claim says.
func (r Request) signed(ctx context.Context, declared pipeline.Expanded, desc ocispec.Descriptor, claim sign.Claim, name string) (policy.Check, error) {
	verifier, err := Identity(r.Files, declared, name)
	if err != nil {
		return policy.Check{}, err
	}
	statements, rejected, err := sign.Verify(ctx, r.Repository, desc, verifier)
	return policy.SignedBy(name, claim, statements, rejected), err
}
