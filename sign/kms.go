package sign

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os/exec"
	"regexp"

	"github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// serviceName is the form of the scheme that names a key service, and so the program that speaks with it.
var serviceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// notServices are schemes that name no key service.
var notServices = map[string]bool{"http": true, "https": true, "file": true, "oci": true, "ssh": true, "pkcs11": true}

// openService opens a key that never leaves a key service or a token, such as awskms:///alias/promote. The program sigstore-kms-SCHEME
// signs with it, by the plugin protocol of Sigstore: https://github.com/sigstore/sigstore/tree/main/pkg/signature/kms/cliplugin
func openService(ctx context.Context, scheme, ref string) (Signer, error) {
	if !serviceName.MatchString(scheme) || notServices[scheme] { // without the rest of the reference, which may be a secret
		return nil, fmt.Errorf("signing keys of the kind %.32q are not supported; name a key file, env://NAME, or a key of a key service that has a program sigstore-kms-NAME", scheme)
	}
	key, err := kms.Get(ctx, ref, crypto.SHA256)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("signing key %s: the program %s%s is not on the PATH; it is the plugin that signs with keys of this service", ref, cliplugin.PluginBinaryPrefix, scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", ref, err)
	}
	public, err := key.PublicKey(options.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("signing key %s: its public key: %w", ref, err)
	}
	known, err := NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", ref, err)
	}
	return &Key{signer: key, public: known}, nil
}
