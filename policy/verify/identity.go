package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

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
	var all []sign.Identity
	for _, name := range names {
		ids, err := Identities(files, declared, name)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
	}
	return sign.NewVerifier(all...)
}

// otherRole names the role that who has one must not have.
var otherRole = map[string]string{pipeline.RoleHydrator: pipeline.RolePromoter, pipeline.RolePromoter: pipeline.RoleHydrator}

// Identities returns what a declared identity is known by now, and then what it was known by before. A subject that the expressions of
// hydrator and promoter both match is neither.
func Identities(files fs.FS, declared pipeline.Expanded, name string) ([]sign.Identity, error) {
	ids, err := knownBy(files, declared, name)
	if err == nil {
		err = certify(files, declared, ids)
	}
	for id, other := declared.Identities[otherRole[name]], otherRole[name]; err == nil && other != ""; id = *id.Former {
		if id.SubjectRegexp != "" {
			var known []sign.Identity
			known, err = knownAs(files, id)
			for _, k := range known {
				k.Name = other
				for i := range ids {
					ids[i].Except = append(ids[i].Except, k)
				}
			}
		}
		if id.Former == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("pipeline %s: identities.%s for stage %s: %w", declared.Pipeline, name, declared.Stage, err)
	}
	return ids, nil
}

// certify notes which instance of Sigstore proves the certificates of identities, and the times of what is signed: of keys too, if the
// pipeline file names an instance. Without its files keys prove what they did, and no time.
func certify(files fs.FS, declared pipeline.Expanded, ids []sign.Identity) error {
	certificates := slices.ContainsFunc(ids, func(id sign.Identity) bool { return id.Issuer != "" })
	if !certificates && declared.Sigstore.TrustedRoot == "" {
		return nil
	}
	instance, err := Instance(files, declared)
	if !certificates && errors.Is(err, ErrIdentity) {
		return nil
	}
	for i := range ids {
		if ids[i].Issuer != "" || declared.Sigstore.TrustedRoot != "" {
			ids[i].Instance = instance
		}
	}
	return err
}

// Instance returns the instance of Sigstore that a pipeline file names: the public one if it names none.
func Instance(files fs.FS, declared pipeline.Expanded) (*sign.Instance, error) {
	if declared.Sigstore.TrustedRoot == "" {
		return sign.PublicInstance(), nil
	}
	trusted, err := instanceFile(files, "trustedRoot", declared.Sigstore.TrustedRoot)
	if err != nil {
		return nil, err
	}
	var config []byte
	if declared.Sigstore.SigningConfig != "" {
		if config, err = instanceFile(files, "signingConfig", declared.Sigstore.SigningConfig); err != nil {
			return nil, err
		}
	}
	instance, err := sign.NewInstance(trusted, config)
	if err != nil {
		return nil, fmt.Errorf("%w: sigstore: %w", ErrIdentity, err)
	}
	return instance, nil
}

func instanceFile(files fs.FS, key, name string) ([]byte, error) {
	text, err := bounded.ReadFile(files, name, sign.MaxInstanceFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, bounded.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	if err != nil {
		return nil, fmt.Errorf("sigstore.%s: %s in the GitOps repository: %w", key, name, err)
	}
	return text, nil
}

// knownBy is Identities without the instance that proves certificates.
func knownBy(files fs.FS, declared pipeline.Expanded, name string) ([]sign.Identity, error) {
	id, ok := declared.Identities[name]
	task := map[string]string{pipeline.RoleHydrator: "render", pipeline.RolePromoter: "promote"}[name]
	switch {
	case !ok && task != "":
		return nil, fmt.Errorf("%w: it is not declared, and nobody is trusted to %s; name the public key, or issuer and subject", ErrIdentity, task)
	case !ok:
		return nil, fmt.Errorf("%w: it is not declared", ErrIdentity)
	}
	var known []sign.Identity
	for depth := 0; depth <= pipeline.MaxFormer; depth++ {
		ids, err := knownAs(files, id)
		if err != nil {
			return nil, err
		}
		for _, i := range ids {
			i.Name, i.Former = name, len(known) > 0
			known = append(known, i)
		}
		if id.Former == nil {
			break
		}
		id = *id.Former
	}
	return known, nil
}

// knownAs returns what an identity is known by, but for what it was before.
func knownAs(files fs.FS, id pipeline.Identity) ([]sign.Identity, error) {
	if id.Issuer != "" {
		known := sign.Identity{Issuer: id.Issuer, Subject: id.Subject}
		if id.SubjectRegexp != "" {
			var err error
			if known.Subjects, err = sign.ParseExpression(id.SubjectRegexp); err != nil {
				return nil, fmt.Errorf("%w: subjectRegexp: %w", ErrIdentity, err)
			}
		}
		return []sign.Identity{known}, nil
	}
	keys, err := PublicKeys(files, id.Key)
	known := make([]sign.Identity, len(keys))
	for i, key := range keys {
		known[i].PublicKey = key
	}
	return known, err
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
