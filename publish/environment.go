package publish

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// Environment is what each run is given, whether it hydrates, promotes or rolls back.
type Environment struct {
	Workspace *workspace.Workspace
	Files     []string // patterns of pipeline files, as [workspace.Workspace.Pipelines] takes them
	PolicyRef string   // as [workspace.Workspace.Policy] takes it
	DryRun    bool     // write nothing and open no key
	Shard     Shard    // of the pipelines

	Client  *oci.Client
	Forge   forge.Options // of the forges that have pull requests; the zero value has no token
	Keys    *sign.Keyring
	Getenv  func(string) string   // the environment, for who is called afterwards
	Version string                // of lockage, for what is signed
	Now     func() time.Time      // the clock
	Random  func(n int64) int64   // returns a number in [0, n) that differs between processes
	Warn    func(message string)  // receives what is not part of a result
	Step    func(progress string) // receives a line for each stage that is done

	// LeftOut receives the problems of pipeline files that a run leaves out, and goes on with the others; without it, none is left out.
	LeftOut func(problems error)
}

// Usable lets a run go on with the pipelines that were read if the files of others have problems.
func (e Environment) Usable(pipelines []*pipeline.Pipeline, err error) ([]*pipeline.Pipeline, error) {
	if err != nil && len(pipelines) > 0 && e.LeftOut != nil {
		e.LeftOut(err)
		return pipelines, nil
	}
	return pipelines, err
}

// ConfigurationError is a pipeline file that names something that does not exist, or a key that cannot be used.
type ConfigurationError struct{ error }

// Unwrap returns the cause.
func (e *ConfigurationError) Unwrap() error { return e.error }

// Configurationf formats a ConfigurationError.
func Configurationf(format string, args ...any) error {
	return &ConfigurationError{fmt.Errorf(format, args...)}
}

// Trusted reads what is declared at the tip of the policy ref, and makes sure that the named stages are. It returns the pipelines of the shard.
func (e Environment) Trusted(ctx context.Context, stages []string) (*workspace.Policy, fs.FS, []*pipeline.Pipeline, error) {
	ref, err := e.Workspace.Policy(ctx, e.PolicyRef, e.Warn)
	if err != nil {
		return nil, nil, nil, err
	}
	files, err := ref.Files(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	pipelines, err := e.Usable(e.Workspace.Pipelines(files, e.Files))
	if err == nil {
		ref.Expect(pipelines)
		err = pipeline.CheckStages(pipelines, stages)
	}
	return ref, files, e.Shard.Select(pipelines), err
}

// Signer opens the private key of a role, hydrator or promoter, for a stage, or signs in without one. The signer must be the first that
// trusted trusts, the role's identity: nobody would accept what another one signs, nor what one signs that was put away.
func (e Environment) Signer(ctx context.Context, declared pipeline.Expanded, role string, trusted *sign.Verifier) (sign.Signer, error) {
	ref, err := signingKey(declared, role)
	if err != nil {
		return nil, err
	}
	if ref == "" {
		return e.keyless(ctx, declared, role, trusted)
	}
	key, err := e.Keys.Open(ctx, e.Workspace.KeyFile(ref))
	if err != nil {
		return nil, fmt.Errorf("pipeline %s: sign.%s: %w", declared.Pipeline, role, err)
	}
	trusts, former := trusted.Trusts(key.Identity())
	if known := trusted.First(); known.Issuer != "" {
		state := "is not the one that is trusted"
		if former {
			state = "was put away"
		}
		return nil, Configurationf("pipeline %s: the key %s (sign.%s) %s: identities.%s for stage %s is %s; write keyless: {} in sign.%s",
			declared.Pipeline, ref, role, state, role, declared.Stage, known, role)
	}
	if former {
		return nil, Configurationf("pipeline %s: the key %s (sign.%s) was put away: in %s, the file of identities.%s for stage %s, the key %.12s comes before it; sign with that one",
			declared.Pipeline, ref, role, declared.Identities[role].Key, role, declared.Stage, trusted.Fingerprints()[0])
	}
	if !trusts {
		return nil, Configurationf("pipeline %s: the key %s (sign.%s) is not the one that identities.%s trusts for stage %s, %s: nobody would accept its signatures",
			declared.Pipeline, ref, role, role, declared.Stage, declared.Identities[role].Key)
	}
	instance := trusted.First().Instance
	if instance == nil && declared.Sigstore.SigningConfig != "" {
		return nil, Configurationf("pipeline %s: sigstore: the trusted root %s or the signing config %s cannot be used, and what the key of sign.%s signs would have no timestamp: `lockage doctor` says why",
			declared.Pipeline, declared.Sigstore.TrustedRoot, declared.Sigstore.SigningConfig, role)
	}
	signer, err := instance.Stamped(key, e.Now)
	if err != nil {
		return nil, fmt.Errorf("pipeline %s: sign.%s: %w", declared.Pipeline, role, err)
	}
	return signer, nil
}

// keyless is Signer for a role that has no key.
func (e Environment) keyless(ctx context.Context, declared pipeline.Expanded, role string, trusted *sign.Verifier) (sign.Signer, error) {
	known := trusted.First()
	if known.Issuer == "" {
		return nil, Configurationf("pipeline %s: sign.%s is keyless, and identities.%s has a key for stage %s: write issuer and subject there; what was signed with the key goes on to count if the identity has former: {key: %s}",
			declared.Pipeline, role, role, declared.Stage, declared.Identities[role].Key)
	}
	token := declaredSigner(declared, role).Keyless.Token
	if token != "" {
		token = e.Workspace.KeyFile(token)
	}
	signer, err := e.Keys.Keyless(ctx, known.Instance, token)
	if err != nil {
		return nil, fmt.Errorf("pipeline %s: sign.%s: %w", declared.Pipeline, role, err)
	}
	if trusts, former := trusted.Trusts(signer.Identity()); !trusts || former {
		return nil, Configurationf("pipeline %s: sign.%s signs as %s, and identities.%s for stage %s is %s: nobody would accept its signatures",
			declared.Pipeline, role, signer.Identity(), role, declared.Stage, known)
	}
	return signer, nil
}

func declaredSigner(declared pipeline.Expanded, role string) *pipeline.Signer {
	return map[string]*pipeline.Signer{pipeline.RoleHydrator: declared.Sign.Hydrator, pipeline.RolePromoter: declared.Sign.Promoter}[role]
}

// signingKey returns the reference of a role's private key; "" for one that signs without a key.
func signingKey(declared pipeline.Expanded, role string) (string, error) {
	signer := declaredSigner(declared, role)
	if signer != nil && signer.Keyless != nil {
		return "", nil
	}
	if signer == nil || signer.Key == "" {
		return "", Configurationf("pipeline %s: sign.%s.key is missing for stage %s: name the private key that signs, such as env://%s_KEY, or write keyless: {}",
			declared.Pipeline, role, declared.Stage, strings.ToUpper(role))
	}
	return signer.Key, nil
}

// CommitSigner opens the key that signs the commits of a stage's mirror; nil if they are not signed.
func (e Environment) CommitSigner(declared pipeline.Expanded) (func(payload []byte) (string, error), error) {
	if declared.Mirror == nil || declared.Mirror.SignCommits == nil {
		return nil, nil //nolint:nilnil // no signature
	}
	signer, err := e.Workspace.CommitSigner(declared.Mirror.SignCommits.Key)
	if err != nil {
		return nil, Configurationf("pipeline %s: stage %s: %w", declared.Pipeline, declared.Stage, err)
	}
	return signer, nil
}

// DenyPrivateKeys returns [policy.ErrDenied] for a commit that holds private keys: everybody who reads the repository could sign
// with them.
func DenyPrivateKeys(files fs.FS, commit string, pipelines []*pipeline.Pipeline) error {
	keys, err := workspace.PrivateKeys(files, pipelines)
	if err != nil || len(keys) == 0 {
		return err
	}
	return fmt.Errorf("commit %.12s of the GitOps repository is %w: it holds the private key %s, and everybody who reads the repository can sign with it: make another one outside of the checkout, replace its public key, and remove the file",
		commit, policy.ErrDenied, strings.Join(keys[:min(len(keys), 5)], ", "))
}

// BranchWriter writes to the branches of a remote.
func (e Environment) BranchWriter(remote *git.Remote) *ledger.Writer {
	return ledger.NewWriter(remote, ledger.Backoff(100*time.Millisecond, e.Random))
}
