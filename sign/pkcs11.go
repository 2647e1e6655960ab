//go:build pkcs11key

package sign

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sigstore/cosign/v2/pkg/cosign/pkcs11key"
)

// openToken opens a key on a PKCS #11 token, by its URI (RFC 7512): pkcs11:token=LABEL;object=LABEL. The environment names the module, which is
// a library that is loaded into this process, and has the PIN: the GitOps repository decides on neither.
func openToken(ctx context.Context, ref string) (Signer, error) {
	if strings.ContainsAny(ref, "?") || strings.Contains(ref, "pin-") {
		return nil, errors.New("a reference to a PKCS #11 token has token or slot-id, and object or id, and nothing else: " +
			"name the module in COSIGN_PKCS11_MODULE_PATH, and put the PIN in COSIGN_PKCS11_PIN")
	}
	config := pkcs11key.NewPkcs11UriConfig()
	if err := config.Parse(ref); err != nil {
		return nil, fmt.Errorf("signing key %s: %w", ref, err)
	}
	key, err := pkcs11key.GetKeyWithURIConfig(config, true)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", ref, err)
	}
	if _, err := key.SignerVerifier(); err != nil {
		return nil, fmt.Errorf("signing key %s: the token has no such key pair", ref)
	}
	return remoteKey(ctx, ref, key)
}
